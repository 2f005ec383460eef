"""The design of the filters: band edges, one FIR for band and mains, the anti-alias low-pass of a change of rate.

All are linear-phase FIRs with a finite reach, so that a block with a halo of that reach gives the same samples as the
whole recording. `signals.conditioning.rate_filter` applies them in one pass; `bandpass` and `notch` serve short
stretches.
"""

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

import numpy as np
from scipy import fft

from signals.conditioning.gaps import bridge
from signals.spectrograms import stft_power

TRANSITION_HZ = 0.5
"""Width of every transition band of the FIR, Hz; its length is 3.3 / TRANSITION_HZ seconds (Hamming window)."""
NOTCH_HALF_WIDTH_HZ = 0.75
"""-6 dB half width of a notch, Hz."""
GUARD = 0.45
"""Highest pass edge as a share of a sampling rate."""
ANTIALIAS_RANGE_DB = (40, 160)
"""Attenuations that `antialias_taps` keeps in float64."""
ANTIALIAS_DB = 100.0
"""Attenuation from half of the lower rate upwards; float32 itself rounds at 150 dB."""


def effective_band(l_freq: float, h_freq: float, *, native_sfreq: float, sfreq: float) -> tuple[float, float]:
    """Return the pass band, Hz, that the native rate and the target rate allow.

    Raises ValueError if nothing is left above `l_freq`.
    """
    h_eff = min(h_freq, GUARD * native_sfreq, GUARD * sfreq)
    if h_eff <= l_freq:
        raise ValueError(f"a recording at {native_sfreq} Hz holds nothing above l_freq={l_freq} Hz")
    return l_freq, round(h_eff, 4)


def resampling_ratio(sfreq: float, new_sfreq: float) -> tuple[int, int]:
    """Return (up, down) in lowest terms with new_sfreq = sfreq x up / down.

    Rates written with up to three decimals are exact; raises ValueError for rates that are not positive.
    """
    if sfreq <= 0 or new_sfreq <= 0:
        raise ValueError(f"sampling rates must be positive, got {sfreq} and {new_sfreq} Hz")
    ratio = Fraction(new_sfreq).limit_denominator(1000) / Fraction(sfreq).limit_denominator(1000)
    return ratio.numerator, ratio.denominator


@lru_cache(maxsize=16)
def antialias_taps(up: int, down: int, *, attenuation_db: float = ANTIALIAS_DB) -> np.ndarray:
    """Return the anti-alias low-pass of a change of rate, on the lattice of both rates, odd length, sum 1.

    A Kaiser design (Kaiser 1974) that passes up to GUARD of the lower rate and stops from half of it: what aliases or
    images is `attenuation_db` down, and the pass band ripples by no more than that. The one tap 1.0 for equal rates.
    Raises ValueError for an attenuation outside of 40-160 dB, which this design does not keep in float64.
    """
    low, high = ANTIALIAS_RANGE_DB
    if not low <= attenuation_db <= high:
        raise ValueError(f"attenuation_db={attenuation_db} lies outside of [40, 160] dB")
    if up == down:
        return np.ones(1)
    lower_nyquist = 1.0 / max(up, down)  # of the lattice's
    over = attenuation_db - 21.0
    beta = 0.1102 * (attenuation_db - 8.7) if over > 29 else 0.5842 * over**0.4 + 0.07886 * over
    width = (1.0 - 2 * GUARD) * lower_nyquist
    n_taps = int(np.ceil((attenuation_db - 7.95) / (2.285 * np.pi * width) + 1)) | 1
    # Rates of a large ratio take millions of taps: they are symmetric, so half of them is computed.
    middle = n_taps // 2
    at = np.arange(-middle, 1, dtype=np.float64)
    edge = (0.5 + GUARD) * lower_nyquist
    half = edge * np.sinc(edge * at) * (np.i0(beta * np.sqrt(1 - (at / middle) ** 2)) / np.i0(beta))
    taps = np.concatenate([half, half[-2::-1]])
    return np.asarray(taps / taps.sum())


@lru_cache(maxsize=64)
def band_taps(sfreq: float, l_freq: float, h_freq: float, notch_freqs: tuple[float, ...] = ()) -> np.ndarray:
    """Return a linear-phase FIR, odd length, that passes [l_freq, h_freq] and stops around each notch frequency.

    `l_freq` and `h_freq` are the edges of the pass band; each stop band begins TRANSITION_HZ further out, as in MNE's
    firwin design. Notches above the upper edge are left out, as there is nothing to stop.
    """
    half = TRANSITION_HZ / 2
    if l_freq <= half:
        raise ValueError(f"l_freq={l_freq} Hz must lie above half a transition band, {half} Hz")
    cutoffs = [l_freq - half]
    for freq in sorted(notch_freqs):
        if l_freq < freq - NOTCH_HALF_WIDTH_HZ and freq + NOTCH_HALF_WIDTH_HZ < h_freq + half:
            cutoffs += [freq - NOTCH_HALF_WIDTH_HZ, freq + NOTCH_HALF_WIDTH_HZ]
    cutoffs.append(h_freq + half)
    n_taps = int(np.ceil(3.3 / TRANSITION_HZ * sfreq)) | 1
    taps = _ideal(n_taps, np.array(cutoffs) / (sfreq / 2)) * np.hamming(n_taps)
    # The window leaks a little of the pass band to 0 Hz; a recording's offset may be a thousand times the EEG.
    return taps - taps.sum() / n_taps


