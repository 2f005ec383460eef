"""What is recognised of a window after it was exported again: at another gain, rate, filter or reference.

A fingerprint is a random projection (Johnson and Lindenstrauss 1984) of the 1-12 Hz spectrum. Correlations survive it:
one of r is met with a standard error of about (1 - r^2) / sqrt(N_DIMS), so copies stay near 1 and strangers far below.
"""

import hashlib
from functools import lru_cache

import numpy as np

from signals.shards.records import quantise
from signals.window import MEASURED, Window

BAND_HZ = (1.0, 12.0)
"""Inside of every site's pass band, and below mains."""
N_DIMS = 128


def content_hash(window: Window) -> str:
    """Return the first 16 hex digits of the sha256 of the samples as a shard stores them; "" for a flat window.

    Of the EEG alone, so that a recording prepared with other sensors is known again.
    """
    values, step = quantise(window.data[: window.n_eeg])
    if not np.ptp(values, axis=-1).any():
        return ""
    return hashlib.sha256(values.astype("<i2").tobytes() + np.float32(step).tobytes()).hexdigest()[:16]


def fingerprint(x: np.ndarray, sfreq: float, ch_state: np.ndarray) -> np.ndarray:
    """Return the unit vector that names a window, float32, shape (N_DIMS,); zeros where nothing moves.

    `x` has shape (n_chans, n_times), `ch_state` (n_chans,): only measured channels count. Their mean is taken out, so
    that the reference does not matter; each channel has the same weight, so that gains do not; the spectrum is
    weighed by its frequency, since EEG falls with it and slow drifts alone would make windows alike. A copy whose
    onset was shifted, or that measured other channels, is not recognised.
    """
    measured = ch_state == MEASURED
    spectrum = np.zeros((len(x), len(_bins(x.shape[1], sfreq))), dtype=np.complex64)
    if measured.any():
        chosen = np.asarray(x[measured], dtype=np.float32)
        chosen = (chosen - chosen.mean(axis=-1, keepdims=True)) * np.hanning(x.shape[1]).astype(np.float32)
        chosen = chosen - chosen.mean(axis=0) if len(chosen) > 2 else chosen
        bins = _bins(x.shape[1], sfreq)
        spectrum[measured] = np.fft.rfft(chosen, axis=-1)[:, bins] * bins
    size = np.linalg.norm(spectrum, axis=1, keepdims=True)
    spectrum = np.divide(spectrum, size, out=np.zeros_like(spectrum), where=size > 1e-6)
    projected = np.ascontiguousarray(spectrum).view(np.float32).reshape(-1) @ _projection(spectrum.size * 2)
    length = float(np.linalg.norm(projected))
    return (projected / length if length > 0 else projected).astype(np.float32)


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


def unpack(packed: list[bytes]) -> np.ndarray:
    """Return packed fingerprints as float32, shape (n_windows, N_DIMS); raises ValueError for other lengths."""
    if any(len(one) != 2 * N_DIMS for one in packed):
        raise ValueError(f"a fingerprint holds {2 * N_DIMS} bytes; these hold {sorted({len(one) for one in packed})}")
    return np.frombuffer(b"".join(packed), dtype="<f2").reshape(len(packed), N_DIMS).astype(np.float32)
