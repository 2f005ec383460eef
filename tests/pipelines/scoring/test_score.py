"""An archive's answers: the rows of the service, each window once whatever is killed, nothing half-written."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pipelines.score import main
from pipelines.scoring import parts
from pipelines.scoring.summary import read_summary
from service.formats.findings import Findings
from service.formats.tables import as_parquet
from service.jobs.worker import run_job
from service.records import jobs
from service.records.database import open_database
from serving.model import open_model
from signals.windows.profiles import SIX_CLASS, SIX_CLASS_SPECTROGRAM
from tests.pipelines.conftest import NAMES, environment, write_edf
from tests.small_bundle import write_small_bundle

SALT = ("--salt", "secret", "--site-from", "folder")


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    return write_small_bundle(tmp_path_factory.mktemp("bundle") / "small")


@pytest.fixture(scope="session")
def archive_files(tmp_path_factory):
    """Two sites, three recordings; one file is broken, one a copy, one is too short for a window."""
    root = tmp_path_factory.mktemp("archive")
    for site, sfreq, seconds in (("north", 200, 900), ("north", 256, 120), ("south", 250, 300)):
        write_edf(root / site / f"{site}-{seconds}.edf", sfreq=sfreq, seconds=seconds, seed=seconds)
    (root / "south" / "broken.edf").write_bytes((root / "south" / "south-300.edf").read_bytes()[:300])
    shutil.copy(root / "south" / "south-300.edf", root / "south" / "copy.edf")
    write_edf(root / "south" / "short.edf", seconds=20)
    return root


def command(archive, bundle, output, *args):
    return ["--input", str(archive), "--bundle", str(bundle), "--output", str(output), *SALT, *args]


def rows_of(output):
    tables = [pq.read_table(path, partitioning=None) for path in sorted(output.glob("site=*/*.parquet"))]
    return pa.concat_tables(tables).sort_by([("recording_id", "ascending"), ("start_s", "ascending")]).to_pylist()


def summary_of(output):
    return json.loads((output / "scores.json").read_text())


@pytest.fixture
def scored(archive_files, bundle, tmp_path):
    assert main(command(archive_files, bundle, tmp_path / "whole")) == 0
    return tmp_path / "whole"


def rows_of_the_service(edf, bundle, folder, hop_s=10.0):
    """What the service's worker answers for a file, as it hands out Parquet; none where it refuses every window."""
    engine, model = open_database(f"sqlite:///{folder / 'records.db'}"), open_model(bundle)
    one = jobs.new_job(owner="o", file=edf.name, is_upload=False, model=model.name, hop_s=hop_s)
    jobs.accept(engine, one, most_waiting=1)
    job = jobs.claim(engine, "w")
    run_job(engine, edf, job, model)
    done = jobs.get_job(engine, job.id)
    findings = Findings(
        answers=jobs.answers_of(engine, job.id), source_sha256=done.source_sha256, model=model.name,
        model_digest=model.digest, classes=model.bundle.classes, created_at=0.0,
        label_span_s=model.bundle.profile.label_span_s,
    )  # fmt: skip
    engine.dispose()
    return pq.read_table(pa.BufferReader(as_parquet(findings))).to_pylist()


def test_the_portable_runner_gives_the_same_rows(scored, archive_files, bundle, on_job_service, tmp_path):
    args = command(archive_files, bundle, tmp_path / "portable", *on_job_service)
    code = subprocess.run([sys.executable, "-m", "pipelines.score", *args], env=environment(), timeout=300, check=False)
    assert code.returncode == 0
    assert rows_of(tmp_path / "portable") == rows_of(scored)


def assert_same_rows(ours, theirs):
    """Same windows, classes, sets and words; probabilities to 1e-6, since the last batch may have another size."""
    assert [row["window_key"] for row in ours] == [row["window_key"] for row in theirs]
    for mine, row in zip(ours, theirs, strict=True):
        assert mine.keys() == row.keys() | {"site_id", "subject_id"}
        for name, value in row.items():
            assert mine[name] == (pytest.approx(value, abs=1e-6) if isinstance(value, float) else value), name


