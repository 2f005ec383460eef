"""From shards to batches: whole-shard reads without TensorFlow, normalisation at load time."""

import hashlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from signals.shards.manifest import Manifest, SubjectEntry, read_manifest
from signals.shards.normalise import Normaliser
from signals.shards.records import decode_window
from signals.shards.tfrecord import read_shard
from signals.window import Window
from signals.windows.surroundings import SPECTROGRAM_SHAPE

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What is known of a window without its samples."""

    shard: int
    """Number of its shard among all shards that were opened."""
    row: int
    """Place among the whole records of its shard."""
    n_times: int
    key: str
    subject_id: str
    site_id: str
    recording_id: str
    label: str
    votes: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class WindowBatch:
    """Normalised windows and who they are."""

    x_BCT: np.ndarray = field(repr=False)
    """float32, normalised."""
    ch_state_BC: np.ndarray = field(repr=False)
    """int64: ABSENT, INTERPOLATED or MEASURED."""
    spectrogram_BRFS: np.ndarray | None = field(default=None, repr=False)
    """log10 µV²/Hz of the ten minutes around each window, float32, as `Window.spectrogram`; a window without one among
    windows with one is NaN. None where no window of the shards has one."""
    entries: tuple[Entry, ...]


class Shards:
    """The windows of one or more shard sets by number, decoded shard by shard and kept up to a memory budget.

    Corrupt records are counted in `n_corrupt` and left out, up to a share of `max_corrupt` of all windows; how many
    there are is found when the set is opened. Raises ManifestError for what is no finished shard set; ValueError for
    one that is empty, for sets that do not belong together, and for too many corrupt records.
    """

    def __init__(
        self,
        folders: Path | Sequence[Path],
        *,
        exclude_sites: Collection[str] = (),
        cache_bytes: int = 4 << 30,
        max_corrupt: float = 0.001,
        on_shard: Callable[[], None] = lambda: None,
    ) -> None:
        self.folders = [Path(f) for f in ([folders] if isinstance(folders, (str, Path)) else folders)]
        manifests = [read_manifest(folder) for folder in self.folders]
        self.manifest = join_manifests(manifests)
        self.cache_bytes, self.n_corrupt = cache_bytes, 0
        self._cache: OrderedDict[int, list[Window]] = OrderedDict()
        self._lock = threading.Lock()
        sites = {shard.site_id for shard in self.manifest.shards}
        if unknown := set(exclude_sites) - sites:
            raise ValueError(f"sites {sorted(unknown)} are not in {self.names}, which has {sorted(sites)}")
        self._paths = [
            folder / shard.path for folder, m in zip(self.folders, manifests, strict=True) for shard in m.shards
        ]
        entries: list[Entry] = []
        n_promised = 0
        self.has_spectrograms = False
        for number, shard in enumerate(self.manifest.shards):
            on_shard()
            if shard.site_id not in exclude_sites:
                windows = self._shard(number)
                entries += [_entry(number, row, window) for row, window in enumerate(windows)]
                self.has_spectrograms |= any(window.spectrogram is not None for window in windows)
                n_promised += shard.n_windows
        if not entries:
            excluded = " outside of the excluded sites" if exclude_sites else ""
            raise ValueError(f"{self.names} holds no windows{excluded}")
        self.n_corrupt = n_promised - len(entries)
        if self.n_corrupt > max_corrupt * n_promised:
            raise ValueError(
                f"{self.names}: {self.n_corrupt} of {n_promised} windows cannot be read, more than a share of "
                f"{max_corrupt:g}: copy the shards again"
            )
        self.entries = tuple(entries)
        self._lengths = {entry.n_times for entry in entries}

    @property
    def names(self) -> str:
        """The folders, for messages."""
        return ", ".join(map(str, self.folders))

    @property
    def n_times(self) -> int:
        """Samples of every window; raises ValueError where they differ."""
        if len(self._lengths) > 1:
            raise ValueError(
                f"{self.names} mixes windows of {sorted(self._lengths)} samples, which cannot share a batch"
            )
        return next(iter(self._lengths))

    def window(self, index: int) -> Window:
        """Return a window by its number in `entries`; samples in µV (ECG: mV)."""
        entry = self.entries[index]
        return self._shard(entry.shard)[entry.row]

    def normalised(self, index: int, normaliser: Normaliser) -> tuple[np.ndarray, np.ndarray]:
        """Return a window's normalised samples, float32, (n_chans, n_times), 0 where undefined; and its ch_state."""
        window = self.window(index)
        types = self.manifest.modality.sensor_types
        x = normaliser.apply(window.data, window.ch_state, window.subject_id, window.site_id, types)
        return np.nan_to_num(x, copy=False), window.ch_state

    def batch(self, indices: Iterable[int], normaliser: Normaliser) -> WindowBatch:
        """Return windows of one length by number, normalised."""
        numbers = [int(i) for i in indices]
        made = [self.normalised(i, normaliser) for i in numbers]
        return WindowBatch(
            x_BCT=np.stack([x for x, _ in made]),
            ch_state_BC=np.stack([ch_state for _, ch_state in made]).astype(np.int64),
            spectrogram_BRFS=np.stack([self.spectrogram(i) for i in numbers]) if self.has_spectrograms else None,
            entries=tuple(self.entries[i] for i in numbers),
        )

    def spectrogram(self, index: int) -> np.ndarray:
        """Return a window's spectrogram, float32, shape (4, 100, 300), NaN where it has none; see `Window`."""
        given = self.window(index).spectrogram
        return np.full(SPECTROGRAM_SHAPE, np.nan, dtype=np.float32) if given is None else given

    def _shard(self, number: int) -> list[Window]:
        with self._lock:
            if number in self._cache:
                self._cache.move_to_end(number)
                return self._cache[number]
        path = self._paths[number]
        windows = [decode_window(record) for record in read_shard(path, on_corrupt=logger.warning)]
        with self._lock:
            self._cache[number] = windows
            while len(self._cache) > 1 and sum(map(_n_bytes, self._cache.values())) > self.cache_bytes:
                self._cache.popitem(last=False)
        return windows


