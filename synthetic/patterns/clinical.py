"""The patterns of one subject in textbook form: periodic discharges, rhythmic delta and seizures.

Terms and limits follow Hirsch et al., American Clinical Neurophysiology Society's Standardized Critical Care EEG
Terminology: 2021 Version, J Clin Neurophysiol 38:1-29: periodic discharges repeat at nearly regular intervals, each
shorter than 0.5 s; rhythmic delta is a uniform rhythm of 0.5 to 4 Hz without an interval between its waves; an
electrographic seizure is faster than 2.5 Hz, or evolves in frequency, form or place.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from synthetic.patterns.pattern import Pattern, check_patterned
from synthetic.patterns.waves import discharge, gate, pointed, rhythm_phase
from synthetic.subject.grid import Grid
from synthetic.subject.sources import SOURCES, near, slow_noise
from synthetic.subject.sources import field as scalp_field
from synthetic.subject.subjects import Subject
from synthetic.subject.truth import Event

_LATERAL = ("sharp", "blunt", "spike-wave", "polyspike")
_GENERALISED = ("sharp", "blunt", "spike-wave", "triphasic", "triphasic")
_FADE_S = 0.7


@dataclass(frozen=True)
class Clinical:
    """The patterns of one subject."""

    subject: Subject

    def draw(self, rng: np.random.Generator, label: str, grid: Grid) -> Pattern:
        """Return a pattern of a class; it covers at least the segment's middle 14 s."""
        check_patterned(label)
        subject = self.subject
        if label in ("LPD", "GPD"):
            return _periodic(rng, grid, subject, lateral=label == "LPD")
        if label in ("LRDA", "GRDA"):
            return _rhythmic(rng, grid, subject, lateral=label == "LRDA")
        return _generalised_seizure(rng, grid) if rng.random() < 0.3 else _focal_seizure(rng, grid, subject)


def _pattern(
    data: ArrayLike,
    variant: str,
    span_s: tuple[float, float],
    rate_hz: tuple[float, float],
    events: tuple[Event, ...],
    *,
    lateral: bool,
) -> Pattern:
    return Pattern(
        data=np.asarray(data, np.float32), variant=variant, span_s=span_s, rate_hz=rate_hz, lateral=lateral,
        events=events,
    )  # fmt: skip


def _span(rng: np.random.Generator, grid: Grid, *, whole: float = 0.6) -> tuple[float, float]:
    """Return the pattern's start and stop: the whole segment, or a run that covers the middle 14 s."""
    length = grid.n_times / grid.sfreq
    if rng.random() < whole:
        return 0.0, length
    reach = max(length / 2 - 7, 0.0)
    return float(rng.uniform(0, reach)), float(length - rng.uniform(0, reach))


