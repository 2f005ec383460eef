"""Processes that turn a request's body into windows: neither JSON nor filters keep the server from its clients.

In threads of the server each would hold the interpreter's lock for 10 to 20 ms at a time, and refusals would wait. A
process that dies takes the requests that it had with it, and all are started anew.
"""

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import Any, TypeVar

from service.logs import set_up_logs
from service.refusals import Refusal, busy, of_error, too_late

logger = logging.getLogger(__name__)
_T = TypeVar("_T")
_NICE = 2
"""Whoever refuses and hands out answers comes first."""


@dataclass
class Clock:
    """The time that a request has, and what its parts took; kept in the process that works on it."""

    deadline: float | None
    """On `time.monotonic`'s clock, which all processes of a machine share."""
    seconds: dict[str, float] = field(default_factory=dict)

    def timed(self, part: str, function: Callable[..., _T], *args: Any) -> _T:
        """Return a function's value and note its time as a part; raises Refusal where the deadline has passed."""
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise too_late()
        started = time.perf_counter()
        value = function(*args)
        self.seconds[part] = self.seconds.get(part, 0.0) + time.perf_counter() - started
        return value


class Preparers:
    """A pool of processes."""

    def __init__(self, n_processes: int, *, log_level: str = "INFO") -> None:
        """Start them with the first work."""
        self._n_processes, self._log_level, self._lock = n_processes, log_level, threading.Lock()
        self._pool = self._new()

    def _new(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            self._n_processes, mp_context=multiprocessing.get_context("spawn"), initializer=_begin,
            initargs=(self._log_level,),
        )  # fmt: skip

    def submit(self, function: Callable[..., _T], *args: Any, deadline: float | None) -> "Future[tuple[_T, Clock]]":
        """Return the future of function(clock, *args) and its clock; raises Refusal "busy" where processes died.

        The future raises Refusal for what of_error knows, RuntimeError with the type's name for anything else.
        """
        result: Future[tuple[_T, Clock]] = Future()
        pool = self._pool
        try:
            inner = pool.submit(_run, function, args, deadline)
        except (BrokenProcessPool, RuntimeError):
            self._replace(pool)
            raise busy() from None
        inner.add_done_callback(lambda done: self._settle(pool, done, result))
        return result

    def _settle(self, pool: ProcessPoolExecutor, done: "Future[Any]", result: "Future[Any]") -> None:
        if not result.set_running_or_notify_cancel():
            return
        try:
            outcome, clock = done.result()
        except BrokenProcessPool:
            self._replace(pool)
            result.set_exception(busy())
        except Exception as error:
            result.set_exception(error)
        else:
            if isinstance(outcome, Refusal):
                result.set_exception(outcome)
            else:
                result.set_result((outcome, clock))

    def _replace(self, broken: ProcessPoolExecutor) -> None:
        with self._lock:
            if self._pool is broken:
                logger.error("a process that prepares windows died; all are started anew")
                self._pool = self._new()

    def close(self) -> None:
        """End the processes when what they have is done."""
        self._pool.shutdown(wait=True)


def _begin(log_level: str) -> None:
    """Begin a process: it ends with its server, however that ended."""
    set_up_logs(log_level)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C is for the server
    os.nice(_NICE)
    server = multiprocessing.parent_process()
    assert server is not None
    threading.Thread(target=_end_with, args=(server.join,), daemon=True).start()


def _end_with(server_ends: Callable[[], None]) -> None:
    server_ends()
    os._exit(1)


def _run(function: Callable[..., Any], args: tuple[Any, ...], deadline: float | None) -> tuple[Any, Clock]:
    """Return what a function returns, or the Refusal that it raises, which no pickle of an exception would keep."""
    clock = Clock(deadline)
    try:
        return function(clock, *args), clock
    except Exception as error:
        refusal = of_error(error)
        if refusal is None:
            logger.error("a request could not be prepared", exc_info=error)
            raise RuntimeError(type(error).__name__) from None
        return refusal, clock
