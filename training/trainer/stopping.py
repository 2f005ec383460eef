"""A polite end: SIGTERM and SIGINT are remembered, and the run saves at the next safe moment."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

RESUME_EXIT = 75
"""Exit code of a run that a signal stopped, and that is saved: start it again (EX_TEMPFAIL of sysexits.h)."""


class Stopped(Exception):
    """A signal stopped the run; what was finished is saved."""


class StopRequest:
    """Whether SIGTERM or SIGINT came."""

    def __init__(self) -> None:
        self.requested = False

    @contextmanager
    def listening(self) -> Iterator["StopRequest"]:
        """Take the two signals inside; only the main thread can."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {s: signal.signal(s, self._take) for s in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def check(self) -> None:
        """Raise Stopped if a signal came: for work that is simply done again after a restart."""
        if self.requested:
            raise Stopped

    def _take(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
