"""Is a map about the model at all, and does it stay when nothing changed? Rank correlations between maps.

A map that survives random weights or random labels is an edge detector (Adebayo et al. 2018); one that changes with the
seed of training or with noise 30 dB below the signal is not worth looking at.
"""

from collections.abc import Sequence

import numpy as np

from explain.explanation import Explanation

NOISE_DB = 30.0


def ranks(values: np.ndarray) -> np.ndarray:
    """Return ranks from 0, equal values sharing their mean rank, shape (n,)."""
    values = values.ravel()
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray(((last - counts) + (last - 1))[inverse] / 2)


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Return the rank correlation of two maps of one shape; 0.0 where one of them is constant, which shows nothing."""
    if a.shape != b.shape:
        raise ValueError(f"maps have shapes {a.shape} and {b.shape}")
    x, y = ranks(a), ranks(b)
    x, y = x - x.mean(), y - y.mean()
    size = float(np.sqrt((x**2).sum() * (y**2).sum()))
    return float((x * y).sum() / size) if size > 0 else 0.0


def agreement(first: Sequence[Explanation], second: Sequence[Explanation], *, absolute: bool = False) -> float:
    """Return the mean correlation of the same windows' maps, or of its size; nan without windows."""
    found = [spearman(a.channels_steps, b.channels_steps) for a, b in zip(first, second, strict=True)]
    return float(np.mean(np.abs(found) if absolute else found)) if found else float("nan")


def with_noise(x: np.ndarray, rng: np.random.Generator, *, below_db: float = NOISE_DB) -> np.ndarray:
    """Return x with white noise that lies `below_db` below its power."""
    size = np.sqrt((x**2).mean()) * 10 ** (-below_db / 20)
    return (x + rng.normal(0, size, x.shape)).astype(x.dtype)
