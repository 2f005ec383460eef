"""A model's inputs: windows of a file under a profile, or of shards, and the arrays that go into a network."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from signals.bundles.bundle import METADATA, PATTERNS, SPECTROGRAM, BundleError, Graph
from signals.bundles.metadata import Person, detail_of, metadata_of, people_of, stated
from signals.readers.declaration import NOTHING_DECLARED, Declaration
from signals.readers.digests import IN_MEMORY, source_sha256
from signals.readers.registry import open_recording
from signals.recording.recording import Recording
from signals.shards.manifest import read_manifest
from signals.shards.normalise import Normaliser
from signals.shards.records import as_stored, decode_window
from signals.shards.tfrecord import read_shard
from signals.window import Window
from signals.windows.plan import plan_recording
from signals.windows.prepare import EVERYTHING, prepare_recording
from signals.windows.profiles import Profile

SERVED = "served"
"""Site and subject of a window that is answered: nobody whom a normaliser could know from its training."""


def windows_of_file(
    profile: Profile, uri: str, *, mains_hz: float | None = None, hop_s: float | None = None,
    want: Collection[str] = EVERYTHING, declared: Declaration = NOTHING_DECLARED,
) -> Iterator[Window]:  # fmt: skip
    """Yield the windows of a recording, prepared by the same code as in the pipeline.

    `hop_s` is the distance between their onsets, by default the profile's; `want` as in
    `signals.windows.prepare.prepare_block`. Raises signals.recording.recording.UnreadableError for a file that cannot
    be used: it is too short, has too few of the profile's channels, is no recording at all.
    """
    recording, digest = open_recording(uri, declared=declared), source_sha256(uri)
    yield from windows_of_recording(profile, recording, source_sha256=digest, mains_hz=mains_hz, hop_s=hop_s, want=want)


def windows_of_recording(
    profile: Profile, recording: Recording, *, source_sha256: str = IN_MEMORY, mains_hz: float | None = None,
    hop_s: float | None = None, want: Collection[str] = EVERYTHING,
) -> Iterator[Window]:  # fmt: skip
    """Yield the windows of an open recording, also of one in memory; as `windows_of_file`."""
    if hop_s is not None:
        profile = replace(profile, hop_s=hop_s)
    plan = plan_recording(
        recording, profile, site_id=SERVED, subject_id=SERVED, source_sha256=source_sha256, mains_hz=mains_hz
    )
    yield from prepare_recording(recording, plan, want=want)


def wanted(graphs: Sequence[Graph]) -> frozenset[str]:
    """Return what windows need besides samples so that these graphs can answer, for `prepare_block`'s `want`."""
    return frozenset({SPECTROGRAM for graph in graphs if SPECTROGRAM in graph.inputs})


def kept_for(graphs: Sequence[Graph]) -> tuple[str, ...]:
    """Return which details of a recording these graphs read, for `open_recording`'s `keep`."""
    return tuple(sorted({detail_of(name) for graph in graphs for name in graph.fields}))


def with_person(recording: Recording, graphs: Sequence[Graph], person: Person) -> Recording:
    """Return a recording with fields of its person in place of those that it holds.

    Raises BundleError for a field that no graph reads, also where it identifies, and for a value that cannot be.
    """
    if not person:
        return recording
    read = sorted({name for graph in graphs for name in graph.fields})
    try:
        metadata_of(tuple(person))
        details = stated(person)
    except ValueError as error:
        raise BundleError(str(error)) from None
    if unread := sorted(set(person) - set(read)):
        raise BundleError(f"the bundle reads {', '.join(read) or 'no metadata'}: leave {unread[0]} out")
    return replace(recording, details=details.filled(recording.details))


