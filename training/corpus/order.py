"""Which windows a step trains on: one global seeded stream of micro-batches, the same for any number of processes.

Sample number p of a run is the same window, crop and mask whatever the world size, the loader's threads or the number
of restarts. Nothing is carried from one micro-batch to the next, so resuming needs nothing but the number of the step.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class MicroBatch:
    """Windows of one length that share a forward pass."""

    windows: tuple[int, ...]
    """Numbers of the windows."""
    samples: tuple[int, ...]
    """Sample numbers of the run, one a window: what crops and masks are drawn from."""
    n_times: int
    """Length of each, samples."""


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
    """The endless stream of micro-batches over chosen windows.

    Windows are bucketed by length; a micro-batch holds as many of one length as `budget_times` samples allow, at least
    one. An epoch has every window once; a bucket's last micro-batch may be smaller.
    """

    def __init__(
        self,
        chosen: Sequence[int] | np.ndarray,
        shard_of: Sequence[int] | np.ndarray,
        n_times_of: Sequence[int] | np.ndarray,
        *,
        budget_times: int,
        seed: int,
    ) -> None:
        if not len(chosen):
            raise ValueError("no windows are left to train on")
        self.chosen, self.seed = np.asarray(chosen, dtype=np.int64), seed
        self._shard_of, self._n_times_of = np.asarray(shard_of), np.asarray(n_times_of)
        self._size_of = {int(n): max(1, budget_times // int(n)) for n in np.unique(self._n_times_of)}
        self.n_micro = sum(
            -(-int(np.count_nonzero(self._n_times_of == n)) // size) for n, size in self._size_of.items()
        )
        self._epochs: dict[int, tuple[np.ndarray, list[np.ndarray]]] = {}

    def __len__(self) -> int:
        """Return how many windows an epoch has."""
        return len(self.chosen)

    def micro_batch(self, number: int) -> MicroBatch:
        """Return micro-batch `number` of the run, counted from 0 over all processes."""
        epoch, place = divmod(number, self.n_micro)
        known = self._epochs.get(epoch)
        if known is None:  # two threads may both make it: they make the same
            known = self._epoch(epoch)
            self._epochs = {e: other for e, other in self._epochs.items() if e >= epoch - 1} | {epoch: known}
        order, groups = known
        rows = order[groups[place]]
        return MicroBatch(
            windows=tuple(self.chosen[rows].tolist()),
            samples=tuple((epoch * len(self.chosen) + groups[place]).tolist()),
            n_times=int(self._n_times_of[rows[0]]),
        )

    def step(self, step: int, *, n_micro: int) -> list[MicroBatch]:
        """Return the micro-batches of a step, counted from 0, over all processes."""
        return [self.micro_batch(step * n_micro + number) for number in range(n_micro)]

    def _epoch(self, epoch: int) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return the epoch's order, and the places in it that each micro-batch takes, ordered by their first."""
        order = epoch_order(self._shard_of, seed=self.seed, epoch=epoch)
        lengths = self._n_times_of[order]
        groups = []
        for n_times, size in self._size_of.items():
            places = np.flatnonzero(lengths == n_times)
            groups += [places[start : start + size] for start in range(0, len(places), size)]
        return order, sorted(groups, key=lambda group: int(group[0]))


def order_crc(micro_batches: Sequence[MicroBatch]) -> int:
    """Return the CRC-32 of the numbers of windows of micro-batches, in order."""
    numbers = [number for micro in micro_batches for number in (*micro.windows, *micro.samples)]
    return zlib.crc32(np.array(numbers, dtype="<i8").tobytes())


def check_batches(*, batch: int, micro_batch: int, world_size: int) -> None:
    """Raise ValueError, saying what to change, unless micro-batches share out evenly between the ranks."""
    if batch % (micro_batch * world_size):
        raise ValueError(
            f"batch={batch} is no multiple of micro_batch={micro_batch} x {world_size} processes: change one of them"
        )
