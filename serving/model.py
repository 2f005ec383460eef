"""One model in memory: sessions from bytes whose digests were checked, warmed up, with its own number of threads."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from serving.intake import SFREQ, Intake
from serving.runtime import Answer, answer_batch, described, embedded_batch, new_session
from signals.bundles.bundle import FP32, INT8_STATIC, SPECTROGRAM, Bundle, load_bundle
from signals.bundles.inputs import wanted, windows_of_recording
from signals.recording.recording import Recording
from signals.window import Window

BATCH = 8
"""Windows of a recording that are answered at once."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """A bundle that answers. Nothing on disk can change its answers after it was opened."""

    name: str
    bundle: Bundle
    sessions: Mapping[str, Any] = field(repr=False)
    """ONNX Runtime session of each file."""
    spectrogram_shape: tuple[int, ...] | None
    """Shape of a spectrogram that a graph reads; None where none does."""

    @property
    def digest(self) -> str:
        """Digest of the bundle, which is the model's version."""
        return str(self.bundle.about["digest"])

    @cached_property
    def intake(self) -> Intake:
        """What its windows depend on besides their samples."""
        return Intake(
            name=self.name, modality=self.bundle.modality, profile=self.bundle.profile,
            want=wanted(self.bundle.graphs), spectrogram_shape=self.spectrogram_shape,
        )  # fmt: skip

    @property
    def joins_recordings(self) -> bool:
        """Whether windows of several recordings may share a batch: not where the batch decides the quantisation."""
        return self.bundle.precision in (FP32, INT8_STATIC)

    def windows(self, recording: Recording, *, source_sha256: str, hop_s: float | None = None) -> Iterator[Window]:
        """Yield a recording's windows with what the graphs read; raises as `windows_of_recording`."""
        return windows_of_recording(
            self.bundle.profile, recording, source_sha256=source_sha256, hop_s=hop_s, want=self.intake.want
        )

    def n_windows(self, recording: Recording, *, hop_s: float | None = None) -> int:
        """Return how many windows a recording has, rejected ones included: what progress is counted against."""
        window_s, hop = self.bundle.profile.window_s, hop_s or self.bundle.profile.hop_s
        return sum(max(0, 1 + int((segment.duration_s - window_s + 1e-6) // hop)) for segment in recording.segments)

    def window_of_array(
        self, x_uv: np.ndarray, *, sfreq: float = SFREQ, ch_names: Sequence[str] | None = None,
        spectrogram: np.ndarray | None = None,
    ) -> Window:  # fmt: skip
        """Return the window of an array; as `serving.intake.Intake.window`."""
        return self.intake.window(x_uv, sfreq=sfreq, ch_names=ch_names, spectrogram=spectrogram)

    def answers(self, windows: Sequence[Window]) -> list[Answer]:
        """Return one answer per window; one batch, or one run a window where a batch would change them."""
        if not windows:
            return []
        parts = [windows] if self.joins_recordings else [[window] for window in windows]
        return [answer for part in parts for answer in self._batch(part)]

    def answers_of(self, windows: Iterable[Window]) -> Iterator[list[Answer]]:
        """Yield the answers of a recording's windows in order, batch by batch, so that memory is bounded."""
        remaining = iter(windows)
        while batch := list(islice(remaining, BATCH)):
            yield self.answers(batch)

    def embedded_of(self, windows: Iterable[Window]) -> Iterator[tuple[list[Answer], np.ndarray]]:
        """Yield what `answers_of` yields, with the first member's representations, shape (n_windows, width)."""
        remaining = iter(windows)
        while batch := list(islice(remaining, BATCH)):
            parts = [batch] if self.joins_recordings else [[window] for window in batch]
            pairs = [embedded_batch(self.bundle, part, sessions=self.sessions.__getitem__) for part in parts]
            found = [one for part, (answers, _) in zip(parts, pairs, strict=True)
                     for one in described(self.bundle, part, answers)]  # fmt: skip
            yield found, np.concatenate([vectors for _, vectors in pairs])

    def _batch(self, windows: Sequence[Window]) -> Iterator[Answer]:
        return described(self.bundle, windows, answer_batch(self.bundle, windows, sessions=self.sessions.__getitem__))


def open_model(path: Path, *, name: str | None = None, threads: int = 1, public_key: Path | None = None) -> Model:
    """Return a model after its first answer, which is the slow one.

    With a public key, a bundle that is not signed with it is refused before any graph is read.
    Raises BundleError as `load_bundle`, for a file that changed while it was read, and for an encoder.
    """
    bundle = load_bundle(path)
    if public_key is not None:
        from serving.signature import verify  # cryptography, where it is needed

        verify(bundle, public_key)
    _ = bundle.classes  # an encoder has none
    sessions = _sessions(bundle, threads)
    model = Model(
        name=name or path.name, bundle=bundle, sessions=sessions, spectrogram_shape=_spectrogram_shape(bundle, sessions)
    )
    warm_up(model)
    return model


def with_threads(model: Model, threads: int) -> Model:
    """Return the same model with another number of threads, after its first answer; raises BundleError as `open_model`.

    Threads share rows and columns of a product, never its sums: answers stay the same.
    """
    again = replace(model, sessions=_sessions(model.bundle, threads))
    warm_up(again)
    return again


def _sessions(bundle: Bundle, threads: int) -> dict[str, Any]:
    files = [graph.file for graph in bundle.graphs] + ([bundle.combiner] if bundle.combiner else [])
    return {file: new_session(bundle.read(file), threads=threads) for file in files}


def warm_up(model: Model) -> Answer:
    """Return the answer to a window of noise, prepared and computed as a request's."""
    return model.answers([model.intake.noise()])[0]


def _spectrogram_shape(bundle: Bundle, sessions: Mapping[str, Any]) -> tuple[int, ...] | None:
    """Return the shape of one spectrogram that a graph reads, None where no graph reads any."""
    for graph in bundle.graphs:
        for node in sessions[graph.file].get_inputs():
            if node.name == SPECTROGRAM:
                return tuple(int(size) for size in node.shape[1:])
    return None
