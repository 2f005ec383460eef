"""Multi-level wavelet denoising with a threshold from each level's own noise."""

from collections.abc import Sequence

import numpy as np

WAVELET, LEVEL = "sym8", 3
"""Details of three levels: at 256 Hz 16-32, 32-64 and 64-128 Hz. What is slower is not touched."""


def denoise(x: np.ndarray, sfreq: float, *, h_freq: float) -> np.ndarray:
    """Return x with noise-like wavelet coefficients shrunk, same dtype, shape (..., n_times).

    Of each channel the noise is read off the finest level that the pass band (up to `h_freq`, Hz) fills by a third:
    1.4826 MAD of its coefficients, which discharges do not raise, over the root of the filled share; it counts as
    white. Each level is thresholded at the noise variance over the signal's deviation (BayesShrink: Chang, Yu and
    Vetterli 2000, doi:10.1109/83.862633), at most at the noise times sqrt(2 ln n), by the non-negative garrote (Gao
    1998, doi:10.1080/10618600.1998.10474789), which leaves large coefficients nearly as they are. A pass band that
    fills no level by a third comes back as it is. Raises ValueError for less than 32 samples.
    """
    import pywt

    n_times = x.shape[-1]
    if n_times < 32:
        raise ValueError(f"n_times={n_times} is too short for {LEVEL} levels of {WAVELET}")
    coefficients = pywt.wavedec(x, WAVELET, mode="periodization", level=LEVEL, axis=-1)
    noise = _noise(coefficients, sfreq, h_freq)
    if noise is None:
        return x
    shrunk = [coefficients[0], *(_shrink(level, noise) for level in coefficients[1:])]
    return np.asarray(pywt.waverec(shrunk, WAVELET, mode="periodization", axis=-1)[..., :n_times].astype(x.dtype))


def _noise(coefficients: Sequence[np.ndarray], sfreq: float, h_freq: float) -> np.ndarray | None:
    """Return the deviation of the noise in every coefficient, shape (..., 1)."""
    for level in (1, 2):
        low = sfreq / 2 ** (level + 1)
        filled = min((h_freq - low) / low, 1.0)
        if filled >= 1 / 3:
            sizes = np.median(np.abs(coefficients[-level]), axis=-1, keepdims=True)
            return np.asarray(1.4826 * sizes / np.sqrt(filled))
    return None


def _shrink(y: np.ndarray, noise: np.ndarray) -> np.ndarray:
    variance = np.square(y).mean(axis=-1, keepdims=True)
    signal = np.sqrt(np.maximum(variance - noise**2, 0.0))
    largest = noise * np.sqrt(2 * np.log(y.shape[-1]))
    threshold = np.minimum(noise**2 / np.maximum(signal, 1e-12), largest)
    square = np.maximum(np.square(y), np.finfo(y.dtype).tiny)
    return y * np.maximum(1.0 - threshold**2 / square, 0.0)