@given(
    seconds=st.integers(50, 240), sfreq=st.sampled_from([128, 200, 250, 512]), hop_s=st.sampled_from([4.0, 7.5, 10.0]),
    n_dead=st.integers(0, 4), flat_s=st.integers(0, 200), spectrogram=st.booleans(),
)  # fmt: skip
@settings(
    max_examples=4, deadline=None, derandomize=True, phases=(Phase.generate,), suppress_health_check=list(HealthCheck)
)
def test_rows_equal_those_of_the_service(tmp_path_factory, seconds, sfreq, hop_s, n_dead, flat_s, spectrogram):
    folder = tmp_path_factory.mktemp("same")
    profile = SIX_CLASS_SPECTROGRAM if spectrogram else SIX_CLASS
    bundle = write_small_bundle(folder / "small", spectrogram=spectrogram, profile=profile)
    edf = write_edf(folder / "in" / "a.edf", seconds=seconds, sfreq=sfreq, names=NAMES[: 19 - n_dead], seed=flat_s)
    if flat_s:  # the first stretch holds nothing: its windows are rejected by both
        raw = bytearray(edf.read_bytes())
        n_header, per_s = int(raw[184:192]), (19 - n_dead) * sfreq * 2
        n_record = (len(raw) - n_header) // seconds
        for second in range(min(flat_s, seconds - 60) if seconds > 110 else 0):
            at = n_header + second * n_record
            raw[at : at + per_s] = bytes(per_s)
        edf.write_bytes(raw)
    theirs = rows_of_the_service(edf, bundle, folder, hop_s)
    assert main(command(folder / "in", bundle, folder / "out", "--hop", str(hop_s))) == 0
    assert_same_rows(rows_of(folder / "out"), theirs)


def test_everything_is_counted_and_named(scored, archive_files):
    summary = summary_of(scored)
    assert summary["files"] == {"in": 6, "answered": 3, "refused": 2, "copies": 1}
    assert summary["refused"] == {"corrupt_header": 1, "too_short": 1}
    # (900 - 50) / 10 + 1, (120 - 50) / 10 + 1, (300 - 50) / 10 + 1 windows.
    assert summary["windows"] == {"planned": 86 + 8 + 26, "answered": 120, "rejected": 0}
    assert sum(summary["predicted"].values()) == len(rows_of(scored)) == 120
    assert sorted(path.name for path in scored.iterdir()) == [
        "_COMPLETED", "quarantine", "recordings.jsonl", "scores.json", "site=north", "site=south",
    ]  # fmt: skip
    # Neither a path nor a name out of a header leaves the private folder.
    public = b"".join(path.read_bytes() for path in scored.rglob("*") if path.is_file())
    assert b"Mustermann" not in public
    assert str(archive_files).encode() not in public
    private = (scored.with_name("whole.private") / "quarantine.jsonl").read_text()
    assert "broken.edf" in private
    assert "short.edf" in private


def test_processes_answer_the_same(scored, archive_files, bundle, tmp_path, monkeypatch, capfd):
    assert main(command(archive_files, bundle, tmp_path / "two", "--direct_num_workers=2", "--json")) == 0
    printed = json.loads(capfd.readouterr().out)
    assert printed["output"] == str(tmp_path / "two")
    assert printed["files"] == read_summary(str(tmp_path / "two")).files
    assert rows_of(tmp_path / "two") == rows_of(scored)
    assert summary_of(tmp_path / "two") == summary_of(scored)


def test_a_run_killed_at_any_moment_answers_every_window_once(archive_files, bundle, tmp_path, scored):
    output, log = tmp_path / "killed", tmp_path / "log"
    many = tmp_path / "many"
    for number in range(4):  # beside the archive's own, to be killed among
        write_edf(many / "east" / f"{number}.edf", seconds=1300, seed=number)
    args = [sys.executable, "-m", "pipelines.score", *command(many, bundle, output, "--direct_num_workers=2")]
    with log.open("wb") as file:
        process = subprocess.Popen(args, stdout=file, stderr=file, start_new_session=True, env=os.environ)
    working, until = tmp_path / "killed.partial", time.monotonic() + 300
    while not list(working.glob("_progress/site=*/*.json")):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < until
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not output.exists()
    kept = {path: path.stat().st_mtime_ns for path in working.glob("site=*/*.parquet")}
    assert main(command(many, bundle, output, "--resume")) == 0
    starts = [(row["recording_id"], row["start_s"]) for row in rows_of(output)]
    # Four recordings of (1300 - 50) / 10 + 1 windows.
    assert len(starts) == len(set(starts)) == 4 * 126
    assert summary_of(output)["windows"] == {"planned": 504, "answered": 504, "rejected": 0}
    again = {path.name: path.stat().st_mtime_ns for path in output.glob("site=*/*.parquet")}
    assert any(again.get(path.name) == when for path, when in kept.items())
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith(".partial")]
    assert not (output / "_progress").exists()


