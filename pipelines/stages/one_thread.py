"""One thread for the matrix products of a stage: threads add up in another order, and so decide a shard's last bits."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits

_lock = threading.Lock()
_within: list[threadpool_limits] = []
"""One for each block that is being run. The limit is the process's: a worker may run several stages at a time."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Let BLAS, that of NumPy and that of SciPy, use one thread within the block; after the last one as before."""
    with _lock:
        _within.append(_within[0] if _within else threadpool_limits(limits=1, user_api="blas"))
    try:
        yield
    finally:
        with _lock:
            limits = _within.pop()
            if not _within:
                limits.restore_original_limits()
