"""Artifact flags, one bit set per channel and second. They mark; nothing is cut out, and clinical discharges pass.

The detectors work on harmonised, band-passed windows in µV (high-pass from 0.5 Hz). Thresholds are in µV because the
question is what an electrode can pick up, not what is unusual for this patient.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import fft

from signals.conditioning.gaps import bridge
from signals.description.pops import pops

KINDS: tuple[str, ...] = ("flat", "clipped", "drift", "muscle", "line", "pop", "blink", "gap", "amplitude")
"""Kind of the bit at each position, lowest first."""

BIT: dict[str, int] = {kind: 1 << position for position, kind in enumerate(KINDS)}

_FRONTAL = ("F3", "Fz", "F4")  # where a blink is less than half of what the poles see
_POSTERIOR = ("C3", "Cz", "C4", "P3", "Pz", "P4", "T5", "T6", "O1", "O2")  # where a blink has faded away
_N_BLOCKS = 16  # a second: 62.5 ms each, longer than a spike, shorter than a blink


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Where each detector begins to flag."""

    flat_uv: float = 0.5
    """Peak to peak of a second below which it is flat, µV: less than any amplifier's own noise."""
    clip_s: float = 0.04
    """Shortest plateau at a rail, seconds. Low-pass ringing eats about 20 ms at each end of the true one."""
    clip_min_uv: float = 50.0
    """A plateau nearer to zero than this is no rail, µV."""
    clip_curvature_uv: float = 0.3
    """Largest second difference on a plateau, µV at 256 Hz (scaled to other rates); also at most a tenth of the
    channel's 80% quantile. Curvature, because the high-pass tilts a plateau but does not bend it."""
    plateau_uv: float = 0.3
    """Largest step from sample to sample on a plateau of raw samples, µV."""
    drift_uv: float = 150.0
    """Least size of offset plus slope in a second, µV."""
    drift_alone_uv: float = 60.0
    """The same where other channels hold still."""
    drift_alone: float = 4.0
    """Least size over the median of all channels for that."""
    drift_share: float = 0.9
    """Least share of a second's power that offset and slope explain; one cycle of a 1 Hz wave reaches 0.61."""
    muscle_uv: float = 15.0
    """RMS in 20-100 Hz, µV; in a narrower band the same density counts. It must be broad (median over the spectrum)
    and last (median over 62.5-ms blocks), so neither mains nor the spikes of a discharge are muscle."""
    line_uv: float = 3.0
    """Least RMS of the mains tone, µV."""
    line_ratio: float = 10.0
    """Least power of the tone over the noise beside it (3-6 Hz away)."""
    pop_uv: float = 70.0
    """Least jump between the 100 ms before and after a step, µV."""
    pop_usual: float = 3.0
    """Least jump over the channel's own robust deviation in the window: large slow activity has steep flanks."""
    pop_ratio: float = 4.0
    """Least jump over the deviation inside of both stretches: the spike of a discharge raises it, a pop does not."""
    blink_uv: float = 50.0
    """Least deflection of Fp1 and of Fp2, same sign, for at least 125 ms, µV."""
    blink_fade: float = 0.3
    """Largest median deflection over central and posterior electrodes, as a share of that of Fp1 and Fp2."""
    blink_near_fade: float = 0.7
    """The same over F3, Fz, F4: frontal seizures and rhythmic delta are as large there as at the poles."""
    amplitude_uv: float = 500.0
    """Size above which a sample is no usual EEG, µV."""


