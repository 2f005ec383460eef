"""A window in the terms of a critical-care report: rate, sharpness, side, lag, evolution, suppression, artifact.

One row per window. Left and right never appear by name: the side where a thing is stronger is "strong", the other
"weak", so a mirrored window has the same row. Amplitudes count relative to the window but for `log10_scale_uv`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cache

import numpy as np
from scipy import signal

from signals.electrodes import CHAINS
from signals.modality import EEG_1020
from signals.patterns.periodicity import (
    ENVELOPE_SFREQ,
    PERIODIC_HZ,
    SHARP_HZ,
    autocorrelation,
    envelope,
    repetition,
    spectral_peak,
    spectrum_of,
)
from signals.spectrograms import stft_power

SFREQ = 128.0
"""Rate that everything is computed at, Hz."""
MIDDLE_S = 14.0
"""Length of the stretch around the window's middle that is looked at apart from the whole."""
BANDS = {"slow_delta": (0.5, 1.5), "delta": (1.5, 4.0), "theta": (4.0, 8.0), "alpha": (8.0, 13.0), "beta": (13.0, 25.0),
         "muscle": (25.0, 48.0)}  # fmt: skip
_NAMES = EEG_1020.ch_names
_PAIRS = [pair for chain in ("LL", "LP", "RL", "RP") for pair in CHAINS[chain]]
_FROM = [_NAMES.index(a) for a, _ in _PAIRS]
_TO = [_NAMES.index(b) for _, b in _PAIRS]
_N_SIDE = len(_PAIRS) // 2
_FRONT = [_NAMES.index(name) for name in ("Fp1", "Fp2", "F3", "F4", "F7", "F8", "Fz")]
_BACK = [_NAMES.index(name) for name in ("P3", "P4", "Pz", "T5", "T6", "O1", "O2")]
_X = np.array([x for x, _, _ in EEG_1020.positions])
_MIRROR = [int(np.argmin(np.linalg.norm(np.array(EEG_1020.positions) - np.array([-x, y, z]), axis=1)))
           for x, y, z in EEG_1020.positions]  # fmt: skip


def pattern_features(x: np.ndarray, sfreq: float) -> dict[str, float]:
    """Return the features that a report would name of one window; x: (19, n_times) of EEG_1020, µV, at least 30 s.

    NaN counts as 0. The names and their order are the same for every window. Raises ValueError for other channels, for
    a shorter window, and for a rate that is no multiple of 128 Hz.
    """
    x, scale = _scaled(x, sfreq, least_s=30)
    waves = _waves(x)
    n_middle = int(MIDDLE_S * SFREQ)
    start = (x.shape[1] - n_middle) // 2
    values: dict[str, float] = {"log10_scale_uv": float(np.log10(scale))}
    for name, part in (("whole", waves), ("middle", waves.part(start, start + n_middle))):
        values |= {f"{name}_{key}": value for key, value in _stretch(part)}
    return _finite(values | dict(_evolution(waves.bipolar)) | dict(_seconds(waves)))


def stretch_features(x: np.ndarray, sfreq: float) -> dict[str, float]:
    """Return what holds of one stretch alone: spectrum, repetition, form, side, place; amplitudes count relative to it.

    x: as in `pattern_features`, but of at least 10 s; it raises the same errors.
    """
    return _finite(dict(_stretch(_waves(_scaled(x, sfreq, least_s=10)[0]))))


