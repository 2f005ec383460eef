"""What is in a stretch of a window in the terms of a report, for a network to predict; computed on the CPU.

Shapes: B batch, C channel, T sample, F feature.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from model.pretraining.token_masks import BlockPlan
from signals.modality import EEG_1020, Modality
from signals.patterns.features import SFREQ, stretch_features, stretch_names
from signals.window import ABSENT

SIDE_S = 10.0
"""Shorter sides of a stretch are not described."""


@dataclass(frozen=True, kw_only=True)
class Describing:
    """Describes stretches of a modality's windows, on the CPU."""

    rows: tuple[int, ...]
    """Places of the 10-20 electrodes in a window, in their order; none of a modality that lacks one: no description."""
    sfreq: float
    token_times: int
    n_tokens: int
    """Length of a stretch."""

    @classmethod
    def of(cls, modality: Modality, plan: BlockPlan) -> Self:
        """Return what describes a modality's windows."""
        names = list(modality.ch_names)
        is_known = set(EEG_1020.ch_names) <= set(names) and not modality.sfreq % SFREQ
        rows = tuple(names.index(name) for name in EEG_1020.ch_names) if is_known else ()
        return cls(rows=rows, sfreq=modality.sfreq, token_times=plan.token_times, n_tokens=plan.described_tokens)

    def stretches(self, x_BCT: Tensor, ch_state_BC: Tensor, start_B: Tensor) -> Tensor:
        """Return descriptions, (B, F), nan where there is no stretch or an electrode is absent.

        x_BCT: in µV; start_B: first token of each stretch, -1 without one.
        """
        return self._described(x_BCT, ch_state_BC, start_B, lambda start, n_times: [self._stretch(start, n_times)])

    def rests(self, x_BCT: Tensor, ch_state_BC: Tensor, start_B: Tensor) -> Tensor:
        """Return descriptions of what is not in the stretch, as `stretches` does: the mean of its two sides.

        A side of less than `SIDE_S` says nothing, unless it is the longer one.
        """
        return self._described(x_BCT, ch_state_BC, start_B, self._sides)

    def _described(
        self, x_BCT: Tensor, ch_state_BC: Tensor, start_B: Tensor, parts: Callable[[int, int], list[slice]]
    ) -> Tensor:
        values_BF = np.full((len(x_BCT), len(stretch_names())), np.nan, np.float32)
        rows = list(self.rows)
        known_B = (start_B >= 0).cpu().numpy() & bool(rows) & (ch_state_BC[:, rows] != ABSENT).all(1).cpu().numpy()
        starts = start_B.tolist()
        for place in np.flatnonzero(known_B):
            x = x_BCT[place, rows].cpu().numpy()
            each = [stretch_features(x[:, part], self.sfreq) for part in parts(starts[place], x.shape[1])]
            values_BF[place] = np.mean([list(one.values()) for one in each], axis=0)
        return torch.from_numpy(values_BF).to(x_BCT.device)

    def _stretch(self, start: int, n_times: int) -> slice:
        first = start * self.token_times
        return slice(first, min(n_times, first + self.n_tokens * self.token_times))

    def _sides(self, start: int, n_times: int) -> list[slice]:
        stretch = self._stretch(start, n_times)
        sides = sorted([slice(0, stretch.start), slice(stretch.stop, n_times)], key=lambda side: side.start - side.stop)
        return [sides[0], *(side for side in sides[1:] if side.stop - side.start >= SIDE_S * self.sfreq)]
