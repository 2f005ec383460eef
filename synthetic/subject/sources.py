"""Cortical sources below the electrodes, how they mix on the scalp, and noise of a given spectrum.

Sources are radial current dipoles on an inner sphere. Their potential on the scalp is that of a dipole in a
homogeneous conductor (Nunez and Srinivasan, Electric Fields of the Brain, 2006, chapter 5); the inner radius lies
deeper than cortex, which stands in for the smearing by the skull. Everything is relative: amplitudes are set in µV
on the scalp.
"""

from functools import lru_cache

import numpy as np
from scipy import fft

from signals.electrodes import POSITIONS
from signals.noise import shaped_noise

SOURCE_RADIUS = 0.5
N_SOURCES = 72


def _source_directions() -> np.ndarray:
    """Return directions spread evenly over the upper part of the sphere (z > -0.35), shape (N_SOURCES, 3)."""
    k = np.arange(N_SOURCES) + 0.5
    z = 1 - 1.35 * k / N_SOURCES
    turn = np.pi * (1 + 5**0.5) * k
    r = np.sqrt(1 - z**2)
    return np.stack([r * np.cos(turn), r * np.sin(turn), z], axis=1)


SOURCES = _source_directions()
_SCALP = np.array([p for p in POSITIONS.values() if p[2] > -0.2])


def leadfield(positions: np.ndarray, *, radius: float = SOURCE_RADIUS) -> np.ndarray:
    """Return the potential of each unit source at each electrode, shape (n_chans, N_SOURCES), no unit.

    `positions`: directions on the unit sphere, shape (n_chans, 3).
    """
    arrow = positions[:, None, :] - radius * SOURCES[None, :, :]
    distance = np.linalg.norm(arrow, axis=2)
    return np.einsum("csx,sx->cs", arrow, SOURCES) / distance**3


def angle_to(directions: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Return the angle of each direction to one centre, radians, shape (n,)."""
    return np.arccos(np.clip(directions @ (centre / np.linalg.norm(centre)), -1.0, 1.0))


def near(directions: np.ndarray, centre: np.ndarray, width: float) -> np.ndarray:
    """Return weights that fall off as a Gaussian of the angle to `centre`; width in radians, shape (n,)."""
    return np.exp(-0.5 * (angle_to(directions, centre) / width) ** 2)


def field(positions: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the scalp map of sources that move together, its largest value on the scalp being 1, shape (n_chans,).

    `weights`: one per source, shape (N_SOURCES,).
    """
    return leadfield(positions) @ weights / np.max(np.abs(_scalp_leadfield() @ weights))


@lru_cache(maxsize=1)
def _scalp_leadfield() -> np.ndarray:
    return leadfield(_SCALP)


def mixing(positions: np.ndarray) -> np.ndarray:
    """Return the leadfield scaled so that independent unit sources give unit variance on the average electrode."""
    scale = np.sqrt(np.mean(np.sum(_scalp_leadfield() ** 2, axis=1)))
    return leadfield(positions) / scale


def bump(freqs: np.ndarray, centre_hz: float, width_hz: float) -> np.ndarray:
    """Return a Gaussian power spectrum of total power 1, shape (n_freqs,)."""
    power = np.exp(-0.5 * ((freqs - centre_hz) / width_hz) ** 2)
    power[0] = 0.0
    return power / power.sum()


def slow_noise(rng: np.random.Generator, n_rows: int, n_times: int, sfreq: float, *, cutoff_hz: float) -> np.ndarray:
    """Return low-pass noise of variance 1 for envelopes and drifts, float32, shape (n_rows, n_times)."""
    power = bump(fft.rfftfreq(n_times, 1 / sfreq), 0.0, cutoff_hz)
    return shaped_noise(rng, np.broadcast_to(power, (n_rows, power.size)), n_times)
