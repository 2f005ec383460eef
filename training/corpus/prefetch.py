"""Batches made ahead of time, in threads: NumPy and the decompression leave the interpreter to others meanwhile."""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")


def prefetch(make: Callable[[S], T], items: Iterable[S], *, depth: int = 2, workers: int = 1) -> Generator[T]:
    """Yield make(item) for each item, in order, made by `workers` threads up to `depth` ahead of what was taken.

    How many threads there are does not change what comes out. An error of `make` is raised where its result is
    taken. When the iterator is closed or dropped, work that has begun is waited for: a thread that is still inside of
    torch when the interpreter ends takes the process down.
    """
    if workers < 1:
        raise ValueError(f"workers={workers} must be at least 1")
    waiting: deque[Future[T]] = deque()
    todo = iter(items)
    with ThreadPoolExecutor(workers, thread_name_prefix="prefetch") as pool:

        def fill() -> None:
            while len(waiting) < max(depth, workers):
                item = next(todo, None)
                if item is None:
                    return
                waiting.append(pool.submit(make, item))

        try:
            fill()
            while waiting:
                result = waiting.popleft().result()
                fill()
                yield result
        finally:
            for future in waiting:
                future.cancel()


def timed(items: Iterable[T]) -> Iterator[tuple[T, float, float]]:
    """Yield each item, the seconds spent waiting for it, and when the waiting began."""
    waiting = iter(items)
    while True:
        began = time.perf_counter()
        item = next(waiting, None)
        if item is None:
            return
        yield item, time.perf_counter() - began, began
