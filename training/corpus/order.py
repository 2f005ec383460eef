"""Which windows a step trains on: one global seeded stream of samples, the same for any number of processes.

Sample number p of a run is the same window, crop and mask whatever the world size, the loader's threads or the number
of restarts. Nothing is carried from one step to the next, so resuming needs nothing but the number of the step.
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
    """The endless stream of samples over chosen windows, cut into steps, and those into micro-batches.

    An epoch has every window once. A step's windows are grouped by length; a micro-batch holds as many of one length as
    `budget_times` samples allow, at least one.
    """

    def __init__(
        self,
        chosen: Sequence[int] | np.ndarray,
        shard_of: Sequence[int] | np.ndarray,
        n_times_of: Sequence[int] | np.ndarray,
        *,
        batch: int,
        budget_times: int,
        seed: int,
    ) -> None:
        if not len(chosen):
            raise ValueError("no windows are left to train on")
        self.chosen, self.seed, self.batch, self.budget_times = np.asarray(chosen, np.int64), seed, batch, budget_times
        self._shard_of, self._n_times_of = np.asarray(shard_of), np.asarray(n_times_of)
        self._epochs: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        """Return how many windows an epoch has."""
        return len(self.chosen)

    def step(self, step: int, *, world_size: int = 1) -> list[MicroBatch]:
        """Return the micro-batches of a step, counted from 0, over all processes; process r takes those at r::n.

        The windows do not depend on the number of processes, and the micro-batches only where there would be fewer of
        them than processes.
        """
        samples = np.arange(step * self.batch, (step + 1) * self.batch)
        rows = np.array([self._row(sample) for sample in samples.tolist()])
        most = max(1, self.batch // world_size)
        lengths = self._n_times_of[rows]
        return group_by_length(self.chosen[rows], samples, lengths, most=most, budget_times=self.budget_times)

    def _row(self, sample: int) -> int:
        epoch, place = divmod(sample, len(self.chosen))
        order = self._epochs.get(epoch)
        if order is None:  # two threads may both make it: they make the same
            order = epoch_order(self._shard_of, seed=self.seed, epoch=epoch)
            self._epochs = {e: known for e, known in self._epochs.items() if e >= epoch - 1} | {epoch: order}
        return int(order[place])


def group_by_length(
    windows: np.ndarray, samples: np.ndarray, n_times: np.ndarray, *, most: int, budget_times: int
) -> list[MicroBatch]:
    """Return micro-batches of windows of one length, of at most `most` windows and `budget_times` samples each."""
    micro_batches = []
    for length in np.unique(n_times).tolist():
        rows = np.flatnonzero(n_times == length)
        size = max(1, min(budget_times // length, most))
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            micro_batches.append(
                MicroBatch(windows=tuple(windows[part].tolist()), samples=tuple(samples[part].tolist()), n_times=length)
            )
    return micro_batches


def order_crc(micro_batches: Sequence[MicroBatch]) -> int:
    """Return the sum, modulo 2^32, of the CRC-32 of each window's number and sample number.

    A sum, so that processes which share a step out add up to what one process finds.
    """
    pairs = [pair for micro in micro_batches for pair in zip(micro.windows, micro.samples, strict=True)]
    return sum(zlib.crc32(np.array(pair, dtype="<i8").tobytes()) for pair in pairs) % 2**32


def check_batch(*, batch: int, world_size: int) -> None:
    """Raise ValueError, saying what to change, where a process would have no window of a step."""
    if batch < world_size:
        raise ValueError(f"batch={batch} is smaller than the {world_size} processes: raise it, or start fewer")
