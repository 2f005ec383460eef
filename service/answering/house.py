"""The models that answer, by name: opened, exchanged without dropping a request, closed."""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from service.answering.owner import Owner
from service.refusals import Refusal
from service.registry.sources import Source
from serving.model import Model, open_model, with_threads
from serving.runtime import Answer
from signals.window import Window

OnBatch = Callable[[Model, int, float], None]


def _nothing(model: Model, n_windows: int, seconds: float) -> None:
    return


@dataclass
class Comparison:
    """How often a shadow model and the one that answers agree."""

    n_windows: int = 0
    n_other_class: int = 0
    largest_difference: float = 0.0
    """Of a class's probability."""
    n_failed: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def compare(self, sent: Sequence[Answer], beside: Sequence[Answer]) -> None:
        """Count the differences of two models' answers to the same windows."""
        with self.lock:
            for a, b in zip(sent, beside, strict=True):
                self.n_windows += 1
                self.n_other_class += a.predicted_class != b.predicted_class
                names = a.class_probabilities.keys() & b.class_probabilities.keys()
                differences = [abs(a.class_probabilities[name] - b.class_probabilities[name]) for name in names]
                self.largest_difference = max(self.largest_difference, *differences, 0.0)


class House:
    """Owners of models by name; the first is the default."""

    def __init__(
        self, sources: Mapping[str, Source], *, threads: int = 1, threads_alone: int = 1,
        shadow: Path | None = None, on_batch: OnBatch = _nothing, public_key: Path | None = None,
    ) -> None:  # fmt: skip
        """Open all models, which takes seconds; with a public key, signed ones alone.

        threads: of each model. threads_alone: the same for a request that is alone. Raises BundleError, RegistryError.
        """
        self._threads, self._threads_alone = threads, threads_alone
        self._on_batch, self._lock = on_batch, threading.Lock()
        self._public_key = public_key
        self._sources = dict(sources)
        self._owners = {name: self._open(name, source()) for name, source in self._sources.items()}
        self._shadow = None if shadow is None else self._open(shadow.name, shadow)
        self.comparison = Comparison()

    def _open(self, name: str, path: Path) -> Owner:
        model = open_model(path, name=name, threads=self._threads, public_key=self._public_key)
        wide = with_threads(model, self._threads_alone) if self._threads_alone > self._threads else None
        return Owner(model, wide=wide, on_batch=lambda n_windows, seconds: self._on_batch(model, n_windows, seconds))

    @property
    def owners(self) -> list[Owner]:
        """Those that answer now."""
        return list(self._owners.values())

    def owner(self, name: str | None = None) -> Owner:
        """Return a model's owner, the first without a name; raises Refusal 404 "unknown_model"."""
        if not self._owners:
            raise Refusal(503, "no_model", "no model is served", "start the server with a bundle", 30.0)
        if name is None:
            return next(iter(self._owners.values()))
        if name not in self._owners:
            raise Refusal(404, "unknown_model", "no model of this name is served", "GET /models lists them")
        return self._owners[name]

    def submit(
        self, owner: Owner, windows: Sequence[Window], *, deadline: float | None, is_alone: bool = False
    ) -> "Future[list[Answer]]":
        """Return the future answers of a model; the shadow answers too, later, for comparison.

        is_alone: nothing else is worked on.
        """
        try:
            answers = owner.submit(windows, deadline=deadline, is_alone=is_alone)
        except Refusal:
            current = self._owners.get(owner.model.name)
            if current is None or current is owner:
                raise
            answers = current.submit(windows, deadline=deadline, is_alone=is_alone)  # it was exchanged at this moment
        if self._shadow is not None and owner.model.name == next(iter(self._owners)):
            answers.add_done_callback(lambda done: self._beside(windows, done))
        return answers

    def _beside(self, windows: Sequence[Window], sent: "Future[list[Answer]]") -> None:
        if self._shadow is None or sent.cancelled() or sent.exception() is not None:
            return
        try:
            answers = self._shadow.submit(windows)
        except Refusal:  # a busy shadow is left out; it must not slow down who answers
            return
        answers.add_done_callback(lambda beside: self._compare(sent.result(), beside))

    def _compare(self, sent: Sequence[Answer], beside: "Future[list[Answer]]") -> None:
        if beside.exception() is not None:
            with self.comparison.lock:
                self.comparison.n_failed += 1
            return
        self.comparison.compare(sent, beside.result())

    def reload(self, name: str) -> Model:
        """Open a model again, from where its source is now; what was accepted is answered by the old one.

        Raises BundleError or RegistryError, and nothing changes; Refusal 404.
        """
        self.owner(name)
        with self._lock:  # two reloads at a time would leave an owner that nobody closes
            new, old = self._open(name, self._sources[name]()), self._owners[name]
            self._owners[name] = new
        old.close()
        return new.model

    def close(self) -> None:
        """Answer what was accepted, then end all threads."""
        for owner in (*self._owners.values(), *([self._shadow] if self._shadow else [])):
            owner.close()


def class_row(answer: Answer, classes: Sequence[str]) -> np.ndarray:
    """Return an answer's probabilities in the classes' order, float32."""
    return np.array([answer.class_probabilities[name] for name in classes], dtype=np.float32)