def test_a_damaged_table_is_answered_again_and_another_model_is_refused(
    archive_files, bundle, tmp_path, monkeypatch, capsys
):
    answer = parts._answer

    def dies_late(output, name, model, blocks):
        if "north" in name:
            return answer(output, name, model, blocks)
        raise MemoryError("no more")

    monkeypatch.setattr(parts, "_answer", dies_late)
    output = tmp_path / "out"
    assert main(command(archive_files, bundle, output)) == 2
    assert "keeps 2 whole tables, which --resume takes over" in capsys.readouterr().err
    assert not output.exists()
    monkeypatch.setattr(parts, "_answer", answer)
    damaged = sorted((tmp_path / "out.partial").glob("site=north/*.parquet"))[0]
    damaged.write_bytes(damaged.read_bytes()[:-7])
    other = write_small_bundle(tmp_path / "other", seed=5)
    assert main(command(archive_files, other, output, "--resume")) == 2
    assert "begun with another bundle" in capsys.readouterr().err
    assert main(command(archive_files, bundle, output, "--hop", "5", "--resume")) == 2
    assert "begun with another profile, hop" in capsys.readouterr().err
    assert main(command(archive_files, bundle, output, "--resume")) == 0
    assert len({row["window_key"] for row in rows_of(output)}) == len(rows_of(output)) == 120


def test_a_bundle_that_is_exchanged_meanwhile_ends_the_run(archive_files, bundle, tmp_path, monkeypatch, capsys):
    copy, plan = tmp_path / "copy", parts.scorer
    shutil.copytree(bundle, copy)

    def exchanged(uri, digest):
        shutil.rmtree(copy, ignore_errors=True)
        write_small_bundle(copy, seed=9)
        return plan(uri, digest)

    monkeypatch.setattr(parts, "scorer", exchanged)
    assert main(command(archive_files, copy, tmp_path / "out")) == 2
    assert "was exchanged while the run was under way" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (("--hop", "0.5"), "--hop 0.5 is too short"),
        (("--hop", "7.001"), "hop_s=7.001 must be a whole number of samples"),
        (("--bundle", "/nowhere"), "/nowhere is no bundle"),
        (("--input", "/nowhere"), "input /nowhere does not exist"),
        (("--max-quarantined", "2"), "--max-quarantined 2 is a share"),
        (("--direct_num_workers=x",), "direct_num_workers"),
        (("--nonsense=1",), "unknown option --nonsense=1"),
        (("--runner=DataflowRunner",), "lies on this machine, where Dataflow's workers cannot reach it"),
    ],
)
def test_bad_input_is_one_line(archive_files, bundle, tmp_path, capsys, args, line):
    with pytest.raises(SystemExit) as ended:
        main(command(archive_files, bundle, tmp_path / "out", *args))
    assert ended.value.code == 2
    (only,) = capsys.readouterr().err.splitlines()
    assert line in only
    assert list(tmp_path.iterdir()) == []


def test_too_many_refused_files_leave_a_report_and_no_answers(archive_files, bundle, tmp_path, capsys):
    assert main(command(archive_files, bundle, tmp_path / "out", "--max-quarantined", "0.1")) == 2
    assert "2 of 6 files refused, more than --max-quarantined 0.1; see" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert sorted(path.name for path in (tmp_path / "out.failed").rglob("*") if path.is_file()) == [
        "files.jsonl", "recordings.jsonl", "scores.json", "windows.jsonl",
    ]  # fmt: skip


def test_an_output_is_replaced_with_overwrite_alone(scored, archive_files, bundle, capsys):
    before = {path: path.read_bytes() for path in scored.rglob("*") if path.is_file()}
    with pytest.raises(SystemExit):
        main(command(archive_files, bundle, scored))
    assert "exists already" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in scored.rglob("*") if path.is_file()} == before
    assert main(command(archive_files, bundle, scored, "--hop", "50", "--overwrite")) == 0
    assert len(rows_of(scored)) == 18 + 2 + 6
    assert np.diff(sorted({row["start_s"] for row in rows_of(scored)})).min() == 50
