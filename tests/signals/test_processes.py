"""Pools whose processes are killed at any moment."""

import os
import signal
import subprocess
import sys
import textwrap
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing import active_children

import pytest

from signals.processes import process_pool


def test_a_pool_works_and_leaves_no_process():
    before = set(active_children())
    with process_pool(2, method="forkserver") as pool:
        assert list(pool.map(abs, range(-3, 0))) == [3, 2, 1]
    assert set(active_children()) == before


def test_a_process_that_kills_itself_breaks_the_pool():
    with pytest.raises(BrokenProcessPool), process_pool(1, method="forkserver") as pool:
        pool.submit(os._exit, 9).result()


def test_a_process_killed_while_another_is_started_ends_the_pool():
    # The second start lasts until the pool has seen the first one's death, as on a machine that is loaded.
    code = """
        import multiprocessing, os, signal, time
        from concurrent.futures.process import BrokenProcessPool
        from multiprocessing.context import ForkServerProcess
        from signals.processes import process_pool

        start, pids = ForkServerProcess.start, []

        def slow_start(process):
            start(process)
            pids.append(process.pid)
            if len(pids) == 2:
                os.kill(pids[0], signal.SIGKILL)
                time.sleep(0.5)

        ForkServerProcess.start = slow_start
        try:
            with process_pool(2, method="forkserver") as pool:
                for future in [pool.submit(time.sleep, 0.2) for _ in range(6)]:
                    future.result()
        except BrokenProcessPool:
            print("broken", len(multiprocessing.active_children()))
    """
    pool = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        assert pool.wait(timeout=30) == 0
        assert pool.stdout.read() == b"broken 0\n"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(pool.pid, signal.SIGKILL)