def windows_of_shards(shards: Sequence[Path], *, n_windows: int | None = None) -> Iterator[Window]:
    """Yield `n_windows` windows evenly spread over shard sets, or all of them, in order.

    Raises signals.shards.manifest.ManifestError for a folder that is no finished shard set.
    """
    manifests = [(folder, read_manifest(folder)) for folder in shards]
    files = [(folder / shard.path, shard.n_windows) for folder, manifest in manifests for shard in manifest.shards]
    total = sum(n for _, n in files)
    numbers = np.arange(total) if n_windows is None else np.linspace(0, total - 1, min(n_windows, total)).astype(int)
    chosen, number = set(numbers.tolist()), 0
    for path, n in files:
        if not chosen.isdisjoint(range(number, number + n)):
            for at, record in enumerate(read_shard(path), start=number):
                if at in chosen:
                    yield decode_window(record)
        number += n


def model_input(windows: Sequence[Window], normaliser: Normaliser) -> tuple[np.ndarray, np.ndarray]:
    """Return (signal float32 (n_windows, n_chans, n_times), normalised; ch_state int64 (n_windows, n_chans)).

    Samples are rounded as shards store them, so that a served window is the one that training saw.
    """
    signal = [
        normaliser.apply(as_stored(w.data, w.sensor_types), w.ch_state, w.subject_id, w.site_id, w.sensor_types)
        for w in windows
    ]
    return np.stack(signal).astype(np.float32), np.stack([w.ch_state for w in windows]).astype(np.int64)


def padded(signal: np.ndarray, step_times: int) -> np.ndarray:
    """Return signals, shape (..., n_times), with zeros at the end up to a multiple of `step_times`."""
    n_more = -signal.shape[-1] % step_times
    return np.pad(signal, [(0, 0)] * (signal.ndim - 1) + [(0, n_more)]) if n_more else signal


def pattern_rows(windows: Sequence[Window]) -> np.ndarray:
    """Return the pattern features of windows of EEG_1020, float32, shape (n_windows, n_features).

    Samples are rounded as shards store them.
    """
    from signals.patterns.features import pattern_features  # scipy.signal, for graphs that read them

    rows = [pattern_features(as_stored(w.data, w.sensor_types), w.sfreq) for w in windows]
    return np.array([list(row.values()) for row in rows], dtype=np.float32)


@dataclass(frozen=True)
class Batch:
    """Windows, and what graphs read of them: each part is computed once, whoever reads it."""

    windows: Sequence[Window]
    _signals: list[tuple[Normaliser, tuple[np.ndarray, np.ndarray]]] = field(default_factory=list, repr=False)

    @cached_property
    def patterns(self) -> np.ndarray:
        """As `pattern_rows`."""
        return pattern_rows(self.windows)

    def signal(self, normaliser: Normaliser) -> tuple[np.ndarray, np.ndarray]:
        """As `model_input`."""
        for known, found in self._signals:
            if known == normaliser:
                return found
        self._signals.append((normaliser, model_input(self.windows, normaliser)))
        return self._signals[-1][1]

    def feed(self, graph: Graph) -> dict[str, np.ndarray]:
        """Return a graph's inputs by name.

        Raises BundleError where it reads spectrograms and a window has none.
        """
        result: dict[str, np.ndarray] = {}
        if "signal" in graph.inputs:
            signal, result["ch_state"] = self.signal(graph.normaliser)
            result["signal"] = padded(signal, graph.step_times)
        if PATTERNS in graph.inputs:
            result[PATTERNS] = self.patterns
        if METADATA in graph.inputs:
            result[METADATA] = metadata_of(graph.fields).table(people_of(self.windows, graph.fields))
        if SPECTROGRAM in graph.inputs:
            spectrograms = [w.spectrogram for w in self.windows if w.spectrogram is not None]
            if len(spectrograms) < len(self.windows):
                raise BundleError(f"network {graph.name} reads spectrograms, and the windows carry none")
            result[SPECTROGRAM] = np.stack(spectrograms)
        return result


def feed(windows: Sequence[Window], graph: Graph) -> dict[str, np.ndarray]:
    """Return one graph's inputs by name; as `Batch.feed`."""
    return Batch(windows).feed(graph)
