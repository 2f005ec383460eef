import threading
import time

import pytest

from training.corpus.prefetch import prefetch


def test_prefetch_keeps_order_and_raises_in_place() -> None:
    def make(number: int) -> int:
        if number == 3:
            raise RuntimeError("shard 3")
        return number * 10

    values = prefetch(make, range(5))
    assert [next(values) for _ in range(3)] == [0, 10, 20]
    with pytest.raises(RuntimeError, match="shard 3"):
        next(values)
    assert list(prefetch(make, range(3), depth=1)) == [0, 10, 20]


def test_prefetch_leaves_no_thread_behind() -> None:
    values = prefetch(lambda n: time.sleep(0.05) or n, range(1000))
    assert next(values) == 0
    values.close()
    assert not any(thread.name.startswith("prefetch") for thread in threading.enumerate())


def test_more_workers_change_nothing_but_the_time() -> None:
    def make(number: int) -> int:
        time.sleep(0.02 if number % 2 else 0.0)
        return number

    assert list(prefetch(make, range(20), workers=4)) == list(range(20))
    with pytest.raises(ValueError, match="workers=0"):
        next(prefetch(make, range(3), workers=0))
