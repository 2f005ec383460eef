"""Windows of many generated hearts as arrays, each of a person of its own: what a network is tried on in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from synthetic.heart.leads import NoiseLevels, generate
from synthetic.heart.person import draw_heart

SFREQ = 100.0
SCALE_MV = 0.25
"""What samples are divided by, as `signals.modality.FIXED_SCALE` does for networks."""


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Windows and what they show."""

    x: np.ndarray = field(repr=False)
    """float32, shape (n, 12, n_times), in units of SCALE_MV; the mean of each lead is taken off."""
    condition: np.ndarray
    """Number of the condition of each, int64, shape (n,)."""
    conditions: tuple[str, ...]
    st_mv: np.ndarray = field(repr=False)
    """Dipole behind the QRS complex, mV, shape (n, 3): how large an infarction is."""

    @property
    def people(self) -> np.ndarray:
        """Name of each window's person."""
        return np.array([f"p{number}" for number in range(len(self.x))])


def draw_stack(
    counts: Sequence[tuple[str, int]], *, seed: int, duration_s: float, noise: NoiseLevels | None = None
) -> Stack:
    """Return so many windows of each condition, in that order; the same seed gives the same people.

    noise: as `synthetic.heart.leads.NoiseLevels`; its own without.
    """
    rng, levels = np.random.default_rng(seed), noise or NoiseLevels()
    found, numbers, st_mv = [], [], []
    for number, (condition, n) in enumerate(counts):
        for _ in range(n):
            heart = draw_heart(rng, condition)
            record = generate(rng, condition, duration_s=duration_s, sfreq=SFREQ, noise=levels, heart=heart)
            found.append(record.x_mv)
            numbers.append(number)
            st_mv.append(heart.st_mv)
    x = np.stack(found).astype(np.float32) / SCALE_MV
    return Stack(
        x=x - x.mean(axis=-1, keepdims=True), condition=np.array(numbers),
        conditions=tuple(condition for condition, _ in counts), st_mv=np.array(st_mv),
    )  # fmt: skip
