"""The shapes and times that critical-care patterns are made of: discharges of many forms, trains, rhythms.

Ranges follow the ACNS 2021 terminology (Hirsch et al., J Clin Neurophysiol 38:1-29) and are wide on purpose: what a
model learns should hold for every hospital that lies inside of them.
"""

from dataclasses import dataclass

import numpy as np

from synthetic.subject.grid import Grid
from synthetic.subject.sources import slow_noise

FORMS = ("spike", "sharp", "blunt", "triphasic", "polyspike", "spike-wave", "damped")
"""Morphologies of a discharge."""


@dataclass(frozen=True, kw_only=True)
class Train:
    """When discharges come and how alike they are."""

    rate_hz: tuple[float, float]
    """At the start and the end of the span."""
    jitter: float
    """Standard deviation of an interval over its mean."""
    height_sd: float
    """Spread of heights, log units."""
    stretch_sd: float
    """Spread of durations, log units."""
    missed: float
    """Share of discharges that fail to come."""


# Lobes of a textbook discharge: (centre s, standard deviation s, height); the first sharp lobe peaks at 0.
_MORPHOLOGIES: dict[str, tuple[tuple[float, float, float], ...]] = {
    "sharp": ((0.0, 0.028, 1.0), (0.10, 0.050, -0.45)),
    "blunt": ((0.0, 0.055, 1.0), (0.16, 0.060, -0.25)),
    "spike-wave": ((0.0, 0.014, 1.0), (0.035, 0.012, -0.3), (0.17, 0.060, 0.7)),
    "polyspike": ((0.0, 0.012, 1.0), (0.045, 0.012, 0.8), (0.09, 0.014, 0.6), (0.19, 0.050, -0.5)),
    "triphasic": ((-0.10, 0.032, 0.45), (0.0, 0.045, -1.0), (0.16, 0.070, 0.55)),
}


def discharge(morphology: str, sfreq: float, *, stretch: float = 1.0) -> np.ndarray:
    """Return a textbook discharge, largest value 1, shape (n,); its sharp peak lies at n // 2."""
    half = int(0.45 * sfreq)
    t = np.arange(-half, half + 1) / sfreq / stretch
    wave = sum(
        height * np.exp(-0.5 * ((t - centre) / width) ** 2) for centre, width, height in _MORPHOLOGIES[morphology]
    )
    return np.asarray(wave) / np.max(np.abs(wave))


def draw_discharge(rng: np.random.Generator, form: str, sfreq: float) -> np.ndarray:
    """Return one patient's discharge, largest value 1 in size, shape (n,), its sharpest phase at n // 2.

    Up to three phases and most often a slow wave after them. Raises ValueError for a form that is none of `FORMS`.
    """
    half = int(0.6 * sfreq)
    t = np.arange(-half, half + 1) / sfreq
    if form == "damped":
        pitch, decay = float(rng.uniform(2.5, 9)), float(rng.uniform(0.05, 0.14))
        ring = np.exp(-np.clip(t, 0, None) / decay) * np.cos(2 * np.pi * pitch * t) * (t >= 0)
        wave = ring + (t < 0) * np.exp(-0.5 * (t / rng.uniform(0.01, 0.03)) ** 2)
    else:
        lobes = [height * np.exp(-0.5 * ((t - at) / width) ** 2) for at, width, height in _lobes(rng, form)]
        wave = np.sum(lobes, axis=0)
    return np.asarray(wave / np.max(np.abs(wave)))


