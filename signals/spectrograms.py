"""Power over time and frequency: short-time Fourier, Welch, multitaper, and the four regional chains."""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import numpy as np
from scipy import fft

from signals.electrodes import CHAINS

REGIONAL_FREQS = np.arange(3, 103) * (200.0 / 1024.0)
"""Hz, the 100 bins 0.59 ... 19.92 of the HMS competition: a 1024-point transform at 200 Hz."""

REGIONAL_WINDOW_S, REGIONAL_STEP_S = 4.0, 2.0


def stft_power(
    x: np.ndarray, sfreq: float, *, window_s: float, step_s: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return Hz, seconds of the frame centres, and one-sided power density, shape (..., n_freqs, n_frames), unit²/Hz.

    x has shape (..., n_times). Periodic Hann window, each frame's mean removed: `scipy.signal.spectrogram`'s defaults
    but for the window. Frames that would pass the end are left out. Raises ValueError if not one frame fits.
    """
    n_window = int(round(window_s * sfreq))
    frames, times = _frames(x, sfreq, n_window, int(round(step_s * sfreq)))
    taper = _hann(n_window, frames.dtype)
    tapered = frames - frames.mean(axis=-1, keepdims=True)
    tapered *= taper
    spectrum = fft.rfft(tapered, axis=-1)
    power = spectrum.real**2 + spectrum.imag**2
    power *= 2.0 / (sfreq * float(np.sum(taper.astype(np.float64) ** 2)))
    power[..., 0] /= 2.0
    if n_window % 2 == 0:
        power[..., -1] /= 2.0
    return np.arange(power.shape[-1]) * sfreq / n_window, times, np.swapaxes(power, -1, -2)


def welch(x: np.ndarray, sfreq: float) -> tuple[np.ndarray, np.ndarray]:
    """Return Hz, shape (n_freqs,), and Welch's power density, shape (..., n_freqs), unit²/Hz.

    Hann segments of 2 s with half overlap, bins of 0.5 Hz; equals `scipy.signal.welch(nperseg=2 * sfreq)`.
    Welch 1967, doi:10.1109/TAU.1967.1161901.
    """
    freqs, _, power = stft_power(x, sfreq, window_s=2.0, step_s=1.0)
    return freqs, power.mean(axis=-1)


def multitaper(
    x: np.ndarray, sfreq: float, *, window_s: float, step_s: float, f_min: float, f_max: float, n_bins: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return Hz, seconds of the frame centres, and multitaper density, shape (..., n_bins, n_frames), unit²/Hz.

    x has shape (..., n_times). The mean of three Slepian tapers of time-bandwidth 2, evaluated exactly at `n_bins`
    frequencies from `f_min` to `f_max`, both included. Thomson 1982, doi:10.1109/PROC.1982.12433. Raises ValueError
    if not one frame fits or the frequencies do not lie strictly between 0 and sfreq / 2.
    """
    if not 0 < f_min <= f_max < sfreq / 2:
        raise ValueError(f"f_min={f_min} and f_max={f_max} must lie in order inside of (0, {sfreq / 2}) Hz")
    n_window = int(round(window_s * sfreq))
    frames, times = _frames(x, sfreq, n_window, int(round(step_s * sfreq)))
    basis = _taper_basis(n_window, float(sfreq), float(f_min), float(f_max), n_bins)
    parts = frames @ basis.astype(frames.dtype)
    power = (parts**2).reshape(*parts.shape[:-1], -1, n_bins).sum(axis=-2)
    return np.linspace(f_min, f_max, n_bins), times, np.swapaxes(power, -1, -2)


def regional(x: np.ndarray, ch_names: Sequence[str], sfreq: float) -> np.ndarray:
    """Return spectrograms of the chains LL, RL, LP, RP, shape (..., 4, 100, n_times / (2 s)), µV²/Hz.

    x has shape (..., n_chans, n_times), µV, any common reference. Each is the mean over its four bipolar pairs, at
    `REGIONAL_FREQS`, 4-s windows centred at 1, 3, 5, ... s; the signal is mirrored by 1 s at both ends, so that there
    is one column for every 2 s, as in the HMS competition's spectrograms. Raises ValueError if an electrode is missing.
    """
    n_pad = _regional_samples(sfreq)[2]
    return _chain_power(_mirrored(x, n_pad, n_pad), ch_names, sfreq)


def regional_blocks(
    read: Callable[[int, int], np.ndarray], n_times: int, ch_names: Sequence[str], sfreq: float, *, n_columns: int = 300
) -> Iterator[np.ndarray]:
    """Yield `regional` of a long recording, up to `n_columns` columns of 2 s at a time, shape (4, 100, n).

    `read(start, stop)` gives samples of a recording of `n_times`, shape (n_chans, stop - start), µV. Joined, the blocks
    are what `regional` returns for the whole; 300 columns are the 10 minutes of the HMS competition. Raises ValueError
    if an electrode is missing, or for less than 4 s.
    """
    total = n_regional_columns(n_times, sfreq)
    for first in range(0, total, n_columns):
        last = min(first + n_columns, total)
        x = read(*regional_span(n_times, sfreq, first=first, last=last))
        yield regional_columns(x, n_times, ch_names, sfreq, first=first, last=last)


def n_regional_columns(n_times: int, sfreq: float) -> int:
    """Return how many columns `regional` makes of `n_times` samples; raises ValueError for less than 4 s."""
    n_window, n_step, n_pad = _regional_samples(sfreq)
    if n_times < n_window:
        raise ValueError(f"n_times={n_times} is shorter than a window of {n_window} samples")
    return (n_times + 2 * n_pad - n_window) // n_step + 1


def regional_span(n_times: int, sfreq: float, *, first: int, last: int) -> tuple[int, int]:
    """Return the samples [start, stop) of a recording of `n_times` that columns [first, last) are made of."""
    n_window, n_step, n_pad = _regional_samples(sfreq)
    start, stop = first * n_step - n_pad, (last - 1) * n_step + n_window - n_pad
    # At least a whole window, or there would be nothing to mirror.
    return max(min(start, n_times - n_window), 0), min(max(stop, n_window), n_times)


def regional_columns(
    x: np.ndarray, n_times: int, ch_names: Sequence[str], sfreq: float, *, first: int, last: int
) -> np.ndarray:
    """Return columns [first, last) of `regional` of a recording of `n_times`, shape (4, 100, last - first), µV²/Hz.

    x holds the samples of `regional_span`, shape (n_chans, n). A sample that is NaN makes the columns that look at it
    NaN, in the chains of its electrode.
    """
    n_window, n_step, n_pad = _regional_samples(sfreq)
    start, stop = first * n_step - n_pad, (last - 1) * n_step + n_window - n_pad
    before, after = max(-start, 0), max(stop - n_times, 0)
    skip = start - (regional_span(n_times, sfreq, first=first, last=last)[0] - before)
    return _chain_power(_mirrored(x, before, after)[..., skip : skip + stop - start], ch_names, sfreq)


def _regional_samples(sfreq: float) -> tuple[int, int, int]:
    """Return the samples of a window, of a step, and of the mirror at each end."""
    seconds = (REGIONAL_WINDOW_S, REGIONAL_STEP_S, (REGIONAL_WINDOW_S - REGIONAL_STEP_S) / 2)
    n_window, n_step, n_pad = (int(round(s * sfreq)) for s in seconds)
    return n_window, n_step, n_pad


def _mirrored(x: np.ndarray, before: int, after: int) -> np.ndarray:
    return np.pad(x, [(0, 0)] * (x.ndim - 1) + [(before, after)], mode="reflect")


def _chain_power(x: np.ndarray, ch_names: Sequence[str], sfreq: float) -> np.ndarray:
    """Return the mean multitaper density of each chain's pairs, shape (..., 4, 100, n_frames)."""
    index = {name: i for i, name in enumerate(ch_names)}
    pairs = [pair for chain in CHAINS.values() for pair in chain]
    lacking = sorted({name for pair in pairs for name in pair} - set(index))
    if lacking:
        raise ValueError(f"the regional chains need electrodes that are not there: {lacking}")
    bipolar = x[..., [index[a] for a, _ in pairs], :] - x[..., [index[b] for _, b in pairs], :]
    _, _, power = multitaper(
        bipolar, sfreq, window_s=REGIONAL_WINDOW_S, step_s=REGIONAL_STEP_S,
        f_min=float(REGIONAL_FREQS[0]), f_max=float(REGIONAL_FREQS[-1]), n_bins=len(REGIONAL_FREQS),
    )  # fmt: skip
    return power.reshape(*power.shape[:-3], len(CHAINS), 4, *power.shape[-2:]).mean(axis=-3)


def _frames(x: np.ndarray, sfreq: float, n_window: int, n_step: int) -> tuple[np.ndarray, np.ndarray]:
    """Return overlapping views of shape (..., n_frames, n_window), and the seconds of their centres."""
    if n_window < 1 or n_step < 1 or x.shape[-1] < n_window:
        raise ValueError(f"no frame of {n_window} samples every {n_step} fits into n_times={x.shape[-1]}")
    if x.dtype not in (np.float32, np.float64):
        x = x.astype(np.float64)
    frames = np.lib.stride_tricks.sliding_window_view(x, n_window, axis=-1)[..., ::n_step, :]
    return frames, (np.arange(frames.shape[-2]) * n_step + n_window / 2) / sfreq


@lru_cache(maxsize=8)
def _hann(n_window: int, dtype: np.dtype) -> np.ndarray:
    return np.hanning(n_window + 1)[:-1].astype(dtype)


@lru_cache(maxsize=8)
def _taper_basis(n_window: int, sfreq: float, f_min: float, f_max: float, n_bins: int) -> np.ndarray:
    """Return cosines and sines under each taper, scaled to density, shape (n_window, 3 tapers x 2 x n_bins)."""
    from scipy.signal.windows import dpss

    tapers = dpss(n_window, NW=2, Kmax=3)
    phase = 2 * np.pi * np.arange(n_window)[:, None] * np.linspace(f_min, f_max, n_bins) / sfreq
    waves = np.concatenate([np.cos(phase), np.sin(phase)], axis=1)
    basis = (tapers.T[:, :, None] * waves[:, None, :]).reshape(n_window, -1)
    return basis * np.sqrt(2.0 / (sfreq * len(tapers)))
