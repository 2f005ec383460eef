"""From shards to batches: whole-shard reads, one global seeded order, normalisation at load time.

The order is defined for the global stream, not per rank: sample number p of a run is the same window whatever the
world size or the number of threads. Resuming needs nothing but p.
"""

import logging
import queue
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from signals.manifest import read_manifest
from signals.normalise import Normaliser
from signals.records import decode_window
from signals.tfrecord import read_shard
from signals.windows import Window

logger = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What is known of a window without its samples."""

    shard: int
    """Number of its shard in the manifest."""
    row: int
    """Place in its shard."""
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
    entries: tuple[Entry, ...]


class Shards:
    """The windows of a shard set by number, decoded shard by shard and kept up to a memory budget.

    Raises ManifestError for what is no finished shard set, ValueError for one that is empty or mixes lengths.
    """

    def __init__(self, folder: Path, *, exclude_sites: Collection[str] = (), cache_bytes: int = 4 << 30) -> None:
        self.folder = Path(folder)
        self.manifest = read_manifest(self.folder)
        self.cache_bytes = cache_bytes
        self._cache: OrderedDict[int, list[Window]] = OrderedDict()
        self._lock = threading.Lock()
        sites = {shard.site_id for shard in self.manifest.shards}
        if unknown := set(exclude_sites) - sites:
            raise ValueError(f"sites {sorted(unknown)} are not in {folder}, which has {sorted(sites)}")
        entries, lengths = [], set()
        for number, shard in enumerate(self.manifest.shards):
            if shard.site_id in exclude_sites:
                continue
            for row, window in enumerate(self._shard(number)):
                entries.append(_entry(number, row, window))
                lengths.add(window.data.shape[1])
        if not entries:
            raise ValueError(f"{folder} holds no windows{' outside of the excluded sites' if exclude_sites else ''}")
        if len(lengths) > 1:
            raise ValueError(f"{folder} mixes windows of {sorted(lengths)} samples, which cannot share a batch")
        self.entries = tuple(entries)
        self.n_times = lengths.pop()

    def window(self, index: int) -> Window:
        """Return a window by its number in `entries`; samples in µV."""
        entry = self.entries[index]
        return self._shard(entry.shard)[entry.row]

    def batch(self, indices: Iterable[int], normaliser: Normaliser) -> WindowBatch:
        """Return windows by number, normalised."""
        numbers = [int(i) for i in indices]
        windows = [self.window(i) for i in numbers]
        x = [normaliser.apply(w.data, w.ch_state, w.subject_id, w.site_id) for w in windows]
        return WindowBatch(
            x_BCT=np.nan_to_num(np.stack(x), copy=False),
            ch_state_BC=np.stack([w.ch_state for w in windows]).astype(np.int64),
            entries=tuple(self.entries[i] for i in numbers),
        )

    def _shard(self, number: int) -> list[Window]:
        with self._lock:
            if number in self._cache:
                self._cache.move_to_end(number)
                return self._cache[number]
        windows = [decode_window(record) for record in read_shard(self.folder / self.manifest.shards[number].path)]
        with self._lock:
            self._cache[number] = windows
            while len(self._cache) > 1 and sum(map(_n_bytes, self._cache.values())) > self.cache_bytes:
                self._cache.popitem(last=False)
        return windows


def _n_bytes(windows: list[Window]) -> int:
    return sum(window.data.nbytes for window in windows)


def _entry(shard: int, row: int, window: Window) -> Entry:
    return Entry(
        shard=shard,
        row=row,
        key=window.key,
        subject_id=window.subject_id,
        site_id=window.site_id,
        recording_id=window.recording_id,
        label=window.label,
        votes=window.votes,
    )


def epoch_order(shard_of: np.ndarray, *, seed: int, epoch: int, block_shards: int = 16) -> np.ndarray:
    """Return one epoch's order of windows, a permutation, int64, shape (n_windows,).

    Shards are shuffled, then windows within blocks of `block_shards` shards, so that a pass touches few shards at once.
    """
    rng = np.random.default_rng((seed, epoch))
    shuffled = rng.permutation(np.unique(shard_of))
    order = []
    for start in range(0, len(shuffled), block_shards):
        block = np.flatnonzero(np.isin(shard_of, shuffled[start : start + block_shards]))
        order.append(rng.permutation(block))
    return np.concatenate(order)


class Order:
    """The endless global stream over chosen windows: sample number -> window number."""

    def __init__(self, entries: Sequence[Entry], chosen: Sequence[int], *, seed: int) -> None:
        if not len(chosen):
            raise ValueError("no windows are left to train on")
        self.chosen, self.seed = np.asarray(chosen, dtype=np.int64), seed
        self._shard_of = np.array([entries[i].shard for i in self.chosen])
        self._epochs: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.chosen)

    def window_of(self, sample: int) -> int:
        """Return which window is sample number `sample` of the run."""
        epoch, place = divmod(sample, len(self.chosen))
        if epoch not in self._epochs:
            self._epochs = {e: order for e, order in self._epochs.items() if e >= epoch - 1}
            self._epochs[epoch] = epoch_order(self._shard_of, seed=self.seed, epoch=epoch)
        return int(self.chosen[self._epochs[epoch][place]])


def micro_batches_of(step: int, *, batch: int, micro_batch: int, rank: int, world_size: int) -> list[range]:
    """Return the sample numbers of a rank's micro-batches of a step (from 0).

    The micro-batches of a step do not depend on the world size; ranks share them out.
    """
    first = step * batch
    starts = range(first + rank * micro_batch, first + batch, world_size * micro_batch)
    return [range(start, start + micro_batch) for start in starts]


def check_batches(*, batch: int, micro_batch: int, world_size: int) -> None:
    """Raise ValueError, saying what to change, unless micro-batches share out evenly between the ranks."""
    if batch % (micro_batch * world_size):
        raise ValueError(
            f"batch={batch} is no multiple of micro_batch={micro_batch} x {world_size} processes: change one of them"
        )


def prefetch(make: Callable[[int], T], numbers: Iterable[int], *, depth: int = 2) -> Iterator[T]:
    """Yield make(n) for each number in order, made in a thread up to `depth` ahead; errors are raised in order."""
    results: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(maxsize=depth)
    stopped = threading.Event()

    def put(item: tuple[T | None, BaseException | None]) -> None:
        while not stopped.is_set():
            try:
                return results.put(item, timeout=0.1)
            except queue.Full:
                continue

    def work() -> None:
        for number in numbers:
            if stopped.is_set():
                return
            try:
                put((make(number), None))
            except Exception as error:  # handed over, and raised where the batch is asked for
                return put((None, error))
        put((None, StopIteration()))

    thread = threading.Thread(target=work, daemon=True, name="prefetch")
    thread.start()
    try:
        while True:
            value, error = results.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield value  # type: ignore[misc]
    finally:
        stopped.set()
        # A thread that is still inside of torch when the interpreter ends takes the process down with SIGABRT.
        thread.join()
