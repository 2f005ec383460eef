"""Where a step's time goes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Stopwatch:
    """Seconds by part of a step. On a GPU, where work is queued, times are taken from the device's own events."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._seconds: dict[str, float] = {}
        self._events: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count what happens inside under a name."""
        if not self._cuda:
            began = time.perf_counter()
            yield
            self._add(name, time.perf_counter() - began)
            return
        first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        first.record()
        yield
        last.record()
        self._events.append((name, first, last))

    def read(self) -> dict[str, float]:
        """Return "<part>_s" for each part, and begin anew."""
        if self._events:
            torch.cuda.synchronize()
        for name, first, last in self._events:
            self._add(name, first.elapsed_time(last) / 1000)
        seconds = {f"{name}_s": value for name, value in self._seconds.items()}
        self._seconds, self._events = {}, []
        return seconds

    def _add(self, name: str, seconds: float) -> None:
        self._seconds[name] = self._seconds.get(name, 0.0) + seconds
