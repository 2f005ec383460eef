"""Electrodes and clock of a segment: where and when everything in it happens."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Grid:
    """Where potentials are looked at, and at which moments."""

    positions: np.ndarray
    """Directions of the electrodes, shape (n_chans, 3)."""
    n_times: int
    sfreq: float

    @property
    def t(self) -> np.ndarray:
        """Seconds from the first sample, shape (n_times,)."""
        return np.arange(self.n_times) / self.sfreq

    @property
    def length_s(self) -> float:
        """Length in seconds."""
        return self.n_times / self.sfreq
