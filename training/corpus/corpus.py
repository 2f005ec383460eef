"""Shard sets as one corpus: opened by manifests and indexes, without touching a sample; windows are read by place.

Windows have numbers, shard by shard in the manifests' order. A number is found in the index of its shard, which says
where the record starts, so a window costs the decoding of its own record and of nothing else.
"""

import hashlib
import logging
import os
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from io import BytesIO
from itertools import accumulate
from pathlib import Path

import numpy as np
import pyarrow as pa

from signals.files import atomic_file
from signals.shards.index import IndexRow, read_index, rows_of, scan_index, write_index
from signals.shards.manifest import (
    COMPLETED,
    MANIFEST,
    Manifest,
    ManifestError,
    Shard,
    SubjectEntry,
    parse_manifest,
    read_manifest,
)
from signals.shards.normalise import Normaliser
from signals.shards.records import decode_window
from signals.shards.tfrecord import CorruptShardError, RecordPlace, read_records
from signals.window import Window
from signals.windows.surroundings import SPECTROGRAM_SHAPE
from training.corpus import storage
from training.corpus.storage import URI

logger = logging.getLogger(__name__)

_TABLES_KEPT = 64


class TooManyCorruptError(ValueError):
    """More windows than allowed cannot be read."""


@dataclass(frozen=True, kw_only=True)
class WindowBatch:
    """Normalised windows and who they are."""

    x_BCT: np.ndarray = field(repr=False)
    """float32, normalised."""
    ch_state_BC: np.ndarray = field(repr=False)
    """int64: ABSENT, INTERPOLATED or MEASURED."""
    spectrogram_BRFS: np.ndarray | None = field(default=None, repr=False)
    """log10 µV²/Hz of the ten minutes around each window, float32, as `Window.spectrogram`; a window without one among
    windows with one is NaN. None where no window of the corpus has one."""
    entries: tuple[IndexRow, ...]


