"""Whether a stated probability is the frequency it claims: the reliability curve of the top label."""

from dataclasses import dataclass

import numpy as np

from evaluation.metrics import N_BINS
from evaluation.tallies import Tallies

Z = 1.959963984540054
"""97.5% point of the normal distribution."""


@dataclass(frozen=True)
class ReliabilityBin:
    """Windows whose highest probability fell into (low, high]."""

    low: float
    high: float
    n_windows: int
    confidence: float
    """Mean highest probability; nan in an empty bin."""
    accuracy: float
    """Share of right predictions; nan in an empty bin."""
    accuracy_low: float
    """Wilson interval. It takes windows for independent, so it is too narrow where one patient gave many."""
    accuracy_high: float


def wilson(right: float, n: float) -> tuple[float, float]:
    """Return the 95% Wilson score interval of a share (Wilson 1927); nan without observations."""
    if n <= 0:
        return float("nan"), float("nan")
    share = right / n
    middle = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * np.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return float(middle - half), float(middle + half)


def reliability(tallies: Tallies) -> tuple[ReliabilityBin, ...]:
    """Return the reliability curve in `N_BINS` equal bins, in order of confidence."""
    bins = []
    for b, (n, confidence, right) in enumerate(tallies.bins.sum(axis=0)):
        mean, share = (confidence / n, right / n) if n > 0 else (float("nan"), float("nan"))
        low, high = wilson(right, n)
        bins.append(ReliabilityBin(b / N_BINS, (b + 1) / N_BINS, int(n), mean, share, low, high))
    return tuple(bins)
