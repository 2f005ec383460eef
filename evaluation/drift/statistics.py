"""How far two samples lie apart: the population stability index, and a test whether they may be of one distribution.

The index is the sum over bins of (q - p) ln(q / p), p being the reference's share of a bin and q the other's (Siddiqi
2006); by custom 0.1 is small and 0.25 large. Numbers are binned at the reference's quantiles and tested by
Kolmogorov-Smirnov (its limit, for the exact sum fails on some ties); words are bins of their own, tested by chi-square.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

N_BINS = 5
"""Of a number: few, since a week at a site has some twenty recordings."""
_PRIOR = 0.5
"""Added to every bin's count, so that an empty one has a share (Jeffreys)."""


@dataclass(frozen=True)
class Distance:
    """How far a sample lies from the reference."""

    psi: float
    p_value: float
    """Of the null hypothesis that both are of one distribution."""


def of_numbers(reference: Sequence[float], current: Sequence[float]) -> Distance:
    """Return the distance of two samples of numbers; raises ValueError where one is empty."""
    x, y = np.asarray(reference, dtype=np.float64), np.asarray(current, dtype=np.float64)
    if not x.size or not y.size:
        raise ValueError(f"samples of {x.size} and {y.size} numbers cannot be compared")
    edges = np.unique(np.quantile(x, np.linspace(0, 1, N_BINS + 1)[1:-1]))
    # A value that fills a bin of the reference is a bin of its own: what lies below it must not fall into it.
    filled = edges[[np.count_nonzero(x == edge) * N_BINS >= x.size for edge in edges]]
    edges = np.unique(np.concatenate([edges, np.nextafter(filled, -np.inf)]))
    counts = [np.bincount(np.searchsorted(edges, each, side="left"), minlength=len(edges) + 1) for each in (x, y)]
    if x.min() == x.max() == y.min() == y.max():
        return Distance(0.0, 1.0)
    if x.size * y.size < x.size + y.size:  # a sample of one value decides nothing, and the limit is undefined
        return Distance(psi(*counts), 1.0)
    return Distance(psi(*counts), float(stats.ks_2samp(x, y, method="asymp").pvalue))


def of_words(reference: Sequence[str], current: Sequence[str]) -> Distance:
    """Return the distance of two samples of words; raises ValueError where one is empty."""
    if not reference or not current:
        raise ValueError(f"samples of {len(reference)} and {len(current)} words cannot be compared")
    p, q = Counter(reference), Counter(current)
    names = sorted(p.keys() | q.keys())
    counts = np.array([[each[name] for name in names] for each in (p, q)])
    if len(names) == 1:
        return Distance(0.0, 1.0)
    return Distance(psi(*counts), float(stats.chi2_contingency(counts, correction=False).pvalue))


def psi(reference: np.ndarray, current: np.ndarray) -> float:
    """Return the population stability index of counts per bin, both of shape (n_bins,)."""
    p, q = (np.asarray(counts, dtype=np.float64) + _PRIOR for counts in (reference, current))
    p, q = p / p.sum(), q / q.sum()
    return float(((q - p) * np.log(q / p)).sum())