def _lobes(rng: np.random.Generator, form: str) -> list[tuple[float, float, float]]:
    """Return (centre s, standard deviation s, height) of each phase, the main one at 0."""
    u = rng.uniform
    width = {"spike": u(0.011, 0.025), "sharp": u(0.022, 0.045), "blunt": u(0.045, 0.09), "triphasic": u(0.03, 0.06),
             "polyspike": u(0.011, 0.022), "spike-wave": u(0.012, 0.028)}.get(form)  # fmt: skip
    if width is None:
        raise ValueError(f"form={form!r} is none of {', '.join(FORMS)}")
    lobes = [(0.0, width, 1.0)]
    if form == "triphasic":
        lobes += [
            (-u(2.2, 3.2) * width, 0.8 * width, -u(0.25, 0.7)),
            (u(2.6, 3.8) * width, u(1.2, 1.9) * width, -u(0.4, 0.9)),
        ]
    elif form == "polyspike":
        lobes += [(k * u(2.4, 3.4) * width, width, u(0.5, 1.0)) for k in range(1, int(rng.integers(2, 5)))]
    elif rng.random() < 0.6:
        lobes += [(u(2.2, 3.4) * width, u(1.0, 1.8) * width, -u(0.2, 0.8))]
    if form == "spike-wave" or rng.random() < 0.55:
        at = lobes[-1][0] + u(0.09, 0.2)
        lobes += [(at, u(0.05, 0.1), u(0.3, 0.9) * (1 if rng.random() < 0.6 else -1))]
    return lobes


def train_times(rng: np.random.Generator, train: Train, span_s: tuple[float, float]) -> np.ndarray:
    """Return the onsets of a train's discharges, seconds, ascending; the rate glides from the first to the last."""
    start, stop = span_s
    times, at = [], start + float(rng.uniform(0, 1 / train.rate_hz[0]))
    while at < stop:
        if rng.random() >= train.missed:
            times.append(at)
        share = (at - start) / (stop - start)
        rate = float(np.exp((1 - share) * np.log(train.rate_hz[0]) + share * np.log(train.rate_hz[1])))
        at += float(np.clip(1 + train.jitter * rng.standard_normal(), 0.5, 1.6)) / rate
    return np.array(times)


def lay(rng: np.random.Generator, times_s: np.ndarray, wave: np.ndarray, train: Train, grid: Grid) -> np.ndarray:
    """Return the train of a discharge's shape, heights about 1, shape (n_times,)."""
    out, half = np.zeros(grid.n_times + 4 * wave.size), wave.size // 2
    samples = np.arange(wave.size) - half
    for at in times_s:
        stretch = float(np.exp(train.stretch_sd * rng.standard_normal()))
        one = np.interp(samples / stretch, samples, wave, left=0.0, right=0.0)
        start = int(round(at * grid.sfreq)) - half + 2 * wave.size
        out[start : start + wave.size] += float(np.exp(train.height_sd * rng.standard_normal())) * one
    return out[2 * wave.size : 2 * wave.size + grid.n_times]


def rhythm_phase(
    rng: np.random.Generator, rate_hz: np.ndarray | float, grid: Grid, *, wobble: float, cutoff_hz: float = 0.25
) -> np.ndarray:
    """Return the phase of a rhythm whose rate wanders by `wobble` (a share) below `cutoff_hz`, radians, (n_times,)."""
    drift = 1 + wobble * slow_noise(rng, 1, grid.n_times, grid.sfreq, cutoff_hz=cutoff_hz)[0]
    return np.asarray(2 * np.pi * np.cumsum(rate_hz * drift) / grid.sfreq + rng.uniform(0, 2 * np.pi))


def pointed(phase: np.ndarray, sharpness: float) -> np.ndarray:
    """Return one pointed wave per turn of `phase`: a wrapped bump without its mean."""
    return np.asarray(np.exp(sharpness * (np.cos(phase) - 1)) - np.exp(-sharpness) * np.i0(sharpness))


def rhythm_wave(phase: np.ndarray, *, skew: float, turn: float, sharpness: float) -> np.ndarray:
    """Return one wave per turn of `phase`, height about 1: a sine with its octave, or pointed with `sharpness`."""
    share = min(sharpness, 1.0)
    wave = (1 - share) * np.sin(phase) + share * 1.3 * pointed(phase, sharpness)
    return np.asarray(wave + skew * np.sin(2 * phase + turn))


def gate(span_s: tuple[float, float], grid: Grid, *, fade_s: float = 0.8) -> np.ndarray:
    """Return 1 inside the span and 0 outside with soft edges, none at the segment's own ends, shape (n_times,)."""
    start, stop = span_s
    rise = np.ones(grid.n_times) if start <= 0 else np.clip((grid.t - start) / fade_s, 0, 1)
    fall = np.ones(grid.n_times) if stop >= grid.length_s else np.clip((stop - grid.t) / fade_s, 0, 1)
    return rise * fall
