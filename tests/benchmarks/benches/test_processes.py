import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.benches.load.processes import family, memory_mb

LAST = Path("/proc/sys/kernel/ns_last_pid")
CHILD = "import subprocess, sys; one = subprocess.Popen(['sleep', '60']); print(one.pid, flush=True); one.wait()"
HOLDING = CHILD.replace("one =", "held = bytearray(b'x' * (1 << 26)); one =")


def started(program: str) -> tuple[subprocess.Popen[str], int]:
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def ended(process: subprocess.Popen[str], child: int) -> None:
    os.kill(child, 9)
    process.communicate(timeout=20)


def test_a_child_whose_number_is_below_its_parents_is_found() -> None:
    if not os.access(LAST, os.W_OK):
        pytest.skip("the next process's number cannot be set here")
    for _ in range(20):  # another process may take the number between
        LAST.write_text(str(int(Path("/proc/sys/kernel/pid_max").read_text()) - 2))
        process, child = started(CHILD)
        try:
            if child < process.pid:
                assert family(process.pid) == [process.pid, child]
                return
        finally:
            ended(process, child)
    pytest.skip("the numbers did not start again")


def test_memory_is_read_by_the_fields_whole_name() -> None:
    process, child = started(HOLDING)
    try:
        own = memory_mb(process.pid, "RssAnon")
        assert 64 < own < memory_mb(process.pid, "VmRSS") <= memory_mb(process.pid, "VmHWM") < 200
        assert memory_mb(process.pid, "Vm") == 0
    finally:
        ended(process, child)
    assert memory_mb(process.pid, "VmRSS") == 0
    assert family(process.pid) == [process.pid]
