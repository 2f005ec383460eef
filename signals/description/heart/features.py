"""Numbers that describe each lead of a window: rate, intervals, amplitudes.

Intervals and rate are of the heart, the same on every lead; amplitudes are a lead's own, of the median beat, against
the level just before the QRS complex. Simple measurements for description and for classical models: waves with their
ends, beat by beat, are what delineation is for.
"""

import numpy as np

from signals.description.features import Spectrum
from signals.description.heart.beats import TypicalBeat, r_peaks, typical_beat

HEART_FEATURES: tuple[str, ...] = (
    "std_uv", "peak_to_peak_uv", "p_uv", "q_uv", "r_uv", "s_uv", "st_uv", "t_uv", "qrs_area_uv_s",
    "rate_bpm", "rr_mean_s", "rr_sd_s", "rr_rmssd_s", "pr_s", "qrs_s", "qt_s", "qtc_s", "p_share", "log10_fast_uv2",
)  # fmt: skip
"""Columns of `heart_features`, in order. "st" is 60 ms behind the QRS complex, "qtc" Fridericia's, "p_share" the
largest P over the largest R, and "fast" the power above 20 Hz."""


def heart_features(x: np.ndarray, sfreq: float, *, of: Spectrum | None = None) -> np.ndarray:
    """Return one row of HEART_FEATURES per lead, float32, shape (n_leads, n_features), of leads in µV.

    What cannot be measured, for want of beats, is nan. `of` is the window's spectrum.
    """
    x = np.nan_to_num(np.asarray(x, dtype=np.float64))
    beats = r_peaks(x, sfreq)
    beat = typical_beat(x, sfreq, beats)
    amplitudes = np.full((len(x), 7), np.nan) if beat is None else _amplitudes(beat, sfreq)
    of_heart = np.concatenate([_rates(beats, sfreq), _intervals(beat, beats, sfreq)])
    fast = np.full(len(x), np.nan)
    if of is not None:
        freqs, density = of
        above = density[:, freqs >= 20].sum(axis=-1) * (freqs[1] - freqs[0])
        fast = np.log10(np.maximum(above, 1e-6))
    columns = [
        x.std(axis=-1)[:, None], np.ptp(x, axis=-1)[:, None], amplitudes, np.tile(of_heart, (len(x), 1)), fast[:, None]
    ]  # fmt: skip
    return np.concatenate(columns, axis=1).astype(np.float32)


def _rates(beats: np.ndarray, sfreq: float) -> np.ndarray:
    """Return rate, mean, standard deviation and RMSSD of the intervals between beats."""
    rr = np.diff(beats) / sfreq
    if rr.size < 1:
        return np.full(4, np.nan)
    steps = np.diff(rr)
    return np.array([60 / rr.mean(), rr.mean(), rr.std(), np.sqrt(np.mean(np.square(steps))) if steps.size else np.nan])


def _amplitudes(beat: TypicalBeat, sfreq: float) -> np.ndarray:
    """Return P, Q, R, S, ST, T and the QRS complex's area of each lead."""
    x, (on, off) = beat.x, beat.qrs
    inside = x[:, on : off + 1]
    p, t = _p_stretch(beat, sfreq), x[:, off + round(0.08 * sfreq) :]
    at_r = np.argmax(inside, axis=1)
    before = np.array([row[: at + 1].min() for row, at in zip(inside, at_r, strict=True)])
    after = np.array([row[at:].min() for row, at in zip(inside, at_r, strict=True)])
    st = x[:, min(off + round(0.06 * sfreq), x.shape[1] - 1)]
    return np.stack(
        [_largest(p), before, inside.max(axis=1), after, st, _largest(t), inside.sum(axis=1) / sfreq], axis=1
    )


def _p_stretch(beat: TypicalBeat, sfreq: float) -> np.ndarray:
    on = beat.qrs[0]
    return beat.x[:, max(on - round(0.24 * sfreq), 0) : max(on - round(0.02 * sfreq), 1)]


def _largest(x: np.ndarray) -> np.ndarray:
    """Return the sample farthest from 0 of each row, with its sign; nan where there is none."""
    if not x.shape[1]:
        return np.full(len(x), np.nan)
    return np.take_along_axis(x, np.abs(x).argmax(axis=1)[:, None], axis=1)[:, 0]


def _intervals(beat: TypicalBeat | None, beats: np.ndarray, sfreq: float) -> np.ndarray:
    """Return PR, QRS, QT, Fridericia's QT, seconds, and the share of the P wave."""
    if beat is None:
        return np.full(5, np.nan)
    on, off = beat.qrs
    size = np.sqrt(np.square(beat.x).mean(axis=0))
    p = _p_stretch(beat, sfreq)
    height = np.sqrt(np.square(p - np.median(p, axis=1, keepdims=True)).mean(axis=0))
    share = float(height.max() / max(size[on : off + 1].max(), 1e-6))
    rises = np.flatnonzero(height > 0.5 * height.max())
    p_onset = max(on - round(0.24 * sfreq), 0) + rises[0] - round(0.03 * sfreq)
    tail = size[off + round(0.08 * sfreq) :]
    t_end = off + round(0.08 * sfreq) + _fall(tail) if tail.size else off
    rr = np.diff(beats).mean() / sfreq
    qt = (t_end - on) / sfreq
    return np.array([(on - p_onset) / sfreq, (off - on + 1) / sfreq, qt, qt / np.cbrt(rr), share])


def _fall(tail: np.ndarray) -> int:
    """Return where a wave has fallen to a fifth of its peak."""
    peak = int(np.argmax(tail))
    low = np.flatnonzero(tail[peak:] < 0.2 * tail[peak])
    return peak + int(low[0]) if low.size else len(tail) - 1
