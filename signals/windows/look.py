"""A bounded look at a recording: stretches spread over it, and what its unit and offsets are judged by.

A recording is more than any one place in it: electrodes are plugged in late, unplugged for a while, left lying for the
rest of the night. So it is judged by several stretches, and a few that hold no EEG do not decide.
"""

from collections.abc import Sequence

import numpy as np

from signals.conditioning.filters import GUARD, bandpass
from signals.conditioning.gaps import bridge
from signals.description.robust import median
from signals.description.systems import SCALP, ElectrodeSystem
from signals.recording.recording import Recording, UnreadableError

PLAUSIBLE_SHARE = 0.25
"""Least share of stretches of plausible size: electrodes may be off for most of a file, a unit is wrong throughout."""
_N_STRETCHES, _STRETCH_S = 8, 8.0  # for unit, offsets and mains
_N_LONG, _LONG_S = 4, 15.0  # for bad electrodes
_SHORTEST_S = 4.0  # long enough to filter, and to separate 50 from 60 Hz


def look_over(recording: Recording, picks: Sequence[int]) -> list[np.ndarray]:
    """Return up to eight stretches of 8 s spread over a recording, each (n_picks, n_times), NaN where missing.

    A recording of less than 64 s is covered whole. Stretches of less than 4 s, as between gaps, are left out where
    there are longer ones.
    """
    sfreq = recording.sfreqs[picks[0]]
    lengths = [recording.n_times(picks[0], segment) for segment in range(len(recording.segments))]
    n_stretches = min(_N_STRETCHES, max(1, int(sum(lengths) / (_STRETCH_S * sfreq))))
    n_times = round(_STRETCH_S * sfreq) if n_stretches == _N_STRETCHES else sum(lengths) // n_stretches
    ranges = spread(lengths, n_stretches, n_times)
    if longer := [part for part in ranges if part[2] - part[1] > _SHORTEST_S * sfreq]:
        ranges = longer
    return [recording.read(picks, segment=segment, start=start, stop=stop) for segment, start, stop in ranges]


def look_at(recording: Recording, picks: Sequence[int]) -> list[np.ndarray]:
    """Return four stretches of up to 15 s spread over a recording, each (n_picks, n_times), NaN where missing."""
    sfreq = recording.sfreqs[picks[0]]
    lengths = [recording.n_times(picks[0], segment) for segment in range(len(recording.segments))]
    ranges = spread(lengths, _N_LONG, int(_LONG_S * sfreq))
    return [recording.read(picks, segment=segment, start=start, stop=stop) for segment, start, stop in ranges]


def spread(lengths: Sequence[int], n_stretches: int, n_times: int) -> list[tuple[int, int, int]]:
    """Return (segment, start, stop) of stretches spread evenly over segments of `lengths` samples.

    Stretch i lies around the share (i + 1/2) / n_stretches of all samples, cut to its segment. It has `n_times`
    samples, or fewer, so that all together are no more than there are.
    """
    total, ends = sum(lengths), np.cumsum(lengths)
    n_times = min(n_times, max(total // n_stretches, 1))
    ranges = []
    for number in range(n_stretches):
        middle = int((number + 0.5) / n_stretches * total)
        segment = int(np.searchsorted(ends, middle, side="right"))
        length = lengths[segment]
        centred = middle - int(ends[segment] - length) - n_times // 2
        start = min(max(centred, 0), max(length - n_times, 0))
        ranges.append((segment, start, min(start + n_times, length)))
    return ranges


def channel_offsets(stretches: Sequence[np.ndarray]) -> tuple[float, ...]:
    """Return the median of each channel over all stretches, 0 for a channel without a sample."""
    x = np.concatenate(stretches, axis=1)
    if not np.isnan(x).any():
        return tuple(median(x, axis=1).tolist())
    present = ~np.isnan(x)
    return tuple(float(np.median(row[there])) if there.any() else 0.0 for row, there in zip(x, present, strict=True))


def plausible_amplitude(stretches: Sequence[np.ndarray], sfreq: float, *, system: ElectrodeSystem = SCALP) -> float:
    """Return the robust standard deviation within 1-35 Hz, µV: the median over channels, then over stretches.

    `stretches` are in µV. Flat channels do not count, nor do stretches of implausible size, as where a box is
    unplugged; 0 where all channels are flat. Raises UnreadableError "implausible_amplitude" where fewer than
    `PLAUSIBLE_SHARE` of the stretches are plausible.
    """
    sizes = [size for x in stretches if (size := _size(x, sfreq)) is not None]
    if not sizes:
        return 0.0
    low, high = system.plausible_uv
    plausible = [size for size in sizes if low <= size <= high]
    if len(plausible) >= PLAUSIBLE_SHARE * len(sizes):
        return float(np.median(plausible))
    size = float(np.median(sizes))
    factor = min((1e-6, 1e-3, 1e3, 1e6), key=lambda factor: abs(np.log10(size * factor / system.typical_uv)))
    off = f"{1 / factor:.0f} times too large" if factor < 1 else f"{factor:.0f} times too small"
    raise UnreadableError("implausible_amplitude", f"{size:.3g} µV within 1-35 Hz: looks {off}, check the unit")


def _size(x: np.ndarray, sfreq: float) -> float | None:
    """Return the size of a stretch within 1-35 Hz, µV, median over channels that are not flat; None where all are."""
    missing = np.isnan(x)
    x = bridge(x, missing) if missing.any() else x
    x = x[np.ptp(x, axis=1) > 0]
    if not len(x):
        return None
    if x.shape[1] > _SHORTEST_S * sfreq:
        # Offset, drift and mains hum may be of millivolts in any unit.
        x = bandpass(x, sfreq, l_freq=1.0, h_freq=min(35.0, GUARD * sfreq))
    return float(np.median(1.4826 * median(np.abs(x), axis=1)))
