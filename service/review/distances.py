"""Distances between embeddings: root mean squares of differences, each dimension at unit variance."""

from collections.abc import Sequence

import numpy as np

_CHUNK = 4096


def scales(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Return one over the standard deviation of each dimension over all rows of `parts`, 0 where it does not vary."""
    n = sum(len(part) for part in parts)
    mean = sum(part.sum(axis=0, dtype=np.float64) for part in parts) / n
    variance = np.asarray(sum(((part.astype(np.float64) - mean) ** 2).sum(axis=0) for part in parts) / n)
    varies = variance > 1e-12 * (1 + mean**2)
    return np.divide(1.0, np.sqrt(variance), out=np.zeros_like(variance), where=varies)


def distances(vectors: np.ndarray, wanted: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return the distance of each row of `vectors`, shape (n, width), to `wanted`, shape (width,)."""
    parts = [(vectors[at : at + _CHUNK] - wanted) * scale for at in range(0, len(vectors), _CHUNK)]
    return np.concatenate([np.sqrt((part**2).mean(axis=1)) for part in parts])
