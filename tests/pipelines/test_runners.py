"""The same bytes from every runner, and what a killed run leaves."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from pipelines.preprocess import main
from tests.pipelines.conftest import environment

SALT = ("--salt", "secret", "--site-from", "folder")
TWO = ("--direct_num_workers=2",)
SMALL = ("--shard-mb", "0.3")  # 44 s of EEG: a shard a recording


def tree(folder):
    """What a run wrote, without how long it took: {path: sha256, or the facts of the run report}."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "report.html")
    found = {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
    return found | {"run.json": json.loads((folder / "run.json").read_text()) | {"timings": None}}


def command(clinics, output, *args):
    return [
        sys.executable, "-m", "pipelines.preprocess", "--input", str(clinics), "--labels", str(clinics / "labels.csv"),
        "--output", str(output), *SALT, *args,
    ]  # fmt: skip


@pytest.fixture
def one_worker(clinics, tmp_path):
    assert main(command(clinics, tmp_path / "one", *SMALL)[3:]) == 0
    return tree(tmp_path / "one")


def run(args):
    result = subprocess.run(args, capture_output=True, text=True, timeout=300, env=environment(), check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    return result


def test_two_processes_give_the_same_bytes_without_noise(clinics, one_worker, tmp_path):
    result = run(command(clinics, tmp_path / "two", *SMALL, *TWO))
    assert tree(tmp_path / "two") == one_worker
    assert result.stderr == ""


def test_the_portable_runner_gives_the_same_bytes(clinics, one_worker, on_job_service, tmp_path):
    run(command(clinics, tmp_path / "portable", *SMALL, *on_job_service))
    assert tree(tmp_path / "portable") == one_worker


def test_the_threads_of_blas_do_not_show(clinics, one_worker, tmp_path, monkeypatch):
    # OpenBLAS adds up in another order with more threads: seen with (19, 19) @ (19, 13001) in float64.
    from pipelines.stages import plan_files, prepare

    seen = []

    def watched(real):
        def call(*args, **kwargs):
            seen.append({pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"})
            return real(*args, **kwargs)

        return call

    monkeypatch.setattr(plan_files, "plan_recording", watched(plan_files.plan_recording))
    monkeypatch.setattr(prepare, "prepare_block", watched(prepare.prepare_block))
    with threadpool_limits(limits=4, user_api="blas"):
        assert main(command(clinics, tmp_path / "four", *SMALL)[3:]) == 0
        watched(len)([])
    assert tree(tmp_path / "four") == one_worker
    *within, without = seen
    assert without != {1}
    assert len(within) >= 4 + 4 + 2  # plans, blocks, and an example a site
    assert all(threads == {1} for threads in within)


@pytest.mark.slow
def test_a_loopback_worker_gives_the_same_bytes(clinics, one_worker, on_job_service, tmp_path):
    options = [*on_job_service[:2], "--environment_type=LOOPBACK"]
    run(command(clinics, tmp_path / "loopback", *SMALL, *options))
    assert tree(tmp_path / "loopback") == one_worker


def kill_between_shards(args, working):
    """Start a run and kill it, and all that it started, as soon as two shards are whole."""
    process = subprocess.Popen(args, env=environment(), start_new_session=True, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while len(list((working / "_progress").rglob("*.json"))) < 2:
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < until
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_a_killed_run_is_resumed_to_the_same_bytes(clinics, one_worker, tmp_path, capsys):
    output, working = tmp_path / "out", tmp_path / "out.partial"
    kill_between_shards(command(clinics, output, *SMALL), working)
    assert not output.exists()
    assert not (working / "_COMPLETED").exists()
    # One of the whole shards is damaged in between, the other one must not be written again.
    noted = sorted((working / "_progress").rglob("*.json"))
    shards = [working / note.relative_to(working / "_progress").with_suffix("") for note in noted]
    shards[0].write_bytes(shards[0].read_bytes()[:-1])
    before = shards[1].stat().st_mtime_ns
    for change, says in (
        (("--profile", "six-class"), "another profile"),
        (("--salt", "other"), "another salt, inputs"),
    ):
        assert main([*command(clinics, output, *SMALL)[3:], "--resume", *change]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert says in line
    assert main([*command(clinics, output, *SMALL)[3:], "--resume"]) == 0
    assert tree(output) == one_worker
    assert (output / shards[1].relative_to(working)).stat().st_mtime_ns == before
    assert not working.exists()


def test_a_rerun_starts_clean_by_default(clinics, one_worker, tmp_path):
    output, working = tmp_path / "out", tmp_path / "out.partial"
    kill_between_shards(command(clinics, output, *SMALL), working)
    (working / "site=north" / "stray").write_text("of another run")
    assert main(command(clinics, output, *SMALL)[3:]) == 0
    assert tree(output) == one_worker


def test_resume_without_a_killed_run_is_a_run(clinics, one_worker, tmp_path):
    assert main([*command(clinics, tmp_path / "out", *SMALL)[3:], "--resume"]) == 0
    assert tree(tmp_path / "out") == one_worker


def test_a_run_that_dies_reports_it_in_one_line_and_can_go_on(clinics, one_worker, tmp_path, capsys, monkeypatch):
    from pipelines.stages import write_shards

    real, calls = write_shards.write_encoded, []

    def failing(file, encoded, **kwargs):
        calls.append(file)
        if len(calls) == 3:
            raise OSError("disk gone")  # what is no recording's fault ends the run
        return real(file, encoded, **kwargs)

    monkeypatch.setattr(write_shards, "write_encoded", failing)
    assert main(command(clinics, tmp_path / "out", *SMALL)[3:]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert re.search(r"the run died: .*disk gone.*keeps [12] whole shards, which --resume takes over", line)
    assert not (tmp_path / "out").exists()
    monkeypatch.undo()
    assert main([*command(clinics, tmp_path / "out", *SMALL)[3:], "--resume"]) == 0
    assert tree(tmp_path / "out") == one_worker


def test_an_unknown_runner_is_one_line(clinics, tmp_path, capsys):
    assert main(command(clinics, tmp_path / "out", "--runner=Nonsense")[3:]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "Nonsense" in line
    assert not list(tmp_path.glob("out*"))


def test_a_worker_process_imports_neither_beam_nor_torch(clinics, one_worker, tmp_path):
    code = (
        "import sys\n"
        "import pipelines.preprocess, pipelines.local\n"
        "heavy = {'apache_beam', 'torch', 'tensorflow', 'sklearn', 'pandas', 'mne', 'scipy.signal', 'scipy.stats'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=environment(), check=False
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_a_worker_process_that_is_killed_ends_the_run_in_one_line(clinics, tmp_path):
    args = command(clinics, tmp_path / "out", *SMALL, *TWO)
    process = subprocess.Popen(args, env=environment(), stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 120
    while not (workers := worker_pids(process.pid)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.01)
    os.kill(workers[0], signal.SIGKILL)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2
    (line,) = err.splitlines()
    assert "the run died: WorkerError: a worker process was killed or crashed" in line
    assert not (tmp_path / "out").exists()


def worker_pids(pid):
    """The grandchildren of a run: what its fork server has forked."""
    return [worker for child in children(pid) for worker in children(child)]


def children(pid):
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:  # it has ended
        return []
