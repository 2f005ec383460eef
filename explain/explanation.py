"""One explanation of one window: how much each channel, step of time and band speaks for a class, and their sum.

Shapes: C channel, S step of time, B band.
"""

from dataclasses import dataclass, field

import numpy as np

STEP_S = 0.25
"""Length of a step of time."""


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Evidence for one class, in units of its centred logit (`explain.asking.ask.centred`)."""

    method: str
    target: int
    """Number of the class."""
    values: np.ndarray = field(repr=False)
    """float64, shape (n_chans, n_steps, n_bands): above 0 speaks for the class."""
    score: float
    """Of the window."""
    base: float
    """Of what the window is compared with."""
    bands: tuple[tuple[float, float], ...] = ()
    """Hz, one for each band; empty where bands are not told apart: there is one, which is all."""
    has_channels: bool = True
    """Whether channels are told apart; if not, each has the same share."""
    sums: bool = True
    """Whether the method promises that values add up to score less base."""

    @property
    def channels_steps(self) -> np.ndarray:
        """Evidence per channel and step, shape (n_chans, n_steps)."""
        return np.asarray(self.values.sum(axis=2))

    @property
    def per_step(self) -> np.ndarray:
        """Evidence per step, shape (n_steps,)."""
        return np.asarray(self.values.sum(axis=(0, 2)))

    @property
    def per_channel(self) -> np.ndarray:
        """Evidence per channel, shape (n_chans,)."""
        return np.asarray(self.values.sum(axis=(1, 2)))

    @property
    def per_band(self) -> np.ndarray:
        """Evidence per band, shape (n_bands,)."""
        return np.asarray(self.values.sum(axis=(0, 1)))

    @property
    def sum_error(self) -> float:
        """How far the values' sum is from score less base, as a share of it; nan where no sum is promised."""
        if not self.sums:
            return float("nan")
        change = self.score - self.base
        return float(abs(self.values.sum() - change) / max(abs(change), 1e-9))


def in_steps(x: np.ndarray, sfreq: float, step_s: float = STEP_S) -> np.ndarray:
    """Return sums of samples (..., n_times) per step, shape (..., n_steps); the last step may be shorter."""
    n_step = round(step_s * sfreq)
    missing = -x.shape[-1] % n_step
    padded = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, missing)])
    return np.asarray(padded.reshape(*x.shape[:-1], -1, n_step).sum(axis=-1))


def n_steps(n_times: int, sfreq: float, step_s: float = STEP_S) -> int:
    """Return how many steps a window of `n_times` samples has."""
    return -(-n_times // round(step_s * sfreq))
