"""Answers from a bundle with onnxruntime alone; windows are prepared by the same code as in the pipeline."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from serving.bundle import Bundle
from signals.identity import source_sha256
from signals.plan import plan_recording
from signals.prepare import prepare_recording
from signals.readers.registry import open_recording
from signals.records import as_stored
from signals.windows import Window


@dataclass(frozen=True)
class Answer:
    """What the model says about one window."""

    start_s: float
    stop_s: float
    predicted_class: str
    probabilities: dict[str, float]


def windows_of_file(bundle: Bundle, uri: str, *, mains_hz: float | None = None) -> Iterator[Window]:
    """Yield the windows of a recording under the bundle's profile.

    Raises signals.recording.UnreadableError for a file that cannot be used.
    """
    recording = open_recording(uri)
    plan = plan_recording(
        recording,
        bundle.profile,
        site_id="served",
        subject_id="served",
        source_sha256=source_sha256(uri),
        mains_hz=mains_hz,
    )
    yield from prepare_recording(recording, plan)


def run(bundle: Bundle, windows: Iterable[Window], *, batch_size: int = 8) -> Iterator[Answer]:
    """Yield one answer a window, in order; `batch_size` bounds the memory."""
    remaining = iter(windows)
    while batch := list(islice(remaining, batch_size)):
        yield from _answers(bundle, batch, probabilities(bundle, batch))


def probabilities(bundle: Bundle, windows: Sequence[Window]) -> np.ndarray:
    """Return calibrated class probabilities, float64, shape (n_windows, n_classes)."""
    scale = bundle.normaliser.apply
    types = bundle.profile.signal.sensor_types
    signal = np.stack([scale(as_stored(w.data, types), w.ch_state, w.subject_id, w.site_id, types) for w in windows])
    ch_state = np.stack([w.ch_state for w in windows]).astype(np.int64)
    (logits,) = _session(bundle.model_path).run(["logits"], {"signal": signal.astype(np.float32), "ch_state": ch_state})
    scaled = logits.astype(np.float64) / bundle.temperature
    exponents = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=1, keepdims=True))


def _answers(bundle: Bundle, windows: Sequence[Window], probs: np.ndarray) -> Iterator[Answer]:
    for window, row in zip(windows, probs, strict=True):
        yield Answer(
            start_s=window.start_s,
            stop_s=window.start_s + window.data.shape[1] / window.sfreq,
            predicted_class=bundle.task.classes[int(row.argmax())],
            probabilities=dict(zip(bundle.task.classes, row.tolist(), strict=True)),
        )


@lru_cache(maxsize=4)
def _session(path: Path) -> Any:
    import onnxruntime  # 0.2 s, and only those who ask for an answer need it

    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
