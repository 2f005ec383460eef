"""Taking what is linearly known of a concept out of embeddings, with the least change (LEACE, Belrose et al. 2023).

No linear classifier that is fitted on the erased training vectors does better than guessing the concept's shares. What
a linear probe still finds on new patients was not in the training data; what a non-linear one finds was never linear.
"""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Eraser:
    """x -> x - (x - mean) @ change."""

    mean: np.ndarray = field(repr=False)
    """Shape (n_dims,)."""
    change: np.ndarray = field(repr=False)
    """Shape (n_dims, n_dims); its rank is that of the concept, at most classes - 1."""

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Return the vectors without the concept, float64, shape (n, n_dims)."""
        return values - (values - self.mean) @ self.change


def fit_eraser(values: np.ndarray, concept: np.ndarray) -> Eraser:
    """Return the eraser of a concept, fitted on training vectors.

    `values` has shape (n, n_dims), `concept` (n,): any labels. Raises ValueError for fewer than two vectors.
    """
    if len(values) < 2:
        raise ValueError(f"erasing needs at least 2 vectors, got {len(values)}")
    x = np.asarray(values, dtype=np.float64)
    mean = x.mean(axis=0)
    centred = x - mean
    codes = np.unique(concept, return_inverse=True)[1]
    one_hot = np.eye(codes.max() + 1)[codes]
    cross = centred.T @ (one_hot - one_hot.mean(axis=0)) / len(x)
    size, vectors = np.linalg.eigh(centred.T @ centred / len(x))
    kept = size > size.max(initial=0.0) * 1e-10
    vectors, root = vectors[:, kept], np.sqrt(size[kept])
    whiten, colour = (vectors / root) @ vectors.T, (vectors * root) @ vectors.T
    u, s, _ = np.linalg.svd(whiten @ cross, full_matrices=False)
    u = u[:, s > s.max(initial=0.0) * 1e-8]
    # Row vectors: (x - mean) @ W P W^-1, the transpose of the paper's W^-1 P W (its equation 1).
    return Eraser(mean=mean, change=whiten @ (u @ u.T) @ colour)
