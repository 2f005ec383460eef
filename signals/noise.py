"""Noise of a given spectrum: what synthetic EEG is made of, and what exported graphs are probed with."""

import numpy as np
from scipy import fft


def aperiodic(freqs: np.ndarray, *, exponent: float, knee_hz: float = 0.6, high_pass_hz: float = 0.3) -> np.ndarray:
    """Return a 1/f^exponent power spectrum, flat below the knee, of total power 1, shape (n_freqs,)."""
    power = freqs**4 / (freqs**4 + high_pass_hz**4) / (knee_hz**exponent + freqs**exponent)
    return power / power.sum()


def shaped_noise(rng: np.random.Generator, power: np.ndarray, n_times: int) -> np.ndarray:
    """Return Gaussian noise with the given spectra, float32, shape (n_rows, n_times), mean variance 1 over the rows.

    `power`: relative power, shape (n_rows, n_times // 2 + 1), frequencies of `scipy.fft.rfftfreq`. The noise is
    periodic in n_times.
    """
    scale = n_times / (2 * np.sqrt(power.sum(axis=1).mean()))
    used = int(np.max(np.flatnonzero(power.max(axis=0) > 1e-9 * power.max()))) + 1
    pairs = rng.standard_normal((power.shape[0], used, 2), dtype=np.float32)
    spectrum = pairs.view(np.complex64)[..., 0] * (scale * np.sqrt(power[:, :used])).astype(np.float32)
    return fft.irfft(spectrum, n=n_times, axis=1)