def join_manifests(manifests: Sequence[Manifest]) -> Manifest:
    """Return the manifest of several shard sets taken together; shards in order, subjects merged.

    Raises ValueError unless all are of one modality.
    """
    first = manifests[0]
    if len(manifests) == 1:
        return first
    if any(other.modality != first.modality for other in manifests[1:]):
        raise ValueError(f"shard sets of several modalities: {sorted({m.modality.name for m in manifests})}")
    subjects: dict[str, SubjectEntry] = {}
    for manifest in manifests:
        for name, entry in manifest.subjects.items():
            subjects[name] = _joined(subjects[name], entry) if name in subjects else entry
    digests = "".join(manifest.digest for manifest in manifests)
    return replace(
        first,
        shards=tuple(shard for manifest in manifests for shard in manifest.shards),
        subjects=subjects,
        config_hash="+".join(dict.fromkeys(manifest.config_hash for manifest in manifests)),
        digest=hashlib.sha256(digests.encode()).hexdigest(),
    )


def _joined(a: SubjectEntry, b: SubjectEntry) -> SubjectEntry:
    recordings = tuple(sorted({*a.recording_ids, *b.recording_ids}))
    return replace(a, n_windows=a.n_windows + b.n_windows, recording_ids=recordings, moments=a.moments.merge(b.moments))


def _n_bytes(windows: list[Window]) -> int:
    return sum(w.data.nbytes + (0 if w.spectrogram is None else w.spectrogram.nbytes) for w in windows)


def _entry(shard: int, row: int, window: Window) -> Entry:
    return Entry(
        shard=shard,
        row=row,
        n_times=window.data.shape[1],
        key=window.key,
        subject_id=window.subject_id,
        site_id=window.site_id,
        recording_id=window.recording_id,
        label=window.label,
        votes=window.votes,
    )
