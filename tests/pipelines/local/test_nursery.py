"""Workers that are forks of the run, and how little it imports; in other processes, for a test cannot be forked."""

import os
import subprocess
import sys

RUN = """
import sys
import pipelines.local.lean_beam
import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from pipelines.options import LOCAL_RUNNER
from pipelines.local.nursery import can_fork, nursery

{before}
sys.modules["inherited"] = sys.modules["sys"]  # a process that was started anew has no such module
flags = [f"--runner={{LOCAL_RUNNER}}", "--direct_running_mode=multi_processing", "--direct_num_workers=2"]

def work(x):
    import os, sys
    {work}

if __name__ == "__main__":
    with nursery():
        with beam.Pipeline(options=PipelineOptions(flags)) as pipeline:
            found = pipeline | beam.Create(range(8)) | beam.Reshuffle() | beam.Map(work)
            _ = found | beam.Map(lambda line: sys.stdout.write(line + chr(10)) and sys.stdout.flush())
    print("ended")
"""


def run(work, *, before="assert can_fork()"):
    environment = os.environ | {"PYTHONPATH": os.getcwd(), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-c", RUN.format(work=work, before=before)],
        capture_output=True, text=True, timeout=120, env=environment, check=False,
    )  # fmt: skip


def test_workers_are_forks_that_end_with_the_run():
    result = run("return f'{os.getpid()} {\"inherited\" in sys.modules}'")
    assert result.returncode == 0, result.stderr[-3000:]
    *lines, last = result.stdout.splitlines()
    assert last == "ended"
    assert len(lines) == 8
    assert {line.split()[1] for line in lines} == {"True"}
    pids = {int(line.split()[0]) for line in lines}
    assert len(pids) == 2
    assert not [pid for pid in pids if os.path.exists(f"/proc/{pid}")]


def test_a_worker_that_is_killed_ends_the_run():
    result = run("os.kill(os.getpid(), 9) if x == 5 else None; return 'worked'")
    assert result.returncode != 0
    assert "a worker process ended with status -9" in result.stderr
    assert "ended" not in result.stdout.splitlines()


def test_a_process_with_threads_starts_workers_anew():
    result = run(
        "return str('inherited' in sys.modules)",
        before="from threading import Event, Thread\n"
        "Thread(target=Event().wait, daemon=True).start()\nassert not can_fork()",
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout.splitlines() == ["False"] * 8 + ["ended"]


def test_a_run_imports_neither_what_beam_tries_nor_what_filters_do_not_need():
    code = (
        "import sys, pipelines.preprocess\n"
        "from pipelines.local.lean_beam import UNUSED\n"
        "found = [name for name in (*UNUSED, 'scipy.signal', 'scipy.stats') if name in sys.modules]\n"
        "import pandas  # what was left out is there for others\n"
        "sys.exit(', '.join(found) or 0)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False,
        env=os.environ | {"PYTHONPATH": os.getcwd()},
    )  # fmt: skip
    assert (result.returncode, result.stderr) == (0, "")
