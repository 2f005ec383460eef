"""One thread for matrix products: several add up in another order, and so decide the last bits of a window."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController

_lock = threading.Lock()
_within: list[Any] = []
"""One limit for each block that is being run. It is the process's: a worker may run several blocks at a time."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Let BLAS, that of NumPy and that of SciPy, use one thread within the block; after the last one as before.

    Blocks may be nested; entering one costs some 20 µs.
    """
    with _lock:
        _within.append(_within[0] if _within else _blas().limit(limits=1))
    try:
        yield
    finally:
        with _lock:
            limit = _within.pop()
            if not _within:
                limit.restore_original_limits()


@cache
def _blas() -> ThreadpoolController:
    """Return the BLAS libraries of this process; finding them takes a millisecond."""
    import scipy.linalg  # noqa: F401  loads a BLAS of its own, which must be loaded before the search

    return ThreadpoolController().select(user_api="blas")