def detect(
    x: np.ndarray,
    sfreq: float,
    *,
    ch_names: Sequence[str],
    mains_hz: float | None,
    h_freq: float | None = None,
    missing: np.ndarray | None = None,
    thresholds: Thresholds = Thresholds(),
) -> np.ndarray:
    """Return the bit set of `KINDS` of every channel and second, uint16, shape (..., n_chans, n_seconds).

    x has shape (..., n_chans, n_times), µV; `missing` (bool, broadcast against x) and NaN mark samples that are not
    there: their seconds get "gap" and, where what is left is too large, "amplitude", nothing else. `h_freq` is the
    effective low-pass edge, by default 0.45 sfreq; "muscle" looks below it, and "line" is skipped above it. Where
    `mains_hz` is None, 50 and 60 Hz are both looked for. Blinks need Fp1 and Fp2. Raises ValueError unless the window
    is whole seconds of whole samples.
    """
    n_second = int(round(sfreq))
    if n_second != sfreq or x.shape[-1] == 0 or x.shape[-1] % n_second:
        raise ValueError(f"n_times={x.shape[-1]} is not a multiple of sfreq={sfreq} whole samples a second")
    if x.shape[-2] != len(ch_names):
        raise ValueError(f"x has {x.shape[-2]} channels, ch_names {len(ch_names)}")
    h_freq = 0.45 * sfreq if h_freq is None else min(h_freq, 0.45 * sfreq)
    x, gap = _bridge_gaps(np.asarray(x, dtype=np.float32), missing)
    seconds = x.reshape(*x.shape[:-1], -1, n_second)
    gap_s = _any_in_second(gap, n_second) if gap is not None else np.zeros(seconds.shape[:-1], dtype=bool)
    high, low = seconds.max(axis=-1), seconds.min(axis=-1)
    muscle, line = _spectral(x, seconds, sfreq, mains_hz, h_freq, thresholds)
    blocks = _blocks(seconds).mean(axis=-1)
    found_pops = pops(x, n_second, least_uv=thresholds.pop_uv, usual=thresholds.pop_usual, ratio=thresholds.pop_ratio)
    flags = {
        "flat": high - low < thresholds.flat_uv,
        "clipped": _clipped(x, n_second, thresholds),
        "drift": _drift(seconds, thresholds),
        "muscle": muscle,
        "line": line,
        "pop": _any_in_second(found_pops, n_second),
        "blink": _blinks(blocks, ch_names, thresholds),
    }
    bits = np.zeros(seconds.shape[:-1], dtype=np.uint16)
    for kind, flag in flags.items():
        bits |= np.where(flag & ~gap_s, BIT[kind], 0).astype(np.uint16)
    bits |= np.where(gap_s, BIT["gap"], 0).astype(np.uint16)
    return bits | np.where(np.maximum(high, -low) > thresholds.amplitude_uv, BIT["amplitude"], 0).astype(np.uint16)


