"""One thread owns a model: it takes what waits, in batches, and nobody else calls the model."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from service.refusals import busy, too_late
from serving.model import Model
from serving.runtime import Answer
from signals.window import Window

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Request:
    """Windows of one request."""

    windows: Sequence[Window]
    deadline: float | None
    """On `time.monotonic`'s clock."""
    is_alone: bool
    """Whether nothing else was worked on when it came."""
    result: "Future[list[Answer]]" = field(default_factory=Future)


class Owner:
    """A model, its thread and its bounded queue."""

    def __init__(
        self, model: Model, *, wide: Model | None = None, max_batch: int = 8, max_waiting: int = 128,
        on_batch: Callable[[int, float], None] = lambda n_windows, seconds: None,
    ) -> None:  # fmt: skip
        """Start the thread. A batch is what came while the one before was computed: nobody waits for company.

        wide: the same model on all cores, for requests that are alone; others would wait for the cores that it takes.
        max_batch: windows computed at once, unless one request has more. max_waiting: windows in the queue.
        on_batch: gets windows and seconds of every batch.
        """
        self.model, self._wide = model, wide or model
        self._max_batch, self._max_waiting = max_batch, max_waiting
        self._on_batch = on_batch
        self._queue: deque[_Request] = deque()
        self._n_waiting = 0
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"model-{model.name}", daemon=True)
        self._thread.start()

    @property
    def n_waiting(self) -> int:
        """Windows in the queue."""
        return self._n_waiting

    def submit(
        self, windows: Sequence[Window], *, deadline: float | None = None, is_alone: bool = False
    ) -> "Future[list[Answer]]":
        """Return the future answers of windows; raises Refusal "busy" where the queue is full or being closed.

        is_alone: nothing else is worked on, so that the cores are free.
        """
        request = _Request(windows, deadline, is_alone)
        with self._changed:
            if self._closed or (self._n_waiting and self._n_waiting + len(windows) > self._max_waiting):
                raise busy()
            self._queue.append(request)
            self._n_waiting += len(windows)
            self._changed.notify()
        return request.result

    def close(self) -> None:
        """Answer what was accepted, then end; waits for it."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while batch := self._next_batch():
            self._answer([request for request in batch if _wanted(request)])

    def _next_batch(self) -> list[_Request]:
        """Return the requests of the next batch; none when the queue is closed and empty."""
        with self._changed:
            while not self._queue and not self._closed:
                self._changed.wait()
            batch: list[_Request] = []
            n_windows = 0
            while self._queue and (not batch or n_windows + len(self._queue[0].windows) <= self._max_batch):
                batch.append(self._queue.popleft())
                n_windows += len(batch[-1].windows)
            self._n_waiting -= n_windows
            return batch

    def _answer(self, batch: Sequence[_Request]) -> None:
        if not batch:
            return
        windows, started = [window for request in batch for window in request.windows], time.perf_counter()
        model = self._wide if len(batch) == 1 and batch[0].is_alone else self.model
        try:
            answers = model.answers(windows)
        except Exception as error:  # a request that a model cannot take must not end its thread
            if len(batch) == 1:
                batch[0].result.set_exception(error)
                return
            for request in batch:  # the others of the batch did nothing wrong
                self._answer([request])
            return
        self._on_batch(len(windows), time.perf_counter() - started)
        for request in batch:
            request.result.set_result(answers[: len(request.windows)])
            answers = answers[len(request.windows) :]


def _wanted(request: _Request) -> bool:
    """Return whether anybody still waits for a request in time; settle it where not."""
    if not request.result.set_running_or_notify_cancel():
        return False
    if request.deadline is not None and time.monotonic() > request.deadline:
        request.result.set_exception(too_late())
        return False
    return True
