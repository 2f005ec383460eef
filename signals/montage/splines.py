"""Spherical splines between electrodes, and how far they can be trusted: the error that geometry predicts.

The error is that of a linear prediction of a random field (kriging; Cressie, Statistics for Spatial Data, 1993,
chapter 3) whose covariance falls with the angle between two electrodes. Its two numbers were chosen once, on real
recordings (docs/signals.md has the figures).
"""

from functools import lru_cache

import numpy as np
from numpy.polynomial.legendre import legval

from signals.electrodes import TEN_TWENTY, electrode_positions

MIN_FOR_SPLINES = 8
"""Fewest measured electrodes to interpolate others from; below it the missing ones stay absent."""
LARGEST_ERROR = 0.9
"""Largest predicted error of an interpolated electrode, and of the constant between two parts of a montage, over the
RMS of an electrode. Above it, more than half of what was interpolated on real recordings was worse than a flat
channel."""
_EXPONENT = 1.75
"""Power of scalp potentials by degree l of the spherical harmonics: (2l + 1) / (l (l + 1))^_EXPONENT."""
_NUGGET = 0.03
"""Variance of an electrode's own noise over that of the field."""
_N_TERMS = 80


def spline_matrix(
    positions: np.ndarray, targets: np.ndarray, *, stiffness: int = 4, n_terms: int = 50, regularisation: float = 1e-5
) -> np.ndarray:
    """Return the spherical spline interpolation from `positions` (n, 3) to `targets` (k, 3), shape (k, n).

    Perrin et al. 1989 (Electroencephalogr Clin Neurophysiol 72:184), equations 1-3, with the regularisation that MNE
    adds to the diagonal. Positions are scaled to the unit sphere.
    """
    n_sources = len(positions)
    system = np.ones((n_sources + 1, n_sources + 1))
    system[:-1, :-1] = spline_kernel(positions, positions, stiffness=stiffness, n_terms=n_terms)
    system[:-1, :-1] += regularisation * np.eye(n_sources)
    system[-1, -1] = 0.0
    kernel = spline_kernel(targets, positions, stiffness=stiffness, n_terms=n_terms)
    out = np.hstack([kernel, np.ones((len(targets), 1))])
    return np.asarray(out @ np.linalg.pinv(system)[:, :-1])


def spline_kernel(a: np.ndarray, b: np.ndarray, *, stiffness: int = 4, n_terms: int = 50) -> np.ndarray:
    """Return how much each place of `a` (k, 3) follows each of `b` (n, 3), shape (k, n): Perrin's equation 3."""
    n = np.arange(1, n_terms + 1)
    coefficients = np.concatenate([[0.0], (2 * n + 1) / (n**stiffness * (n + 1.0) ** stiffness * 4 * np.pi)])
    return np.asarray(legval(_cosines(a, b), coefficients))


def interpolation_error(positions: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the RMS error that geometry predicts for potentials `weights @ potentials`, shape (k,).

    `positions` (n, 3) and `targets` (k, 3) are directions, `weights` (k, n) sum to 1 in each row. The unit is the RMS
    of an electrode of the 10-20 system against its average, so 1 is what a flat channel would miss.
    """
    between = field_covariance(targets, positions)
    within = field_covariance(positions, positions) + _NUGGET * np.eye(len(positions))
    variance = 1.0 + _NUGGET - 2.0 * (weights * between).sum(axis=1) + ((weights @ within) * weights).sum(axis=1)
    return np.asarray(np.sqrt(np.maximum(variance, 0.0)) / _typical_size())


def constants_matrix(positions: np.ndarray, parts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how the parts of a montage are put together, and the RMS error that geometry predicts for each part.

    `positions` (n, 3); `parts` (n,) numbers the part of each electrode from 0. Potentials u are known up to one
    constant in each part. The first result C, shape (n_parts, n), gives the constants C @ u, with 0 for part 0, that
    make the field as smooth as its covariance allows: the generalised least-squares estimate. The second, shape
    (n_parts,), is the error that the constants bring to the part's electrodes against the average of all n, in the unit
    of `interpolation_error`.
    """
    n, n_parts = len(positions), int(parts.max()) + 1
    precision = np.linalg.inv(field_covariance(positions, positions) + _NUGGET * np.eye(n))
    total = precision.sum(axis=0)
    smooth = precision - np.outer(total, total) / total.sum()  # an average level is no roughness
    members = np.eye(n_parts)[parts][:, 1:]
    covariance = np.linalg.inv(members.T @ smooth @ members)
    constants = np.vstack([np.zeros(n), -covariance @ members.T @ smooth])
    shares = np.eye(n_parts)[:, 1:] - members.mean(axis=0)
    error = np.sqrt(np.einsum("pi,ij,pj->p", shares, covariance, shares)) / _typical_size()
    return constants, np.asarray(error)


def field_covariance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the covariance of scalp potentials between places of `a` (k, 3) and `b` (n, 3), 1 at no distance."""
    n = np.arange(1, _N_TERMS + 1)
    coefficients = np.concatenate([[0.0], (2 * n + 1) / (n * (n + 1.0)) ** _EXPONENT])
    return np.asarray(legval(_cosines(a, b), coefficients / coefficients.sum()))


@lru_cache(maxsize=1)
def _typical_size() -> float:
    """Return the RMS potential of the electrodes of the 10-20 system against their average."""
    places = electrode_positions(TEN_TWENTY)
    covariance = field_covariance(places, places) + _NUGGET * np.eye(len(places))
    return float(np.sqrt(np.trace(covariance) / len(places) - covariance.mean()))


def _cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    directions = [places / np.linalg.norm(places, axis=1, keepdims=True) for places in (a, b)]
    return np.asarray(np.clip(directions[0] @ directions[1].T, -1, 1))