def _ideal(n_taps: int, edges: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return the response of ideal pass bands [edges[0], edges[1]], [edges[2], edges[3]], ..., shares of Nyquist.

    With a window over it this is the window method of FIR design, as `scipy.signal.firwin` has it; importing that takes
    longer than anything else at a process's start.
    """
    at = np.arange(n_taps) - 0.5 * (n_taps - 1)
    bands = np.reshape(edges, (-1, 2))
    return np.asarray(sum(high * np.sinc(high * at) - low * np.sinc(low * at) for low, high in bands))


def mains_harmonics(mains_hz: float | None, h_freq: float) -> tuple[float, ...]:
    """Return the mains frequency and its multiples up to `h_freq`, Hz; nothing without mains."""
    if mains_hz is None:
        return ()
    return tuple(mains_hz * k for k in range(1, int((h_freq + TRANSITION_HZ) // mains_hz) + 1))


def filter_zero_phase(x: np.ndarray, taps: np.ndarray) -> np.ndarray:
    """Return x convolved with a symmetric FIR, delay removed, same shape; zero outside of x.

    The first and last len(taps) // 2 samples see that zero.
    """
    n_fft = fft.next_fast_len(x.shape[-1] + len(taps) - 1, real=True)
    bins = fft.rfft(x, n_fft, axis=-1) * fft.rfft(taps.astype(x.dtype, copy=False), n_fft)
    skip = (len(taps) - 1) // 2
    return np.asarray(fft.irfft(bins, n_fft, axis=-1, overwrite_x=True)[..., skip : skip + x.shape[-1]])


def bandpass(x: np.ndarray, sfreq: float, *, l_freq: float, h_freq: float) -> np.ndarray:
    """Return x band-passed at zero phase, edges continued by odd reflection; shape (..., n_times)."""
    return _filter_reflected(x, band_taps(sfreq, l_freq, h_freq))


def notch(x: np.ndarray, sfreq: float, *, freqs: Sequence[float]) -> np.ndarray:
    """Return x without the given frequencies (Hz) at zero phase, edges continued by odd reflection."""
    cutoffs = [edge for f in sorted(freqs) for edge in (f - NOTCH_HALF_WIDTH_HZ, f + NOTCH_HALF_WIDTH_HZ)]
    n_taps = int(np.ceil(3.3 / TRANSITION_HZ * sfreq)) | 1
    taps = _ideal(n_taps, np.array([0.0, *cutoffs, sfreq / 2]) / (sfreq / 2)) * np.hamming(n_taps)
    return _filter_reflected(x, taps / taps.sum())


def reflect(x: np.ndarray, before: int, after: int) -> np.ndarray:
    """Return x continued at both ends by odd reflection, 2 x[0] - x[k]; shape (..., n_times + before + after).

    Raises ValueError if x is not longer than what it is continued by.
    """
    n_times = x.shape[-1]
    if max(before, after) >= n_times:
        raise ValueError(f"n_times={n_times} is too short to be continued by {max(before, after)} samples")
    left = 2 * x[..., :1] - x[..., before:0:-1]
    right = 2 * x[..., -1:] - x[..., -2 : -after - 2 : -1]
    return np.concatenate([left, x, right], axis=-1)


def _filter_reflected(x: np.ndarray, taps: np.ndarray) -> np.ndarray:
    reach = len(taps) // 2
    return filter_zero_phase(reflect(x, reach, reach), taps)[..., reach : reach + x.shape[-1]]


def detect_mains(
    stretches: Sequence[np.ndarray], sfreq: float, *, candidates: tuple[float, ...] = (50.0, 60.0)
) -> float | None:
    """Return the mains frequency whose line stands out most from its neighbourhood, or None if none does by 6 dB.

    `stretches` are parts of a recording, each (n_chans, n_times), NaN where missing, in any unit; what counts is the
    median over channels, then over stretches. Candidates at or above the Nyquist frequency are not looked for.
    """
    window_s = min(4.0, *(x.shape[-1] / sfreq for x in stretches))
    levels = []
    for x in stretches:
        missing = np.isnan(x)
        x = bridge(x, missing) if missing.any() else x
        freqs, _, power = stft_power(x, sfreq, window_s=window_s, step_s=window_s / 2)
        levels.append(np.log10(np.median(power.mean(axis=-1), axis=0) + np.finfo(np.float64).tiny))
    level = np.median(levels, axis=0)
    best, best_db = None, 6.0
    for mains_hz in candidates:
        if mains_hz + 5 >= sfreq / 2:
            continue
        line = level[np.abs(freqs - mains_hz) <= 0.5].max()
        around = np.median(level[(np.abs(freqs - mains_hz) > 1.5) & (np.abs(freqs - mains_hz) <= 5)])
        if 10 * (line - around) > best_db:
            best, best_db = mains_hz, 10 * (line - around)
    return best