class Corpus:
    """The windows of one or more shard sets by number; windows that were read are kept up to a memory budget."""

    def __init__(
        self, uris: Sequence[URI], manifests: Sequence[Manifest], *, cache_bytes: int, max_corrupt: float
    ) -> None:
        """Take sets that are open already; see `open`. `has_spectrograms`: whether a profile says that windows do."""
        self.uris, self.cache_bytes, self.max_corrupt = [str(uri) for uri in uris], cache_bytes, max_corrupt
        self.manifest = join_manifests(manifests)
        self.has_spectrograms = any(manifest.profile.get("spectrogram") for manifest in manifests)
        self.n_decoded = 0
        self._corrupt: set[int] = set()
        self._uri_of = [uri for uri, m in zip(self.uris, manifests, strict=True) for _ in m.shards]
        self._starts = [0, *accumulate(shard.n_windows for shard in self.manifest.shards)]
        self._tables: OrderedDict[int, pa.Table] = OrderedDict()
        self._cache: OrderedDict[int, Window] = OrderedDict()
        self._cached_bytes = 0
        self._lock = threading.Lock()

    @classmethod
    def open(
        cls,
        uris: URI | Sequence[URI],
        *,
        exclude_sites: Collection[str] = (),
        cache_bytes: int = 4 << 30,
        max_corrupt: float = 0.001,
    ) -> "Corpus":
        """Open shard sets, local folders or URIs that fsspec knows, by their manifests alone.

        `max_corrupt` is the share of the windows that may turn out unreadable before reading is given up. Raises
        ManifestError for what is no finished shard set; ValueError for one that is empty, for sets that do not belong
        together and for unknown sites.
        """
        folders = [uris] if isinstance(uris, (str, Path)) else list(uris)
        manifests = [_manifest(folder) for folder in folders]
        sites = {shard.site_id for manifest in manifests for shard in manifest.shards}
        names = ", ".join(map(str, folders))
        if unknown := set(exclude_sites) - sites:
            raise ValueError(f"sites {sorted(unknown)} are not in {names}, which has {sorted(sites)}")
        kept = [
            replace(
                m,
                shards=tuple(s for s in m.shards if s.site_id not in exclude_sites and s.n_windows),
                subjects={name: e for name, e in m.subjects.items() if e.site_id not in exclude_sites},
            )
            for m in manifests
        ]
        if not any(manifest.shards for manifest in kept):
            raise ValueError(f"{names} holds no windows{' outside of the excluded sites' if exclude_sites else ''}")
        return cls(folders, kept, cache_bytes=cache_bytes, max_corrupt=max_corrupt)

    def __len__(self) -> int:
        """Return how many windows there are."""
        return self._starts[-1]

    @property
    def n_corrupt(self) -> int:
        """How many windows turned out unreadable so far."""
        return len(self._corrupt)

    @property
    def names(self) -> str:
        """The shard sets, for messages."""
        return ", ".join(self.uris)

    @property
    def shards(self) -> tuple[Shard, ...]:
        """The shard files, in the order of the windows' numbers."""
        return self.manifest.shards

    def place(self, number: int) -> tuple[int, int]:
        """Return (shard, row) of a window; raises IndexError for a number that is none."""
        if not 0 <= number < len(self):
            raise IndexError(f"window {number} of {len(self)}")
        shard = bisect_right(self._starts, number) - 1
        return shard, number - self._starts[shard]

    def numbers(self, shard: int) -> range:
        """Return the numbers of a shard's windows."""
        return range(self._starts[shard], self._starts[shard + 1])

    def index(self, shard: int) -> pa.Table:
        """Return the index of a shard (`signals.shards.index.SCHEMA`); the last few stay in memory.

        A shard of a set that was written without indexes is read once, and its index kept in the user's cache folder.
        Raises ValueError where the index is not the one that the manifest names.
        """
        with self._lock:
            if shard in self._tables:
                self._tables.move_to_end(shard)
                return self._tables[shard]
        table = read_index(BytesIO(self._index_bytes(shard)))
        if len(table) != self.shards[shard].n_windows:
            raise ValueError(
                f"{self._path(shard)}: the index has {len(table)} windows, the manifest says "
                f"{self.shards[shard].n_windows}: copy the shards again"
            )
        with self._lock:
            self._tables[shard] = table
            while len(self._tables) > _TABLES_KEPT:
                self._tables.popitem(last=False)
        return table

    def entry(self, number: int) -> IndexRow:
        """Return what the index says of a window."""
        shard, row = self.place(int(number))
        return rows_of(self.index(shard).slice(row, 1))[0]

    @cached_property
    def entries(self) -> tuple[IndexRow, ...]:
        """What the indexes say of all windows, for corpora that one process can list."""
        return tuple(row for shard in range(len(self.shards)) for row in rows_of(self.index(shard)))

    @cached_property
    def n_times(self) -> int:
        """Samples of every window; raises ValueError where they differ."""
        lengths = {entry.n_times for entry in self.entries}
        if len(lengths) > 1:
            raise ValueError(f"{self.names} mixes windows of {sorted(lengths)} samples, which cannot share a batch")
        return next(iter(lengths))

    def window(self, number: int) -> Window:
        """Return a window by its number; samples in µV (ECG: mV). Raises CorruptShardError where it cannot be read."""
        return self.windows([number])[0]

    def windows(self, numbers: Iterable[int]) -> list[Window]:
        """Return windows by number, each decoded once, those of a shard in one pass over it."""
        wanted = [int(number) for number in numbers]
        with self._lock:
            found = {number: self._cache[number] for number in wanted if number in self._cache}
        missing = sorted(set(wanted) - set(found))
        by_shard: dict[int, list[int]] = {}
        for number in missing:
            by_shard.setdefault(self.place(number)[0], []).append(number)
        for shard, of_shard in by_shard.items():
            for number, window in zip(of_shard, self._read(shard, of_shard), strict=True):
                found[number] = window
                self._keep(number, window)
        return [found[number] for number in wanted]

    def readable(self, numbers: Iterable[int]) -> list[tuple[int, Window]]:
        """Return (place among `numbers`, window) of those that can be read; the others are reported and left out.

        Raises TooManyCorruptError where more than `max_corrupt` of the whole corpus turned out unreadable.
        """
        made = []
        for place, number in enumerate(numbers):
            try:
                made.append((place, self.window(number)))
            except CorruptShardError as error:
                self._corrupt.add(int(number))
                logger.warning("%s; the window is left out", error)
                if self.n_corrupt > self.max_corrupt * len(self):
                    raise TooManyCorruptError(
                        f"{self.names}: {self.n_corrupt} of {len(self)} windows cannot be read, more than a share of "
                        f"{self.max_corrupt:g}: copy the shards again"
                    ) from error
        return made

    def normalised(self, number: int, normaliser: Normaliser) -> tuple[np.ndarray, np.ndarray]:
        """Return a window's normalised samples, float32, (n_chans, n_times), 0 where undefined; and its ch_state."""
        window = self.window(number)
        return normalised(window, normaliser), window.ch_state

    def each(
        self, numbers: Iterable[int], normaliser: Normaliser, on_window: Callable[[], None] = lambda: None
    ) -> Iterator[WindowBatch]:
        """Yield the windows that can be read, one per batch; `on_window` is called before each of `numbers`.

        Raises TooManyCorruptError as `readable`.
        """
        for number in numbers:
            on_window()
            if self.readable([number]):
                yield self.batch([number], normaliser)

    def batch(self, numbers: Iterable[int], normaliser: Normaliser) -> WindowBatch:
        """Return windows of one length by number, normalised."""
        wanted = [int(number) for number in numbers]
        windows = self.windows(wanted)
        return WindowBatch(
            x_BCT=np.stack([normalised(window, normaliser) for window in windows]),
            ch_state_BC=np.stack([window.ch_state for window in windows]).astype(np.int64),
            spectrogram_BRFS=np.stack([_spectrogram(w) for w in windows]) if self.has_spectrograms else None,
            entries=tuple(self.entries[number] for number in wanted),
        )

    def _path(self, shard: int) -> str:
        return storage.join(self._uri_of[shard], self.shards[shard].path)

    def _index_bytes(self, shard: int) -> bytes:
        named = self.shards[shard].index
        if named is None:
            return self._built_index(shard)
        uri = storage.join(self._uri_of[shard], named.path)
        raw = storage.read_bytes(uri)
        if hashlib.sha256(raw).hexdigest() != named.sha256:
            raise ValueError(f"{uri} is not the index that the manifest names: copy the shards again")
        return raw

    def _built_index(self, shard: int) -> bytes:
        path = index_folder() / f"{self.shards[shard].sha256}.index.parquet"
        if not path.is_file():
            logger.info("%s has no index; it is built once, in %s", self._path(shard), path.parent)
            with storage.open_read(self._path(shard)) as file, atomic_file(path) as out:
                write_index(out, scan_index(file, self._path(shard)))
        return path.read_bytes()

    def _read(self, shard: int, numbers: Sequence[int]) -> Iterator[Window]:
        table, name = self.index(shard), self._path(shard)
        rows = np.asarray(numbers) - self._starts[shard]
        offsets = (table[column].to_numpy()[rows].tolist() for column in ("block_offset", "inside"))
        places = map(RecordPlace, *offsets)
        with storage.open_read(name) as file:
            for record in read_records(file, places, name):
                self.n_decoded += 1
                yield decode_window(record)

    def _keep(self, number: int, window: Window) -> None:
        with self._lock:
            if number in self._cache:
                return
            self._cache[number] = window
            self._cached_bytes += _n_bytes(window)
            while len(self._cache) > 1 and self._cached_bytes > self.cache_bytes:
                _, oldest = self._cache.popitem(last=False)
                self._cached_bytes -= _n_bytes(oldest)


