"""Heart beats in a stretch of leads: where the R waves are, and the beat that is typical of the stretch."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

_BAND_HZ = (5.0, 25.0)  # where a QRS complex has its energy and P, T and wander have little
_SMOOTH_S = 0.08
_APART_S = 0.24  # 250 beats a minute
_T_WAVE_S = 0.36  # within which a smaller deflection after a beat is its T wave (Pan & Tompkins 1985)
_BEFORE_S, _AFTER_S = 0.35, 0.55  # of a typical beat around its R wave


@dataclass(frozen=True)
class TypicalBeat:
    """The median of a stretch's beats."""

    x: np.ndarray
    """µV, shape (n_leads, n_times), against the level just before the QRS complex."""
    r: int
    """Sample of the R wave."""
    qrs: tuple[int, int]
    """First and last sample of the QRS complex."""


def r_peaks(x: np.ndarray, sfreq: float) -> np.ndarray:
    """Return the samples of the R waves, int64, shape (n_beats,), of leads (n_leads, n_times), µV, without NaN.

    All leads vote: the size of the slope over leads within 5-25 Hz, smoothed, has its peaks where beats are; a limit
    that follows the usual peak takes them, a lower one looks again where a beat is overdue, and a smaller peak right
    after a beat is its T wave (after Pan & Tompkins 1985, doi:10.1109/TBME.1985.325532). A stretch whose largest slope
    is no more than noise has none.
    """
    from scipy import signal

    n_times = x.shape[-1]
    if n_times < sfreq or not np.ptp(x, axis=-1).any():
        return np.zeros(0, dtype=np.int64)
    high = min(_BAND_HZ[1], 0.45 * sfreq)
    sos = signal.butter(2, (_BAND_HZ[0], high), btype="bandpass", fs=sfreq, output="sos")
    fast = signal.sosfiltfilt(sos, x.astype(np.float64), axis=-1)
    slope = np.sqrt(np.square(np.gradient(fast, axis=-1)).mean(axis=0)) * sfreq
    size = _smooth(slope, round(_SMOOTH_S * sfreq))
    found, _ = signal.find_peaks(size, distance=max(1, round(_APART_S * sfreq)))
    if not found.size:
        return np.zeros(0, dtype=np.int64)
    local = _local_height(size, found, sfreq)
    strong = found[size[found] >= 0.4 * local]
    strong = _with_overdue(strong, found, size, local, sfreq)
    beats = _without_t_waves(strong, size, sfreq)
    if np.median(size[beats]) < 4.0 * np.median(size) and np.median(size[beats]) < 3.0 * np.percentile(size, 25):
        return np.zeros(0, dtype=np.int64)
    return _on_wave(beats, np.sqrt(np.square(fast).mean(axis=0)), sfreq)


def _smooth(x: np.ndarray, n: int) -> np.ndarray:
    return np.convolve(x, np.ones(max(n, 1)) / max(n, 1), mode="same")


def _local_height(size: np.ndarray, found: np.ndarray, sfreq: float) -> np.ndarray:
    """Return the usual height of the largest peak a second and a half around each peak, over ten seconds."""
    n_part = round(1.5 * sfreq)
    parts = np.array([size[at : at + n_part].max() for at in range(0, max(len(size) - n_part // 2, 1), n_part)])
    here = np.minimum(found // n_part, len(parts) - 1)
    return np.array([np.median(parts[max(i - 3, 0) : i + 4]) for i in here])


def _with_overdue(
    strong: np.ndarray, found: np.ndarray, size: np.ndarray, local: np.ndarray, sfreq: float
) -> np.ndarray:
    """Return the beats with lower peaks where the next one takes longer than 1.66 of the usual interval, or the
    stretch goes on for longer than the usual one before its first and after its last."""
    if strong.size < 2:
        return strong
    usual = np.median(np.diff(strong))
    outside = [strong[0] - 2 * usual, *strong.tolist(), strong[-1] + 2 * usual]
    added = []
    for before, after in pairwise(outside):
        if after - before > 1.66 * usual:
            n_apart = round(_T_WAVE_S * sfreq)
            between = np.flatnonzero((found > before + n_apart) & (found < after - n_apart / 2))
            if between.size:
                best = between[np.argmax(size[found[between]])]
                if size[found[best]] >= 0.2 * local[best]:
                    added.append(found[best])
    return np.sort(np.concatenate([strong, np.array(added, dtype=strong.dtype)]))


def _without_t_waves(beats: np.ndarray, size: np.ndarray, sfreq: float) -> np.ndarray:
    kept: list[int] = []
    for at in beats.tolist():
        if kept and at - kept[-1] < _T_WAVE_S * sfreq and size[at] < 0.5 * size[kept[-1]]:
            continue
        kept.append(at)
    return np.array(kept, dtype=np.int64)


def _on_wave(beats: np.ndarray, height: np.ndarray, sfreq: float) -> np.ndarray:
    """Return the largest deflection within 60 ms of each beat."""
    reach = round(0.06 * sfreq)
    starts = np.maximum(beats - reach, 0)
    return np.array([a + int(np.argmax(height[a : b + reach + 1])) for a, b in zip(starts, beats, strict=True)])


def typical_beat(x: np.ndarray, sfreq: float, beats: np.ndarray) -> TypicalBeat | None:
    """Return the median beat of leads, µV; None without two whole beats."""
    before, after = round(_BEFORE_S * sfreq), round(_AFTER_S * sfreq)
    whole = beats[(beats >= before) & (beats + after <= x.shape[-1])]
    if whole.size < 2:
        return None
    median = np.median(x[:, whole[:, None] + np.arange(-before, after)], axis=1)
    qrs = _qrs(median, before, sfreq)
    level = median[:, max(qrs[0] - round(0.03 * sfreq), 0) : qrs[0] + 1].mean(axis=1, keepdims=True)
    return TypicalBeat(median - level, before, qrs)


def _qrs(beat: np.ndarray, r: int, sfreq: float) -> tuple[int, int]:
    """Return where the slope over leads rises above and falls below an eighth of its largest, 140 ms at most from R."""
    slope = np.sqrt(np.square(np.gradient(beat, axis=-1)).sum(axis=0))
    slope = _smooth(slope, round(0.016 * sfreq))
    reach = round(0.14 * sfreq)
    limit = slope[max(r - reach // 2, 0) : r + reach // 2].max() / 8
    left, right = slope[r - reach : r + 1] < limit, slope[r : r + reach + 1] < limit
    n_hold = max(1, round(0.012 * sfreq))
    start = next((i for i in range(reach, n_hold - 1, -1) if left[i - n_hold : i].all()), 0)
    stop = next((i for i in range(reach - n_hold) if right[i + 1 : i + 1 + n_hold].all()), reach)
    return r - reach + start, r + stop