def _lateral_maps(rng: np.random.Generator, grid: Grid, subject: Subject) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return maps of the focus, of a wider patch around it, and of its mirror image; each shape (n_chans,)."""
    focus = np.array(subject.focus) + rng.normal(0, 0.06, 3)
    width = float(rng.uniform(0.2, 0.5))
    side = np.sign(subject.focus[0])
    own_side = (SOURCES[:, 0] * side > -0.1).astype(float)
    mirrored = focus * np.array([-1.0, 1.0, 1.0])
    return (
        scalp_field(grid.positions, near(SOURCES, focus, width) * own_side),
        scalp_field(grid.positions, near(SOURCES, focus, 2 * width) * own_side),
        scalp_field(grid.positions, near(SOURCES, mirrored, width)),
    )


def _generalised_maps(rng: np.random.Generator, grid: Grid, *, frontal: float) -> tuple[np.ndarray, np.ndarray, str]:
    """Return maps of a front and a back patch, both across the midline, and which of them leads."""
    lean = 1 + rng.normal(0, 0.04) * SOURCES[:, 0]
    front = near(SOURCES, np.array([0.0, rng.uniform(0.45, 0.85), 0.6]), float(rng.uniform(0.6, 0.9))) * lean
    back = near(SOURCES, np.array([0.0, rng.uniform(-0.85, -0.45), 0.6]), float(rng.uniform(0.5, 0.8))) * lean
    fade = float(rng.uniform(0.15, 0.7))
    leads = "frontal" if rng.random() < frontal else "diffuse" if rng.random() < 0.6 else "posterior"
    share = {"frontal": (1.0, fade), "diffuse": (1.0, 0.95), "posterior": (fade, 1.0)}[leads]
    return share[0] * scalp_field(grid.positions, front), share[1] * scalp_field(grid.positions, back), leads


def _train(grid: Grid, times_s: np.ndarray, heights: np.ndarray, wave: np.ndarray) -> np.ndarray:
    """Return discharges of the given heights with their sharp peaks at the given times, shape (n_times,)."""
    half = wave.size // 2
    out = np.zeros(grid.n_times + 2 * wave.size)
    for at, height in zip(np.rint(times_s * grid.sfreq).astype(int), heights, strict=True):
        start = at - half + wave.size
        if 0 <= start <= out.size - wave.size:
            out[start : start + wave.size] += height * wave
    return out[wave.size : wave.size + grid.n_times]


def _periodic(rng: np.random.Generator, grid: Grid, subject: Subject, *, lateral: bool) -> Pattern:
    rate = float(np.clip(subject.rate_hz * rng.lognormal(0, 0.15), 0.4, 2.5))
    jitter = float(rng.uniform(0.02, 0.12))
    span = _span(rng, grid)
    n = int(rate * (span[1] - span[0]) * 1.5) + 4
    gaps = np.clip(1 + jitter * rng.standard_normal(n), 0.6, 1.4) / rate
    times = span[0] + rng.uniform(0, 1 / rate) + np.concatenate([[0.0], np.cumsum(gaps)])
    times = times[times < span[1]]
    heights = rng.lognormal(0, rng.uniform(0.05, 0.25), times.size)
    names = _LATERAL if lateral else _GENERALISED
    morphology = names[rng.integers(len(names))]
    # A discharge must leave an interval behind it: at high rates only the narrow forms do.
    stretch = float(min(rng.uniform(0.7, 1.3), 1.6 / rate))
    wave = discharge(morphology, grid.sfreq, stretch=stretch) * (-1 if rng.random() < 0.85 else 1)
    if lateral:
        own, wide, mirror = _lateral_maps(rng, grid, subject)
        parts = [(own, 0.0, 1.0), (wide, rng.uniform(0.005, 0.03), 0.3), (mirror, 0.03, rng.uniform(0.0, 0.25))]
    else:
        front, back, _ = _generalised_maps(rng, grid, frontal=0.6)
        lag = float(rng.uniform(0.02, 0.12)) if morphology == "triphasic" else float(rng.uniform(0, 0.015))
        parts = [(front, 0.0, 1.0), (back, lag, 1.0)]
    data = sum(np.outer(m, gain * _train(grid, times + lag, heights, wave)) for m, lag, gain in parts)
    data = data + _plus(rng, grid, parts[0][0], _train(grid, times, heights, np.hanning(int(0.4 * grid.sfreq) | 1)))
    events = tuple(Event("discharge", float(at), 0.3 * stretch) for at in times)
    return _pattern(data, morphology, span, (rate, rate), events, lateral=lateral)


def _plus(rng: np.random.Generator, grid: Grid, scalp: np.ndarray, envelope: np.ndarray) -> np.ndarray:
    """Return the "+F" of a fifth of the patterns, fast activity that rides on the discharges, else zeros."""
    height = float(rng.uniform(0.1, 0.3)) if rng.random() < 0.2 else 0.0
    tone = np.sin(
        2 * np.pi * rng.uniform(13, 24) * grid.t + 3 * slow_noise(rng, 1, grid.n_times, grid.sfreq, cutoff_hz=1)[0]
    )
    return np.outer(scalp, height * envelope * tone)


def _rhythmic(rng: np.random.Generator, grid: Grid, subject: Subject, *, lateral: bool) -> Pattern:
    rate = float(np.clip(subject.rhythm_hz * rng.lognormal(0, 0.12), 0.5, 3.8))
    span = _span(rng, grid)
    phase = rhythm_phase(rng, rate, grid, wobble=float(rng.uniform(0.02, 0.07)), cutoff_hz=0.2)
    swell = np.exp(rng.uniform(0.05, 0.3) * slow_noise(rng, 1, grid.n_times, grid.sfreq, cutoff_hz=0.25)[0])
    skew, turn = float(rng.uniform(0, 0.3)), float(rng.uniform(0, 2 * np.pi))
    envelope = swell * gate(span, grid, fade_s=_FADE_S)

    def wave(lag_s: float) -> np.ndarray:
        late = phase - 2 * np.pi * rate * lag_s
        return envelope * (np.sin(late) + skew * np.sin(2 * late + turn))

    if lateral:
        own, wide, mirror = _lateral_maps(rng, grid, subject)
        leads = "lateralised"
        parts = [(0.6 * own + 0.4 * wide, 0.0), (rng.uniform(0, 0.3) * mirror, rng.uniform(0, 0.05))]
    else:
        front, back, leads = _generalised_maps(rng, grid, frontal=0.65)
        parts = [(front, 0.0), (back, rng.uniform(0, 0.04))]
    data = sum(np.outer(m, wave(lag)) for m, lag in parts)
    events = (Event("rhythm", span[0], span[1] - span[0]),)
    return _pattern(data, leads, span, (rate, rate), events, lateral=lateral)


def _seizure_span(rng: np.random.Generator, grid: Grid) -> tuple[float, float]:
    """Return a seizure's start and stop: under way before the middle 10 s, over after them, or not yet over."""
    length = grid.n_times / grid.sfreq
    start = float(rng.uniform(0.0, max(length / 2 - 7, 0.0)))
    return start, length if rng.random() < 0.5 else float(rng.uniform(min(length / 2 + 7, length), length))


