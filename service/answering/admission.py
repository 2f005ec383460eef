"""Who may come in: as many requests as can be answered in time, and as many of one caller as the rate allows."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count

from service.refusals import Refusal, busy

_SMOOTHING = 0.1
_MOST_CALLERS = 10_000
_ARRIVAL_S = 1.0
"""A body that has been arriving for longer is not waited for."""


@dataclass
class Work:
    """One request whose body is here."""

    n_windows: int = 1
    """To be answered; known when the body was parsed."""


class Admission:
    """Counts the requests that are worked on and knows how long one takes; refuses one that would wait too long.

    A body that has begun to arrive counts as work for a second, so that nothing is read that could not be answered. One
    that takes longer is counted apart: a slow client keeps nobody from being answered.
    """

    def __init__(self, *, max_wait_s: float, n_cores: int, most_inside: int = 256) -> None:
        """most_inside: requests at once, those whose bodies are arriving included."""
        self._max_wait_s, self._n_cores, self._most_inside = max_wait_s, n_cores, most_inside
        self._lock = threading.Lock()
        self._window_s = 0.05 / n_cores  # a guess, measured from the first answer on
        self._arriving: dict[int, float] = {}
        self._numbers = count()
        self.n_inside, self.n_working = 0, 0

    @property
    def wait_s(self) -> float:
        """Expected seconds until what is worked on is answered."""
        return self.n_working * self._window_s

    @contextmanager
    def place(self) -> Iterator[int]:
        """Hold a place for one request, before its body; raises Refusal "busy" where it would be answered too late."""
        with self._lock:
            until = time.monotonic() - _ARRIVAL_S
            self._check(self.n_working + sum(since > until for since in self._arriving.values()))
            if self.n_inside >= self._most_inside:
                raise busy()
            self.n_inside += 1
            number = next(self._numbers)
            self._arriving[number] = time.monotonic()
        try:
            yield number
        finally:
            with self._lock:
                self.n_inside -= 1
                self._arriving.pop(number, None)

    @contextmanager
    def work(self, place: int | None = None) -> Iterator[Work]:
        """Count one request as worked on, once the body of its place is here; raises as `place`."""
        with self._lock:
            if place is not None:
                self._arriving.pop(place, None)
            self._check(self.n_working)
            self.n_working += 1
            n_working = self.n_working
        work, started = Work(), time.monotonic()
        try:
            yield work
            seconds = (time.monotonic() - started) / (n_working * work.n_windows)
            with self._lock:
                self._window_s += _SMOOTHING * (seconds - self._window_s)
        finally:
            with self._lock:
                self.n_working -= 1

    def _check(self, n_before: int) -> None:
        # Where a core is free, one gets in, however slow the last one was.
        wait_s = n_before * self._window_s
        if n_before >= self._n_cores and wait_s > self._max_wait_s:
            raise busy(max(1.0, wait_s))


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
