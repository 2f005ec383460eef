"""Artifact flags of an electrocardiogram, in the bits of `signals.description.artifacts.KINDS`.

"flat" and "amplitude" are a detached lead, "clipped" a rail, "drift" baseline wander, "muscle", "line" and "gap" as in
EEG; "pop" and "blink" do not occur. A second without a beat is no flat one, so that flatness takes three in a row.
"""

from collections.abc import Sequence

import numpy as np

from signals.description.artifacts import BIT, Thresholds, detect, raw_seconds

FLAT_UV = 2.0
"""Peak to peak below which a lead is flat, µV."""
FLAT_S = 3
"""Seconds in a row that must be: longer than the pause of a heart at 30 beats a minute."""
RAIL_UV = 1000.0
"""Least distance of a rail from the lead's median, µV."""
RAIL_S = 0.04
WANDER_UV = 300.0
"""Least change of a second's mean within three seconds, µV."""
LARGEST_UV = 8000.0
"""Size that no beat has, µV."""
_SHARED = Thresholds(muscle_uv=30.0, line_uv=10.0, amplitude_uv=LARGEST_UV)
_FROM_EEG = BIT["muscle"] | BIT["line"] | BIT["gap"] | BIT["amplitude"]


def heart_flags(
    x: np.ndarray, sfreq: float, *, ch_names: Sequence[str], mains_hz: float | None, h_freq: float | None = None,
    missing: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """Return the bit set of every lead and second, uint16, shape (n_leads, n_seconds), of a conditioned window, µV."""
    bits = detect(
        x, sfreq, ch_names=ch_names, mains_hz=mains_hz, h_freq=h_freq, missing=missing, thresholds=_SHARED
    ) & np.uint16(_FROM_EEG)  # fmt: skip
    seconds = np.nan_to_num(x).reshape(*x.shape[:-1], -1, round(sfreq))
    gap = (bits & BIT["gap"]) > 0
    found = {"flat": _flat(seconds), "drift": _wander(seconds)}
    for kind, flag in found.items():
        bits |= np.where(flag & ~gap, BIT[kind], 0).astype(np.uint16)
    return bits


def lead_faults(x: np.ndarray, sfreq: float, *, first_s: float, onsets_s: np.ndarray) -> np.ndarray:
    """Return the bits "flat" and "clipped" of every lead and second of raw samples, µV, uint16, (n_leads, n_seconds).

    Arguments as in `signals.description.artifacts.electrode_faults`. A rail is a run of 40 ms that stays at the
    second's largest or smallest value, a millivolt or more from the lead's median.
    """
    seconds = raw_seconds(x, sfreq, first_s, onsets_s)
    bits = np.where(_flat(seconds), BIT["flat"], 0).astype(np.uint16)
    centre = np.nanmedian(x, axis=-1)[:, None] if np.isfinite(x).any() else np.zeros((len(x), 1))
    high, low = seconds.max(axis=-1), seconds.min(axis=-1)
    n_run = max(3, round(RAIL_S * sfreq))
    for limit, far in ((high, high - centre), (low, centre - low)):
        for lead, second in np.argwhere(far > RAIL_UV):
            at = np.abs(seconds[lead, second] - limit[lead, second]) <= 0.3
            if _longest(at) >= n_run:
                bits[lead, second] |= BIT["clipped"]
    return bits


def flat_leads(x: np.ndarray, sfreq: float, *, first_s: float, onsets_s: np.ndarray) -> np.ndarray:
    """Return the bit "flat" alone, as `lead_faults` gives it."""
    return np.where(_flat(raw_seconds(x, sfreq, first_s, onsets_s)), BIT["flat"], 0).astype(np.uint16)


def flat_lead_seconds(x: np.ndarray, n_seconds: int) -> np.ndarray:
    """Return which seconds of a window are flat, bool, shape (n_leads, n_seconds), as `heart_flags` flags them."""
    return _flat(x.reshape(len(x), n_seconds, -1))


def _flat(seconds: np.ndarray) -> np.ndarray:
    """Return seconds that lie in FLAT_S flat ones in a row (or all there are), bool, shape (n_leads, n_seconds)."""
    high, low = seconds.max(axis=-1), seconds.min(axis=-1)
    n = min(FLAT_S, high.shape[-1])
    flat = np.zeros(high.shape, dtype=bool)
    for start in range(high.shape[-1] - n + 1):
        part = slice(start, start + n)
        flat[:, part] |= (high[:, part].max(axis=1) - low[:, part].min(axis=1) < FLAT_UV)[:, None]
    return flat


def _wander(seconds: np.ndarray) -> np.ndarray:
    """Return seconds whose mean differs from a neighbour's by more than WANDER_UV."""
    level = seconds.mean(axis=-1)
    step = np.abs(np.diff(level, axis=-1)) > WANDER_UV
    wander = np.zeros(level.shape, dtype=bool)
    wander[..., 1:] |= step
    wander[..., :-1] |= step
    return wander


def _longest(flags: np.ndarray) -> int:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return int((edges[1::2] - edges[::2]).max(initial=0))