def index_folder() -> Path:
    """Return where indexes of sets that were written without are kept: $XDG_CACHE_HOME/cerebeam/indexes."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cerebeam" / "indexes"


def normalised(window: Window, normaliser: Normaliser) -> np.ndarray:
    """Return a window's normalised samples, float32, (n_chans, n_times), 0 where undefined."""
    x = normaliser.apply(window.data, window.ch_state, window.subject_id, window.site_id, window.sensor_types)
    return np.nan_to_num(x, copy=False)


def _spectrogram(window: Window) -> np.ndarray:
    if window.spectrogram is None:
        return np.full(SPECTROGRAM_SHAPE, np.nan, dtype=np.float32)
    return window.spectrogram


def _n_bytes(window: Window) -> int:
    return window.data.nbytes + (0 if window.spectrogram is None else window.spectrogram.nbytes)


def _manifest(folder: URI) -> Manifest:
    if not storage.is_remote(folder):
        return read_manifest(storage.local_path(folder))
    try:
        raw = storage.read_bytes(storage.join(folder, MANIFEST))
    except FileNotFoundError as error:
        raise ManifestError(
            f"{folder} is no shard set: it has no {MANIFEST}; make one with pipelines.preprocess"
        ) from error
    if not storage.exists(storage.join(folder, COMPLETED)):
        raise ManifestError(f"{folder} is unfinished: it has no {COMPLETED}; run pipelines.preprocess again")
    return parse_manifest(raw, str(folder))


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