def _scaled(x: np.ndarray, sfreq: float, *, least_s: float) -> tuple[np.ndarray, float]:
    """Return a window at `SFREQ` in units of its scale, clipped, and the scale in µV."""
    if x.shape[0] != len(_NAMES) or x.shape[1] < least_s * sfreq:
        raise ValueError(f"x has shape {x.shape}; it needs {len(_NAMES)} channels and {least_s:g} s at sfreq={sfreq}")
    if sfreq % SFREQ:
        raise ValueError(f"sfreq={sfreq} is no multiple of {SFREQ:g} Hz")
    x = np.nan_to_num(np.asarray(x, dtype=np.float64))
    x = signal.decimate(x, int(sfreq // SFREQ), ftype="fir", axis=1) if sfreq > SFREQ else x
    scale = _scale(x)
    return np.clip(x / scale, -20, 20), scale


def _finite(values: dict[str, float]) -> dict[str, float]:
    return dict(zip(values, np.nan_to_num(np.array(list(values.values()), dtype=np.float64)).tolist(), strict=True))


@dataclass(frozen=True, kw_only=True)
class _Waves:
    """A stretch at `SFREQ`, and its bands; each was filtered once, over the whole window."""

    x: np.ndarray
    """(19, n_times), in units of the window's scale."""
    bipolar: np.ndarray
    """(16, n_times); so are `delta` and `faster`."""
    delta: np.ndarray
    faster: np.ndarray
    slow_field: np.ndarray
    """(19, n_times); so is `sharp_field`."""
    sharp_field: np.ndarray
    envelope: np.ndarray
    """Of sharpness, (16, n_times * ENVELOPE_SFREQ / SFREQ)."""

    def part(self, start: int, stop: int) -> "_Waves":
        """Return samples [start, stop)."""
        step = int(SFREQ / ENVELOPE_SFREQ)
        cut = {each.name: getattr(self, each.name)[:, start:stop] for each in fields(self)}
        return _Waves(**cut | {"envelope": self.envelope[:, start // step : stop // step]})


def _waves(x: np.ndarray) -> _Waves:
    scalp = spectrum_of(x, SFREQ)
    pairs = scalp.pairs(_FROM, _TO)
    return _Waves(
        x=x, bipolar=x[_FROM] - x[_TO], delta=pairs.band(2, (0.5, 5.0)), faster=pairs.band(2, (2.3, 20.0)),
        slow_field=scalp.band(2, (0.7, 4.5)), sharp_field=scalp.band(2, (5.0, 20.0)),
        envelope=envelope(pairs.band(3, SHARP_HZ), SFREQ),
    )  # fmt: skip


@cache
def pattern_names() -> tuple[str, ...]:
    """Return the names of the features, in order."""
    return tuple(pattern_features(np.random.default_rng(0).normal(size=(len(_NAMES), int(30 * SFREQ))), SFREQ))


@cache
def stretch_names() -> tuple[str, ...]:
    """Return the names of the features of a stretch, in order."""
    return tuple(stretch_features(np.random.default_rng(0).normal(size=(len(_NAMES), int(10 * SFREQ))), SFREQ))


def _scale(x: np.ndarray) -> float:
    """Return the median over electrodes of their usual RMS in a second, at least 1 µV."""
    seconds = x[:, : int(x.shape[1] // SFREQ * SFREQ)].reshape(len(x), -1, int(SFREQ))
    return max(1.0, float(np.median(np.median(np.sqrt((seconds**2).mean(axis=2)), axis=1))))


Named = Iterator[tuple[str, float]]


def _stretch(waves: _Waves) -> Named:
    """Yield what holds of one stretch: spectrum, repetition, form, side and place."""
    freqs, _, power = stft_power(waves.bipolar, SFREQ, window_s=4.0, step_s=1.0)
    density = power.mean(axis=-1)
    sides = np.stack([density[:_N_SIDE].mean(axis=0), density[_N_SIDE:].mean(axis=0)])
    inside = (freqs >= 0.5) & (freqs <= 48)
    order = np.argsort(sides[:, (freqs >= 0.5) & (freqs < 25)].sum(axis=-1))[::-1]
    yield from _spectrum(freqs, sides[order], inside)
    yield from _repeats(waves)
    yield from _form(waves.bipolar)
    yield from _places(waves)


def _spectrum(freqs: np.ndarray, sides: np.ndarray, inside: np.ndarray) -> Named:
    """Yield shares of the bands, peaks and slope of the strong side, and how much less of each the weak side has."""
    total = sides[:, inside].sum(axis=-1)
    for band, (low, high) in BANDS.items():
        power = sides[:, (freqs >= low) & (freqs < high)].sum(axis=-1)
        yield f"{band}_share_strong", power[0] / max(total[0], 1e-12)
        yield f"{band}_share_weak", power[1] / max(total[1], 1e-12)
        yield f"{band}_asymmetry", (power[0] - power[1]) / max(power.sum(), 1e-12)
    for name, band_hz in (("slow", (0.5, 4.5)), ("fast", (4.0, 20.0)), ("any", (0.75, 13.0))):
        whiten = freqs if name != "slow" else np.ones_like(freqs)
        peak_hz, share, octave = spectral_peak(freqs, sides * whiten, band_hz=band_hz)
        for side, label in enumerate(("strong", "weak")):
            yield f"{name}_peak_hz_{label}", peak_hz[side]
            yield f"{name}_peak_share_{label}", share[side]
            yield f"{name}_octave_{label}", min(octave[side], 5.0)
    log_f, log_p = np.log(freqs[inside]), np.log(sides[0][inside] + 1e-9)
    yield "slope", np.polyfit(log_f, log_p, 1)[0]


def _repeats(waves: _Waves) -> Named:
    """Yield strength, rate and extent of what repeats, in sharpness, in delta and in faster waves."""
    lags, envelope = int(2.1 * ENVELOPE_SFREQ / PERIODIC_HZ[0]), waves.envelope
    # One artifact must not be all there is: nothing counts for more than five times the usual height.
    capped = np.minimum(envelope, 5 * np.quantile(envelope, 0.75, axis=-1, keepdims=True))
    yield from _repetitions(autocorrelation(capped, lags), ENVELOPE_SFREQ, PERIODIC_HZ, "sharpness")
    for name, band, search in (("delta", waves.delta, (0.5, 4.5)), ("faster", waves.faster, (2.5, 16.0))):
        yield from _repetitions(autocorrelation(band, int(2.1 * SFREQ / search[0])), SFREQ, search, name)
    left, right = _weighted(envelope[:_N_SIDE]), _weighted(envelope[_N_SIDE:])
    yield "sharpness_left_right", _correlation(left, right)
    yield "sharpness_asymmetry", abs(left.mean() - right.mean()) / max(left.mean() + right.mean(), 1e-12)


def _repetitions(correlation: np.ndarray, sfreq: float, band_hz: tuple[float, float], name: str) -> Named:
    """Yield what repeats by side. Derivations count alike, whatever their power: an artifact has power, no company."""
    peaks = repetition(correlation, sfreq, band_hz=band_hz)
    sides = peaks.strength.reshape(2, _N_SIDE)
    best = np.sort(sides, axis=1)[:, -3:].mean(axis=1)
    order = np.argsort(best)[::-1]
    means = correlation.reshape(2, _N_SIDE, -1).mean(axis=1)[order]
    common = repetition(np.concatenate([means, means.mean(axis=0, keepdims=True)]), sfreq, band_hz=band_hz)
    for row, side in enumerate(("strong", "weak", "both")):
        yield f"{name}_repeats_{side}", common.strength[row]
        yield f"{name}_rate_hz_{side}", common.rate_hz[row]
        yield f"{name}_second_{side}", common.second[row]
        yield f"{name}_dip_{side}", common.dip[row]
    for row, side in enumerate(("strong", "weak")):
        yield f"{name}_best_{side}", best[order[row]]
        yield f"{name}_median_{side}", float(np.median(sides[order[row]]))
    distance = np.abs(np.log((peaks.rate_hz[:, None] + 0.05) / (peaks.rate_hz[None] + 0.05)))
    support = ((distance < 0.12) * peaks.strength[None]).sum(axis=1)
    leader = int(support.argmax())
    agree = ((distance[leader] < 0.12) * peaks.strength).reshape(2, 2, 4)  # side, chain, place from front to back
    extent = np.sort(agree.sum(axis=(1, 2)))
    weight = agree.ravel()
    yield f"{name}_agreed_hz", float((weight * peaks.rate_hz).sum() / max(weight.sum(), 1e-9))
    yield f"{name}_extent_strong", extent[1]
    yield f"{name}_extent_weak", extent[0]
    yield f"{name}_extent_one_sided", (extent[1] - extent[0]) / max(extent.sum(), 1e-9)
    yield f"{name}_extent_front", agree[:, :, 0].sum() / max(agree.sum(), 1e-9)
    yield f"{name}_extent_back", agree[:, :, 3].sum() / max(agree.sum(), 1e-9)


def _weighted(envelope: np.ndarray) -> np.ndarray:
    """Return the mean envelope in which electrodes count by how peaked they are, shape (n_times,)."""
    weight = envelope.var(axis=-1, keepdims=True)
    return np.asarray((envelope * weight).sum(axis=0) / max(float(weight.sum()), 1e-12))


def _form(bipolar: np.ndarray) -> Named:
    """Yield how peaked, lopsided and sharp waves are on the side where they are more so."""
    spread = np.maximum(bipolar.std(axis=-1), 1e-6)
    square = bipolar * bipolar
    kurtosis = (square * square).mean(axis=-1) / spread**4
    bend = np.diff(bipolar, n=2, axis=-1)
    bend_spread, bend_square = np.maximum(bend.std(axis=-1), 1e-6), bend * bend
    bend_kurtosis = (bend_square * bend_square).mean(axis=-1) / bend_spread**4
    values = {
        "kurtosis": np.log(np.maximum(kurtosis, 1e-3)),
        "skewness": np.abs((square * bipolar).mean(axis=-1)) / spread**3,
        "sharpness": bend_spread / spread,
        "bend_kurtosis": np.log(np.maximum(bend_kurtosis, 1e-3)),
        "size": np.log(spread),
    }
    for name, value in values.items():
        halves = np.sort([np.median(value[:_N_SIDE]), np.median(value[_N_SIDE:])])
        yield f"{name}_strong", halves[1]
        yield f"{name}_weak", halves[0]
        yield f"{name}_largest", value.max()


def _places(waves: _Waves) -> Named:
    """Yield the field of slow and of sharp activity: how much one map explains, and where that map lies."""
    for name, scalp in (("slow", waves.slow_field), ("sharp", waves.sharp_field)):
        covariance = np.cov(scalp)
        values, vectors = np.linalg.eigh(covariance)
        power, field = np.maximum(values[::-1], 0), vectors[:, -1]
        yield f"{name}_first_map", power[0] / max(power.sum(), 1e-12)
        yield f"{name}_second_map", power[1] / max(power.sum(), 1e-12)
        square = field**2
        yield f"{name}_map_mirror", float(field @ field[_MIRROR])
        yield f"{name}_map_one_sided", abs(square[_X < -0.1].sum() - square[_X > 0.1].sum())
        yield f"{name}_map_frontal", square[_FRONT].sum()
        yield f"{name}_map_back", square[_BACK].sum()
        yield f"{name}_map_focal", square.max()
        variance = np.diag(covariance)
        yield f"{name}_front_to_back", np.log((variance[_FRONT].mean() + 1e-9) / (variance[_BACK].mean() + 1e-9))
        # Correlations of derivations follow from the covariance of electrodes.
        pair = covariance[_FROM] - covariance[_TO]
        pair = pair[:, _FROM] - pair[:, _TO]
        size = np.maximum(np.diag(pair), 0.0)
        across = np.diag(pair[:_N_SIDE, _N_SIDE:])
        pairs = across / np.maximum(np.sqrt(size[:_N_SIDE] * size[_N_SIDE:]), 1e-12)
        yield f"{name}_left_right", float(np.mean(pairs))
        yield f"{name}_left_right_most", np.max(pairs)


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float((a @ b) / max(np.sqrt((a @ a) * (b @ b)), 1e-12))


def _evolution(bipolar: np.ndarray) -> Named:
    """Yield how rate, power and repetition change over the window, frames of 5 s, on the side of more power."""
    freqs, times, power = stft_power(bipolar, SFREQ, window_s=5.0, step_s=2.5)
    sides = np.stack([power[:_N_SIDE].mean(axis=0), power[_N_SIDE:].mean(axis=0)])
    inside = (freqs >= 1.0) & (freqs <= 20.0)
    main = sides[int(sides[1][inside].sum() > sides[0][inside].sum())]
    white = main[inside] * freqs[inside, None]
    peak = freqs[inside][white.argmax(axis=0)]
    centroid = (freqs[inside, None] * white).sum(axis=0) / np.maximum(white.sum(axis=0), 1e-12)
    middle = np.abs(times - times.mean()) <= 6
    for name, track in (
        ("peak", np.log(peak)), ("centroid", np.log(np.maximum(centroid, 0.1))),
        *((band, np.log(main[(freqs >= low) & (freqs < high)].sum(axis=0) + 1e-6))
          for band, (low, high) in (("delta", (0.5, 2.5)), ("ictal", (2.5, 12.0)), ("beta", (12.0, 30.0)))),
    ):  # fmt: skip
        yield f"{name}_trend", np.corrcoef(track, times)[0, 1] * track.std() if track.std() > 1e-9 else 0.0
        yield f"{name}_trend_size", abs(np.polyfit(times, track, 1)[0]) * 50
        yield f"{name}_range", np.quantile(track, 0.9) - np.quantile(track, 0.1)
        yield f"{name}_step", np.abs(np.diff(track)).mean()
        yield f"{name}_middle", track[middle].mean() - track[~middle].mean()


def _seconds(waves: _Waves) -> Named:
    """Yield suppression, bursts, blinks, muscle and the count and likeness of discharges."""
    x, bipolar = waves.x, waves.bipolar
    n_half = int(SFREQ // 2)
    frames = bipolar[:, : bipolar.shape[1] // n_half * n_half].reshape(len(bipolar), -1, n_half)
    size = np.median(frames.std(axis=-1), axis=0)
    low, mid, high = np.quantile(size, [0.1, 0.5, 0.95])
    yield "suppressed", np.log((low + 1e-6) / (mid + 1e-6))
    yield "bursts", np.log((high + 1e-6) / (mid + 1e-6))
    fp, others = x[_FRONT[:2]].mean(axis=0), x[[_NAMES.index(n) for n in ("C3", "C4", "Cz", "P3", "P4", "Pz")]]
    yield "blinks", float(np.log((np.quantile(np.abs(fp), 0.98) + 1e-6) / (np.quantile(np.abs(others), 0.98) + 1e-6)))
    worst = np.sort(x.std(axis=-1))
    yield "worst_electrode", np.log((worst[-1] + 1e-6) / (np.median(worst) + 1e-6))
    yield from _discharges(bipolar, waves.envelope)


def _discharges(bipolar: np.ndarray, envelope: np.ndarray) -> Named:
    """Yield rate, regularity, prominence and likeness of the sharpest transients of the sharper side."""
    halves = np.stack([_weighted(envelope[:_N_SIDE]), _weighted(envelope[_N_SIDE:])])
    side = int(halves[1].std() / max(halves[1].mean(), 1e-9) > halves[0].std() / max(halves[0].mean(), 1e-9))
    track, usual = halves[side], float(np.median(halves[side]))
    at, _ = signal.find_peaks(track, height=1.6 * usual, distance=int(0.18 * ENVELOPE_SFREQ), prominence=0.6 * usual)
    yield "discharges_per_s", at.size * ENVELOPE_SFREQ / track.size
    yield "discharge_height", np.log(np.median(track[at]) / max(usual, 1e-9)) if at.size else 0.0
    gaps = np.diff(at) / ENVELOPE_SFREQ
    yield "interval_spread", np.std(np.log(gaps)) if gaps.size > 3 else 2.0
    yield "interval_s", np.median(gaps) if gaps.size > 3 else 10.0
    rows = bipolar[side * _N_SIDE : (side + 1) * _N_SIDE]
    reach, places = int(0.25 * SFREQ), (at * SFREQ / ENVELOPE_SFREQ).astype(int)
    places = places[(places >= reach) & (places < rows.shape[1] - reach)]
    if places.size < 4:
        yield "discharge_likeness", 0.0
        return
    cut = np.stack([rows[:, p - reach : p + reach].ravel() for p in places])
    cut = cut - cut.mean(axis=1, keepdims=True)
    cut /= np.maximum(np.linalg.norm(cut, axis=1, keepdims=True), 1e-9)
    n = len(cut)
    yield "discharge_likeness", (np.square(cut.sum(axis=0)).sum() - n) / (n * (n - 1))
