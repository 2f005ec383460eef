"""A pool of processes whose end never waits for one that cannot end."""

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, get_context
from typing import Any


@contextmanager
def process_pool(
    n_processes: int, *, method: str, initializer: Callable[..., object] | None = None, initargs: tuple[Any, ...] = ()
) -> Iterator[ProcessPoolExecutor]:
    """Give a pool of processes, started by a method of multiprocessing ("spawn", "forkserver").

    What has begun is waited for at the end, and what has not is cancelled. Raises BrokenProcessPool where a process
    was killed: the others are killed too. Before 3.12 Python overlooks the one that is just being started, and then
    waits for it for ever.
    """
    before = set(active_children())
    pool = ProcessPoolExecutor(n_processes, get_context(method), initializer=initializer, initargs=initargs)
    try:
        yield pool
    except BrokenProcessPool:
        for process in set(active_children()) - before:
            process.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