def _focal_seizure(rng: np.random.Generator, grid: Grid, subject: Subject) -> Pattern:
    """Return a rhythm that evolves: its frequency glides over seconds, its height grows, it spreads from the focus."""
    span = _seizure_span(rng, grid)
    first, last = (
        (rng.uniform(6, 12), rng.uniform(2.6, 5)) if rng.random() < 0.7 else (rng.uniform(2.6, 4.5), rng.uniform(6, 10))
    )
    progress = np.clip((grid.t - span[0]) / (span[1] - span[0]), 0, 1)
    rate = np.exp(np.interp(progress, [0, rng.uniform(0.4, 0.7), 1], np.log([first, np.sqrt(first * last), last])))
    rate = rate * (1 + 0.04 * slow_noise(rng, 1, grid.n_times, grid.sfreq, cutoff_hz=0.3)[0])
    phase = 2 * np.pi * np.cumsum(rate) / grid.sfreq
    height = np.interp(progress, [0, rng.uniform(0.3, 0.6), 1], [rng.uniform(0.15, 0.4), 0.85, 1.0])
    height = height * np.exp(0.15 * slow_noise(rng, 1, grid.n_times, grid.sfreq, cutoff_hz=0.5)[0])
    height = height * gate(span, grid, fade_s=_FADE_S)
    own, wide, mirror = _lateral_maps(rng, grid, subject)
    spread = np.interp(progress, [0.2, 0.7], [0, rng.uniform(0.3, 0.9)])
    cross = np.interp(progress, [0.4, 0.9], [0, rng.uniform(0, 0.5)])
    sharpness = float(rng.uniform(0.8, 4))
    near_wave, far_wave = -1.3 * pointed(phase, sharpness), -1.3 * pointed(phase - rng.uniform(0.3, 1.2), sharpness)
    data = np.outer(own, height * near_wave) + np.outer(wide, height * spread * near_wave)
    data = data + np.outer(mirror, height * cross * far_wave)
    events = (Event("seizure", span[0], span[1] - span[0]),)
    return _pattern(data, "focal", span, (float(first), float(last)), events, lateral=True)


def _generalised_seizure(rng: np.random.Generator, grid: Grid) -> Pattern:
    """Return generalised spike-and-wave that slows down a little, 4 to 2.6 Hz."""
    span = _seizure_span(rng, grid)
    first, last = float(rng.uniform(3.1, 4.2)), float(rng.uniform(2.6, 3.0))
    progress = np.clip((grid.t - span[0]) / (span[1] - span[0]), 0, 1)
    phase = 2 * np.pi * np.cumsum(first + (last - first) * progress) / grid.sfreq
    turns = np.flatnonzero(np.diff(np.floor(phase / (2 * np.pi)))) + 1
    turns = turns[(turns >= span[0] * grid.sfreq) & (turns < span[1] * grid.sfreq)]
    wave = -discharge("spike-wave", grid.sfreq, stretch=float(rng.uniform(0.85, 1.0)))
    heights = rng.lognormal(0, 0.1, turns.size) * np.interp(turns / grid.sfreq, [span[0], span[0] + 4], [0.4, 1.0])
    front, back, _ = _generalised_maps(rng, grid, frontal=0.9)
    data = np.outer(front + back, _train(grid, turns / grid.sfreq, heights, wave))
    events = (Event("seizure", span[0], span[1] - span[0]),)
    return _pattern(data, "spike-and-wave", span, (first, last), events, lateral=False)