def electrode_faults(
    x: np.ndarray, sfreq: float, *, first_s: float, onsets_s: np.ndarray, thresholds: Thresholds = Thresholds()
) -> np.ndarray:
    """Return the bits "flat" and "clipped" of every channel and second of raw samples, uint16, (n_chans, n_seconds).

    Re-referencing lays the average of all channels over a dead electrode, and filters bend a rail: these two are seen
    in the file's own samples only. x has shape (n_chans, n_times), µV at `sfreq`, NaN where missing, and begins at
    `first_s`; second i begins at `onsets_s[i]`, both on the segment's clock. A plateau is a run of `clip_s` that stays
    within 0.3 µV at the second's largest or smallest value.
    """
    n_run = max(3, int(round(thresholds.clip_s * sfreq)))
    seconds = raw_seconds(x, sfreq, first_s, onsets_s)
    high, low = seconds.max(axis=-1), seconds.min(axis=-1)  # NaN where a sample is missing, which flags nothing
    span = high - low
    bits = np.where(span < thresholds.flat_uv, BIT["flat"], 0).astype(np.uint16)
    edge = 0.01 * span
    # Few seconds stay at a rail for that long, so only those are looked at one by one. A run holds two samples in a row
    # of every half a run, at least.
    coarse, large = seconds[..., :: n_run // 2], span > thresholds.clip_min_uv
    for is_at, limit in ((np.greater_equal, high - edge), (np.less_equal, low + edge)):
        near = is_at(coarse, limit[..., None])
        held = np.argwhere((near[..., 1:] & near[..., :-1]).any(axis=-1) & large)
        rail = is_at(seconds[held[:, 0], held[:, 1]], limit[held[:, 0], held[:, 1], None])
        for row in np.flatnonzero(np.count_nonzero(rail, axis=-1) >= n_run):
            (channel, second), at = held[row], rail[row]
            still = at[1:] & at[:-1] & (np.abs(np.diff(seconds[channel, second])) <= thresholds.plateau_uv)
            if _longest_run(still) >= n_run - 1:
                bits[channel, second] |= BIT["clipped"]
    return bits


def flat_electrodes(
    x: np.ndarray, sfreq: float, *, first_s: float, onsets_s: np.ndarray, thresholds: Thresholds = Thresholds()
) -> np.ndarray:
    """Return the bit "flat" alone, as `electrode_faults` gives it."""
    seconds = raw_seconds(x, sfreq, first_s, onsets_s)
    span = seconds.max(axis=-1) - seconds.min(axis=-1)
    return np.where(span < thresholds.flat_uv, BIT["flat"], 0).astype(np.uint16)


def flat_seconds(x: np.ndarray, n_seconds: int, *, thresholds: Thresholds = Thresholds()) -> np.ndarray:
    """Return which seconds of a window are flat, bool, shape (n_chans, n_seconds), as `detect` flags them."""
    seconds = x.reshape(len(x), n_seconds, -1)
    return np.asarray(seconds.max(axis=-1) - seconds.min(axis=-1) < thresholds.flat_uv)


def raw_seconds(x: np.ndarray, sfreq: float, first_s: float, onsets_s: np.ndarray) -> np.ndarray:
    """Return the raw samples of each second, shape (n_chans, n_seconds, n_second)."""
    n_second = int(sfreq)
    starts = np.floor((onsets_s - first_s) * sfreq + 1e-6).astype(np.int64)
    starts = np.clip(starts, 0, max(x.shape[-1] - n_second, 0))
    if x.shape[-1] >= n_second and (np.diff(starts) == n_second).all():  # a view is three times faster
        return x[:, starts[0] : starts[0] + starts.size * n_second].reshape(len(x), -1, n_second)
    return x[:, starts[:, None] + np.arange(min(n_second, x.shape[-1]))]


def _longest_run(flags: np.ndarray) -> int:
    """Return the length of the longest stretch of true values, shape (n,)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return int((edges[1::2] - edges[::2]).max(initial=0))


def kinds_of(bits: int) -> tuple[str, ...]:
    """Return the names of the kinds in a bit set."""
    return tuple(kind for kind in KINDS if int(bits) & BIT[kind])


def _bridge_gaps(x: np.ndarray, missing: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Return x with straight lines across what is missing (zeros if nothing is left), and the mask, None if empty."""
    gap = ~np.isfinite(x)
    if missing is not None:
        gap |= missing
    if not gap.any():
        return x, None
    return bridge(x, gap), gap


def _any_in_second(flags: np.ndarray, n_second: int) -> np.ndarray:
    return np.any(flags.reshape(*flags.shape[:-1], -1, n_second), axis=-1)


def _blocks(seconds: np.ndarray) -> np.ndarray:
    """Return sixteenths of each second, shape (..., n_seconds, 16, n_block); a remainder at its end is left out."""
    n_block = max(1, seconds.shape[-1] // _N_BLOCKS)
    n_blocks = min(_N_BLOCKS, seconds.shape[-1])
    return seconds[..., : n_blocks * n_block].reshape(*seconds.shape[:-1], n_blocks, n_block)


def _clipped(x: np.ndarray, n_second: int, thresholds: Thresholds) -> np.ndarray:
    """Return seconds with an unbent run near the channel's largest or smallest value."""
    n_run = max(2, int(round(thresholds.clip_s * n_second)))
    rows = x.reshape(-1, x.shape[-1])
    plateau = np.zeros(rows.shape, dtype=bool)
    widest = np.float32(thresholds.clip_curvature_uv * (256.0 / n_second) ** 2)
    rail = 0.7 * np.maximum(rows.max(axis=-1, keepdims=True), thresholds.clip_min_uv / 0.7)
    floor = 0.7 * np.minimum(rows.min(axis=-1, keepdims=True), -thresholds.clip_min_uv / 0.7)
    near = rows >= rail
    near |= rows <= floor
    # A quantile takes longer than all the rest, so it is computed only for rows that its bound lets through; and the
    # curvature of few samples is needed for that.
    possible = _with_runs(rows, near, widest, n_run)
    if possible.size:
        curvature = _curvature(rows[possible])
        k = int(0.8 * curvature.shape[-1])
        usual = np.partition(curvature, k, axis=-1)[:, k, None]
        still = near[possible, 1:-1] & (curvature <= np.minimum(0.1 * usual, widest))
        runs = _runs(still, n_run)
        plateau[possible, 1 : 1 + runs.shape[-1]] = runs
    return _any_in_second(plateau.reshape(x.shape), n_second)


def _curvature(rows: np.ndarray) -> np.ndarray:
    """Return the size of the second difference, shape (n_rows, n_times - 2)."""
    return np.asarray(np.abs(rows[:, 2:] - 2 * rows[:, 1:-1] + rows[:, :-2]))


def _with_runs(rows: np.ndarray, near: np.ndarray, widest: np.float32, n_run: int) -> np.ndarray:
    """Return the rows that may have `n_run` samples `near` a rail in a row, all bent by `widest` at most."""
    n_times = rows.shape[-1]
    near[:, [0, -1]] = False  # the ends have no curvature, and so no run goes from a row into the next one
    at, flat = np.flatnonzero(near), rows.reshape(-1)
    at = at[np.abs(flat[at + 1] - 2 * flat[at] + flat[at - 1]) <= widest]
    first = at[: max(at.size - n_run + 1, 0)]
    return np.unique(first[at[n_run - 1 :] - first == n_run - 1] // n_times)


def _runs(flags: np.ndarray, n_run: int) -> np.ndarray:
    """Return where `n_run` true values in a row begin, shape (n_rows, n - n_run + 1)."""
    total = np.cumsum(np.pad(flags, [(0, 0), (1, 0)]), axis=-1, dtype=np.int32)
    return np.asarray(total[:, n_run:] - total[:, :-n_run] == n_run)


def _drift(seconds: np.ndarray, thresholds: Thresholds) -> np.ndarray:
    """Return seconds that are mostly a straight line away from zero."""
    n_second = seconds.shape[-1]
    ramp = np.linspace(-1, 1, n_second, dtype=np.float32)
    ramp_power = float((ramp**2).mean())
    offset = seconds.mean(axis=-1)
    slope = (seconds @ ramp) / (n_second * ramp_power)
    power = np.einsum("...t,...t->...", seconds, seconds) / n_second
    explained = offset**2 + slope**2 * ramp_power
    size = np.abs(offset) + np.abs(slope)
    # Slow rhythmic delta is as large next door; an electrode that wanders is alone.
    alone = size > thresholds.drift_alone * np.median(size, axis=-2, keepdims=True)
    large = (size > thresholds.drift_uv) | (alone & (size > thresholds.drift_alone_uv))
    return large & (explained > thresholds.drift_share * power)


def _spectral(
    x: np.ndarray, seconds: np.ndarray, sfreq: float, mains_hz: float | None, h_freq: float, thresholds: Thresholds
) -> tuple[np.ndarray, np.ndarray]:
    """Return muscle and line flags from one Hann spectrum a second, whose bins are 1 Hz wide."""
    n_second = seconds.shape[-1]
    taper = np.hanning(n_second + 1)[:-1].astype(np.float32)
    spectrum = fft.rfft(seconds * taper, axis=-1)
    density = (spectrum.real**2 + spectrum.imag**2) * np.float32(2.0 / (sfreq * float(np.sum(taper**2))))
    muscle, line = (np.zeros(seconds.shape[:-1], dtype=bool) for _ in range(2))
    top = int(min(100.0, h_freq))
    limit = thresholds.muscle_uv**2 / 80.0
    if top > 25:
        broad = _broad(density[..., 20 : top + 1], limit)
        if (channels := broad.any(axis=-1)).any():
            muscle[channels] = broad[channels] & _lasting(x[channels], n_second, top, limit)
    for mains in (50.0, 60.0) if mains_hz is None else (mains_hz,):
        if mains <= h_freq:
            line = line | _line(density, int(round(mains)), h_freq, thresholds)
    return muscle, line


def _broad(density: np.ndarray, limit: float) -> np.ndarray:
    """Return seconds whose density passes the limit over most of its bins."""
    # The median of a periodogram's bins is ln 2 of their mean. It passes the limit where most bins do.
    n_above = np.count_nonzero(density / np.log(2.0) > limit, axis=-1)
    broad = 2 * n_above > density.shape[-1]
    if (even := 2 * n_above == density.shape[-1]).any():
        broad[even] = np.median(density[even], axis=-1) / np.log(2.0) > limit
    return np.asarray(broad)


def _line(density: np.ndarray, tone: int, h_freq: float, thresholds: Thresholds) -> np.ndarray:
    beside = [f for d in range(3, 7) for f in (tone - d, tone + d) if 1 < f <= h_freq]
    power = density[..., tone - 1 : tone + 2].sum(axis=-1)
    line = power > thresholds.line_uv**2
    if line.any():
        noise = np.median(density[line][:, beside], axis=-1)
        line[line] = power[line] > 3 * thresholds.line_ratio * noise
    return np.asarray(line)


def _lasting(x: np.ndarray, n_second: int, top: int, limit: float) -> np.ndarray:
    """Return seconds in which the 20-`top` Hz density passes the limit for most of the time."""
    freqs = np.arange(x.shape[-1] // 2 + 1) * (n_second / x.shape[-1])
    # A raised-cosine edge of 10 Hz: steeper ones smear a spike over its neighbours.
    gain = 0.5 - 0.5 * np.cos(np.pi * np.clip((freqs - 15.0) / 10.0, 0.0, 1.0))
    fast = fft.irfft(fft.rfft(x, axis=-1) * (gain * (freqs <= top)).astype(np.float32), n=x.shape[-1], axis=-1)
    power = np.square(_blocks(fast.reshape(*x.shape[:-1], -1, n_second))).mean(axis=-1)
    return np.median(power, axis=-1) > limit * (top - 20)


def _blinks(blocks: np.ndarray, ch_names: Sequence[str], thresholds: Thresholds) -> np.ndarray:
    """Return seconds with a slow deflection of both frontal poles that fades backwards.

    Marked on Fp1, Fp2 and every channel that takes part with half of the threshold.
    """
    if "Fp1" not in ch_names or "Fp2" not in ch_names:
        return np.zeros(blocks.shape[:-1], dtype=bool)
    train = blocks.reshape(*blocks.shape[:-2], -1)
    left, right = train[..., ch_names.index("Fp1"), :], train[..., ch_names.index("Fp2"), :]
    frontal = np.where(left * right > 0, np.minimum(np.abs(left), np.abs(right)), 0.0)
    high = frontal > thresholds.blink_uv
    if not high.any():
        return np.zeros(blocks.shape[:-1], dtype=bool)
    for region, share in ((_FRONTAL, thresholds.blink_near_fade), (_POSTERIOR, thresholds.blink_fade)):
        picks = [i for i, name in enumerate(ch_names) if name in region]
        if picks:
            at = high.any(axis=tuple(range(high.ndim - 1)))  # few
            high[..., at] &= np.median(np.abs(train[..., picks, :][..., at]), axis=-2) <= share * frontal[..., at]
    lasting = high.copy()
    lasting[..., 1:] &= high[..., :-1]
    first = high.copy()
    first[..., :-1] &= high[..., 1:]
    blink = (lasting | first) & high
    taking_part = np.abs(train) > 0.5 * thresholds.blink_uv
    return (taking_part & blink[..., None, :]).reshape(blocks.shape).any(axis=-1)
