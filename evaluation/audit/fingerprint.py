"""What is recognised of a window after it was exported again: shifted, at another gain, rate, filter or reference.

A fingerprint is a random projection (Johnson and Lindenstrauss 1984) of how the size of the 1-12 Hz spectrum scatters.
Correlations survive it with a standard error of about (1 - r^2) / sqrt(N_DIMS): copies are at 0.89 to 1, windows of
different people around 0 (docs/results/evaluation.md has what was measured).
"""

import hashlib
from functools import lru_cache

import numpy as np

from signals.shards.records import quantise
from signals.window import MEASURED, Window

BAND_HZ = (1.0, 12.0)
"""Inside of every site's pass band, and below mains."""
SMOOTH_HZ = 1.0
"""Width over which a spectrum's own course is smooth."""
N_DIMS = 160
"""Prints of earlier versions were shorter, and are recognised by that."""


def content_hash(window: Window) -> str:
    """Return the first 16 hex digits of the sha256 of the samples as a shard stores them; "" for a flat window.

    Of the EEG alone, so that a recording prepared with other sensors is known again.
    """
    values, step = quantise(window.data[: window.n_primary])
    if not np.ptp(values, axis=-1).any():
        return ""
    return hashlib.sha256(values.astype("<i2").tobytes() + np.float32(step).tobytes()).hexdigest()[:16]


def fingerprint(x: np.ndarray, sfreq: float, ch_state: np.ndarray) -> np.ndarray:
    """Return the unit vector that names a window, float32, shape (N_DIMS,); zeros where nothing moves.

    `x` has shape (n_chans, n_times), `ch_state` (n_chans,): only measured channels count. Their mean is taken out, so
    that the reference does not matter. Of each channel's spectrum only the size counts, not the phase, so that a shift
    of the onset by a few percent of the window does not matter; divided by its own smooth course over frequency, so
    that gains, filters and the fall of EEG with frequency do not: what is left is how the spectrum of this very
    stretch scatters around it. A copy that measured different channels, or that was cut elsewhere, is not recognised.
    """
    measured = ch_state == MEASURED
    bins = _bins(x.shape[1], sfreq)
    shape = np.zeros((len(x), len(bins)), dtype=np.float32)
    if measured.any():
        chosen = np.asarray(x[measured], dtype=np.float32)
        chosen = (chosen - chosen.mean(axis=-1, keepdims=True)) * np.hanning(x.shape[1]).astype(np.float32)
        chosen = chosen - chosen.mean(axis=0) if len(chosen) > 2 else chosen
        size = np.abs(np.fft.rfft(chosen, axis=-1)[:, bins])
        reach = max(2, round(SMOOTH_HZ * x.shape[1] / sfreq / 2))
        course = _smooth(size, reach)
        scatter = np.sqrt(np.divide(size, course, out=np.zeros_like(size), where=course > 1e-9))
        shape[measured] = scatter - _smooth(scatter, reach)
    length = np.linalg.norm(shape, axis=1, keepdims=True)
    shape = np.divide(shape, length, out=np.zeros_like(shape), where=length > 1e-6)
    projected = shape.reshape(-1) @ _projection(shape.size)
    total = float(np.linalg.norm(projected))
    return (projected / total if total > 0 else projected).astype(np.float32)


def _smooth(values: np.ndarray, reach: int) -> np.ndarray:
    """Return the mean over `reach` bins to both sides, the edges repeated; same shape."""
    sums = np.cumsum(np.pad(values, ((0, 0), (reach + 1, reach)), mode="edge"), axis=1, dtype=np.float64)
    return ((sums[:, 2 * reach + 1 :] - sums[:, : -2 * reach - 1]) / (2 * reach + 1)).astype(np.float32)


def _bins(n_times: int, sfreq: float) -> np.ndarray:
    freqs = np.fft.rfftfreq(n_times, 1 / sfreq)
    return np.flatnonzero((freqs >= BAND_HZ[0]) & (freqs <= BAND_HZ[1]))


@lru_cache(maxsize=4)
def _projection(n_values: int) -> np.ndarray:
    """Return a fixed Gaussian matrix, float32, shape (n_values, N_DIMS): the same on every machine."""
    rng = np.random.default_rng(20261121)
    return rng.standard_normal((n_values, N_DIMS), dtype=np.float32) / np.float32(np.sqrt(N_DIMS))


def pack(vector: np.ndarray) -> bytes:
    """Return a fingerprint as bytes (little-endian float16), as it stands in tables."""
    return vector.astype("<f2").tobytes()


PACKED_BYTES = 2 * N_DIMS


def unpack(packed: list[bytes]) -> np.ndarray:
    """Return packed fingerprints as float32, shape (n_windows, N_DIMS); raises ValueError for other lengths."""
    if any(len(one) != PACKED_BYTES for one in packed):
        raise ValueError(f"a fingerprint holds {PACKED_BYTES} bytes; these hold {sorted({len(one) for one in packed})}")
    return np.frombuffer(b"".join(packed), dtype="<f2").reshape(len(packed), N_DIMS).astype(np.float32)
