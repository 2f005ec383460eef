"""How periodic and how rhythmic a signal is: what an electroencephalographer counts with a ruler.

Periodic: sharp transients that come back at nearly equal intervals; seen in the envelope of sharpness. Rhythmic: waves
without an interval between them; seen in the signal itself. Both are read off an autocorrelation, which is 1 at the
period of what repeats exactly and near 0 for noise. Terms: ACNS 2021 (Hirsch et al., J Clin Neurophysiol 38:1-29).
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy import fft, signal

from signals.conditioning.filters import reflect

ENVELOPE_SFREQ = 64.0
"""Rate of envelopes, Hz."""
PERIODIC_HZ = (0.35, 5.0)
"""Rates looked for in envelopes."""


@dataclass(frozen=True, kw_only=True)
class Repetition:
    """What repeats in each signal; arrays of the leading shape of the input."""

    strength: np.ndarray
    """Autocorrelation at the period, in [-1, 1], over the deepest value before it: noise has none."""
    rate_hz: np.ndarray
    """Inverse of the period."""
    second: np.ndarray
    """Autocorrelation at twice the period: high where the third event comes in time too."""
    dip: np.ndarray
    """Smallest autocorrelation before the period."""


REACH_S = 2.0
"""What a signal is continued by at both ends before it is filtered, seconds."""
SHARP_HZ = (5.0, 25.0)
"""Band of what is sharp."""


@dataclass(frozen=True, kw_only=True)
class Spectrum:
    """Signals as one transform, of which any number of bands is taken at the cost of one transform back each."""

    bins: np.ndarray
    """complex, shape (..., n_bins), of signals continued at both ends by odd reflection."""
    sfreq: float
    n_times: int
    n_before: int
    """Samples that the signals were continued by before their first."""
    n_fft: int

    def pairs(self, first: list[int], second: list[int]) -> "Spectrum":
        """Return the differences of rows: a derivation's spectrum is that of its electrodes' difference."""
        return replace(self, bins=self.bins[first] - self.bins[second])

    def band(self, order: int, band_hz: tuple[float, float]) -> np.ndarray:
        """Return the signals as a Butterworth band-pass leaves them that is run forth and back, (..., n_times)."""
        gain = _band_gain(order, band_hz, self.sfreq, self.n_fft)
        return fft.irfft(self.bins * gain, n=self.n_fft, axis=-1)[..., self.n_before : self.n_before + self.n_times]


def spectrum_of(x: np.ndarray, sfreq: float) -> Spectrum:
    """Return the spectrum of signals of shape (..., n_times), continued by `REACH_S` at either end."""
    n_times = x.shape[-1]
    n_before = min(int(REACH_S * sfreq), n_times - 1)
    n_fft = fft.next_fast_len(n_times + 2 * n_before, real=True)
    bins = fft.rfft(reflect(x, n_before, min(n_fft - n_times - n_before, n_times - 1)), n=n_fft, axis=-1)
    return Spectrum(bins=bins, sfreq=sfreq, n_times=n_times, n_before=n_before, n_fft=n_fft)


@lru_cache(maxsize=32)
def _band_gain(order: int, band_hz: tuple[float, float], sfreq: float, n_fft: int) -> np.ndarray:
    """Return the squared magnitude of a Butterworth band-pass at the frequencies of a transform, shape (n_bins,)."""
    sos = signal.butter(order, band_hz, "bandpass", fs=sfreq, output="sos")
    _, response = signal.sosfreqz(sos, fft.rfftfreq(n_fft, 1 / sfreq), fs=sfreq)
    return np.asarray(np.abs(response) ** 2)


@lru_cache(maxsize=4)
def _smoother(sfreq: float, smooth_s: float) -> np.ndarray:
    """Return a bump of area 1, an odd number of samples."""
    kernel = np.hanning(int(3 * smooth_s * sfreq) | 1)
    return np.asarray(kernel / kernel.sum())


def sharpness_envelope(
    x: np.ndarray, sfreq: float, *, band_hz: tuple[float, float] = SHARP_HZ, smooth_s: float = 0.06
) -> np.ndarray:
    """Return `envelope` of the band of signals in which sharp waves are; as there."""
    return envelope(spectrum_of(x, sfreq).band(3, band_hz), sfreq, smooth_s=smooth_s)


def envelope(x: np.ndarray, sfreq: float, *, smooth_s: float = 0.06) -> np.ndarray:
    """Return the size of what is sharp, unit of x, shape (..., n_times * ENVELOPE_SFREQ / sfreq).

    x has shape (..., n_times), band-passed. Each spike or sharp wave is one bump of about its own length.
    Raises ValueError where `sfreq` is no multiple of ENVELOPE_SFREQ.
    """
    step = sfreq / ENVELOPE_SFREQ
    if step != int(step):
        raise ValueError(f"sfreq={sfreq} is no multiple of {ENVELOPE_SFREQ:g} Hz")
    kernel, step = _smoother(sfreq, smooth_s), int(step)
    half, n_out = len(kernel) // 2, -(-x.shape[-1] // step)
    sharp = np.zeros((*x.shape[:-1], x.shape[-1] + 2 * half + step))
    np.abs(x, out=sharp[..., half : half + x.shape[-1]])
    # Only the samples that stay are smoothed; a bump is the same on both sides of its middle.
    smooth = kernel[half] * sharp[..., half::step][..., :n_out]
    for k in range(half):
        pair = sharp[..., k::step][..., :n_out] + sharp[..., 2 * half - k :: step][..., :n_out]
        pair *= kernel[k]
        smooth += pair
    return np.asarray(smooth, dtype=np.float32)


def autocorrelation(x: np.ndarray, max_lag: int) -> np.ndarray:
    """Return the autocorrelation at lags 0 to `max_lag`, shape (..., max_lag + 1): 1 at lag 0, 0 for a flat signal.

    Corrected for the shorter overlap of long lags. x has shape (..., n_times). Raises ValueError unless max_lag lies
    below n_times.
    """
    n_times = x.shape[-1]
    if max_lag >= n_times:
        raise ValueError(f"max_lag={max_lag} must lie below n_times={n_times}")
    size = fft.next_fast_len(n_times + max_lag, real=True)
    spectrum = fft.rfft(x - x.mean(axis=-1, keepdims=True), n=size, axis=-1)
    products = fft.irfft(np.abs(spectrum) ** 2, n=size, axis=-1)[..., : max_lag + 1]
    products = products * (n_times / (n_times - np.arange(max_lag + 1)))
    return np.asarray(products / np.maximum(products[..., :1], 1e-12))


def repetition(correlation: np.ndarray, sfreq: float, *, band_hz: tuple[float, float] = PERIODIC_HZ) -> Repetition:
    """Return the strongest repetition in `autocorrelation`'s output (..., n_lags), rates within `band_hz`.

    The period is the highest local maximum behind the first trough, since every smooth signal resembles itself at short
    lags. Raises ValueError where there are not enough lags for the lowest rate.
    """
    first, last = int(np.floor(sfreq / band_hz[1])), int(np.ceil(sfreq / band_hz[0]))
    if last + 1 >= correlation.shape[-1]:
        raise ValueError(f"{correlation.shape[-1]} lags do not reach {band_hz[0]} Hz at {sfreq} Hz")
    flat = correlation.reshape(-1, correlation.shape[-1])
    lowest = np.minimum.accumulate(flat, axis=-1)
    lags = np.arange(first, last + 1)
    here, before, after = flat[:, lags], flat[:, lags - 1], flat[:, lags + 1]
    peak = (here >= before) & (here > after)
    rise = np.where(peak, here - lowest[:, lags], 0.0)
    # A period's multiples are as high as itself: the shortest lag that is nearly the highest is the period.
    best = np.argmax(rise >= 0.85 * rise.max(axis=-1, keepdims=True), axis=-1)
    rows, has_peak = np.arange(len(flat)), rise.max(axis=-1) > 0
    lag = lags[best]
    twice = np.minimum(2 * lag, flat.shape[-1] - 1)
    values = rise[rows, best], sfreq / lag, flat[rows, twice], lowest[rows, lag]
    strength, rate_hz, second, dip = (np.where(has_peak, v, 0.0).reshape(correlation.shape[:-1]) for v in values)
    return Repetition(strength=strength, rate_hz=rate_hz, second=second, dip=dip)


def spectral_peak(
    freqs: np.ndarray, density: np.ndarray, *, band_hz: tuple[float, float], half_width_hz: float = 0.4
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return Hz of the largest density in a band, the share of the band's power within `half_width_hz` of it, and the
    density at its octave over that at itself; each of shape (...,).

    `density` has shape (..., n_freqs). A rhythm holds most of the band in its peak; sharp discharges have octaves.
    """
    inside = np.flatnonzero((freqs >= band_hz[0]) & (freqs <= band_hz[1]))
    part = density[..., inside]
    at = part.argmax(axis=-1)
    peak_hz = freqs[inside][at]
    close = np.abs(freqs[inside] - peak_hz[..., None]) <= half_width_hz
    share = (part * close).sum(axis=-1) / np.maximum(part.sum(axis=-1), 1e-12)
    octave = np.clip(np.searchsorted(freqs, 2 * peak_hz), 0, len(freqs) - 1)
    double = np.take_along_axis(density, octave[..., None], axis=-1)[..., 0]
    return peak_hz, share, double / np.maximum(part.max(axis=-1), 1e-12)
