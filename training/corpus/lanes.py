"""The order of a corpus too large to list: lanes that each walk through whole shards, one index at a time.

An epoch deals the shards, shuffled, to a fixed number of lanes; a lane shuffles the windows of a few neighbouring
shards at once. A step takes the same number of windows from every lane, and a process owns every n-th lane. So each
shard is read by one process, the windows of a step do not depend on the number of processes, and the exact place of a
run is (epoch, group of shards, row) of each lane. Lanes go on to their next epoch by themselves.
"""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from training.corpus.corpus import Corpus
from training.corpus.order import MicroBatch, group_by_length

BUFFER_SHARDS = 4
"""Shards whose windows a lane shuffles together."""
Keep = Callable[[pa.Table], np.ndarray]
"""Index of a shard -> which of its windows take part, bool, shape (n,)."""


class LaneOrder:
    """This process's part of the endless stream over a corpus; steps are taken one after another."""

    def __init__(
        self,
        corpus: Corpus,
        keep: Keep,
        *,
        crop_times: int,
        batch: int,
        budget_times: int,
        seed: int,
        rank: int,
        world_size: int,
        n_lanes: int = 8,
    ) -> None:
        """Raises ValueError where there are more processes than lanes, or more lanes than shards or windows of a step.

        crop_times: longer windows are cut to so many samples.
        """
        if not world_size <= n_lanes <= min(batch, len(corpus.shards)):
            raise ValueError(
                f"lanes={n_lanes} must be at least the {world_size} processes, and at most batch={batch} and the "
                f"{len(corpus.shards)} shards"
            )
        self.corpus, self.keep, self.crop_times = corpus, keep, crop_times
        self.batch, self.budget_times, self.seed, self.n_lanes = batch, budget_times, seed, n_lanes
        self.own = range(rank, n_lanes, world_size)
        self._place = np.zeros((n_lanes, 3), dtype=np.int64)
        self._dealt: tuple[int, np.ndarray] = (-1, np.empty(0, dtype=np.int64))
        self._rows: dict[int, tuple[tuple[int, int], np.ndarray, np.ndarray]] = {}

    def __len__(self) -> int:
        """Return how many windows an epoch has at most: whether all take part is seen when their index is read."""
        return len(self.corpus)

    @property
    def place(self) -> Tensor:
        """Epoch, group and row of each lane, float64, shape (n_lanes, 3), 0 in lanes of other processes."""
        own = np.isin(np.arange(self.n_lanes), self.own)[:, None]
        return torch.from_numpy(np.where(own, self._place, 0).astype(np.float64))

    def go_to(self, place: Tensor) -> None:
        """Go on from the sum of all processes' places, whatever their number was."""
        self._place = place.numpy().astype(np.int64).copy()
        self._rows = {}

    def next_step(self) -> list[MicroBatch]:
        """Return this process's micro-batches of the next step."""
        drawn = [self._draw(lane) for lane in self.own]
        windows, samples, n_times = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
        return group_by_length(windows, samples, n_times, most=self.batch, budget_times=self.budget_times)

    def _draw(self, lane: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        wanted = (lane + 1) * self.batch // self.n_lanes - lane * self.batch // self.n_lanes
        parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        begun = int(self._place[lane, 0])
        while wanted:
            epoch, group, row = (int(n) for n in self._place[lane])
            shards = self._shards(epoch, lane)[group * BUFFER_SHARDS : (group + 1) * BUFFER_SHARDS]
            if not len(shards):
                if epoch > begun + 50 and not any(len(numbers) for numbers, _, _ in parts):
                    raise ValueError(f"no windows of {self.corpus.names} are left to train on")
                self._place[lane] = (epoch + 1, 0, 0)
                continue
            numbers, n_times = self._group(lane, epoch, group, shards)
            taken = slice(row, row + wanted)
            parts.append((numbers[taken], epoch * len(self.corpus) + numbers[taken], n_times[taken]))
            wanted -= len(numbers[taken])
            self._place[lane] = (epoch, group, row + len(numbers[taken])) if wanted == 0 else (epoch, group + 1, 0)
        windows, samples, lengths = (np.concatenate(values) for values in zip(*parts, strict=True))
        return windows, samples, lengths

    def _shards(self, epoch: int, lane: int) -> np.ndarray:
        if self._dealt[0] != epoch:
            order = np.random.default_rng((self.seed, epoch)).permutation(len(self.corpus.shards))
            self._dealt = (epoch, order)
        return self._dealt[1][lane :: self.n_lanes]

    def _group(self, lane: int, epoch: int, group: int, shards: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return numbers and lengths of a group's windows that take part, shuffled."""
        known = self._rows.get(lane)
        if known is None or known[0] != (epoch, group):
            numbers, n_times = [], []
            for shard in shards:
                table = self.corpus.index(int(shard))
                kept = np.flatnonzero(self.keep(table))
                numbers.append(self.corpus.numbers(int(shard)).start + kept)
                n_times.append(np.minimum(table["n_times"].to_numpy()[kept], self.crop_times))
            order = np.random.default_rng((self.seed, epoch, lane, group)).permutation(sum(map(len, numbers)))
            known = ((epoch, group), np.concatenate(numbers)[order], np.concatenate(n_times)[order])
            self._rows[lane] = known
        return known[1], known[2]
