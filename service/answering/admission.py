"""Who may come in: as many requests as can be answered in time, and as many of one caller as the rate allows."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.refusals import Refusal, busy

_SMOOTHING = 0.1
_MOST_CALLERS = 10_000


class Admission:
    """Counts the requests inside and knows what one costs; refuses one that would wait too long."""

    def __init__(self, *, max_wait_s: float, n_cores: int) -> None:
        """Begin with costs that are guessed; they are measured from then on."""
        self._max_wait_s, self._n_cores = max_wait_s, n_cores
        self._lock = threading.Lock()
        self._prepare_s, self._model_s = 0.03, 0.02
        self.n_inside = 0

    @property
    def wait_s(self) -> float:
        """Expected seconds until the requests inside are answered."""
        return self.n_inside * (self._prepare_s + self._model_s) / self._n_cores

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place for one request; raises Refusal "busy" at once where its turn would come too late."""
        with self._lock:
            # Where a core is free, one gets in, however slow the last one was.
            if self.n_inside >= self._n_cores and self.wait_s > self._max_wait_s:
                raise busy(max(1.0, self.wait_s))
            self.n_inside += 1
        try:
            yield
        finally:
            with self._lock:
                self.n_inside -= 1

    def prepared(self, cpu_s: float) -> None:
        """Take note of a core's seconds for reading and preparing one request."""
        with self._lock:
            self._prepare_s += _SMOOTHING * (cpu_s - self._prepare_s)

    def computed(self, n_windows: int, seconds: float) -> None:
        """Take note of a batch of the model."""
        with self._lock:
            self._model_s += _SMOOTHING * (seconds / n_windows - self._model_s)


class Rate:
    """A token bucket per caller: `per_s` requests a second on average, twice as many at once."""

    def __init__(self, *, per_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """clock: seconds, for tests."""
        self._per_s, self._clock, self._lock = per_s, clock, threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, caller: str) -> None:
        """Count one request of a caller; raises Refusal "rate_limited"."""
        now, most = self._clock(), max(2 * self._per_s, 1.0)
        with self._lock:
            left, since = self._buckets.pop(caller, (most, now))
            left = min(most, left + (now - since) * self._per_s)
            self._buckets[caller] = (left - 1 if left >= 1 else left, now)
            if len(self._buckets) > _MOST_CALLERS:
                self._buckets.popitem(last=False)
        if left < 1:
            raise Refusal(
                429, "rate_limited", "more requests than one caller may send", "slow down", (1 - left) / self._per_s
            )
