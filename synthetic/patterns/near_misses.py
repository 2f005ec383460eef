"""What resembles a critical-care pattern and is none: the class Other where it is hardest.

Heart, pulse, blinks and single electrodes can be as periodic as discharges; delta can be large without a rhythm; a
rhythm can be too short, or lie outside the seconds that the label is about.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from scipy import fft

from signals.electrodes import POSITIONS
from signals.noise import shaped_noise
from synthetic.patterns.pattern import PATTERNED
from synthetic.patterns.waves import Train, draw_discharge, gate, lay, rhythm_phase, rhythm_wave, train_times
from synthetic.patterns.wide import Habits, Wide, draw_focus
from synthetic.subject.artifacts import heart_wave
from synthetic.subject.grid import Grid
from synthetic.subject.sources import SOURCES, bump, near, slow_noise
from synthetic.subject.sources import field as scalp_field

_LARGEST = (0.6, 3.0)
"""Range of a near miss's typical peak over the background's RMS, for what is not a discharge."""


def _irregular(rng: np.random.Generator, grid: Grid, habits: Habits, *, band: str) -> np.ndarray:
    """Polymorphic slow activity: a broad peak, several sources that do not agree, over all or around a focus."""
    centre = float(rng.uniform(0.8, 3.0) if band == "delta" else rng.uniform(4.0, 7.0))
    width = float(rng.uniform(0.35, 1.0) if band == "delta" else rng.uniform(0.8, 1.6))
    freqs = fft.rfftfreq(grid.n_times, 1 / grid.sfreq)
    n_own = int(rng.integers(3, 8))
    waves = shaped_noise(rng, np.broadcast_to(bump(freqs, centre, width), (n_own, freqs.size)), grid.n_times)
    home = draw_focus(rng) if rng.random() < 0.45 else None
    out = np.zeros((len(grid.positions), grid.n_times))
    for wave in waves:
        place = SOURCES[rng.integers(len(SOURCES))] if home is None else home + rng.normal(0, 0.3, 3)
        out += np.outer(scalp_field(grid.positions, near(SOURCES, place, float(rng.uniform(0.3, 0.9)))), wave)
    return float(rng.uniform(*_LARGEST)) * out / np.sqrt(n_own / 2)


def _sporadic(rng: np.random.Generator, grid: Grid, habits: Habits) -> np.ndarray:
    """Discharges without a rate: intervals of a Poisson process, 0.05 to 0.35 a second."""
    form = str(rng.choice(["spike", "sharp", "blunt", "spike-wave", "triphasic"]))
    times = np.sort(rng.uniform(0.5, grid.length_s - 0.5, rng.poisson(rng.uniform(0.05, 0.35) * grid.length_s)))
    train = Train(rate_hz=(1.0, 1.0), jitter=0.0, height_sd=0.35, stretch_sd=0.15, missed=0.0)
    trace = lay(rng, times, -draw_discharge(rng, form, grid.sfreq), train, grid)
    place = draw_focus(rng) if rng.random() < 0.7 else np.array([0.0, 0.8, 0.6])
    return float(rng.uniform(2, 7)) * np.outer(
        scalp_field(grid.positions, near(SOURCES, place, float(rng.uniform(0.25, 0.8)))), trace
    )


def _outside(rng: np.random.Generator, grid: Grid, habits: Habits, *, brief: bool) -> np.ndarray:
    """A true pattern that is over before the middle 10 s or begins after them; or runs of less than 3 s."""
    pattern = Wide(replace(habits, whole=1.0)).draw(rng, str(rng.choice(PATTERNED)), grid)
    length, windows = grid.length_s, []
    if brief:
        windows = [(at, at + float(rng.uniform(1.0, 2.6))) for at in np.arange(rng.uniform(0, 8), length, 14.0)]
    else:
        early, late = length / 2 - 5 - float(rng.uniform(1, 6)), length / 2 + 5 + float(rng.uniform(1, 6))
        windows = [(0.0, early)] if rng.random() < 0.5 else [(late, length)]
    share = np.max([gate(w, grid, fade_s=0.5) for w in windows], axis=0)
    return float(rng.uniform(1.5, 5)) * pattern.data * share


def _beats(rng: np.random.Generator, grid: Grid, habits: Habits, *, pulse: bool) -> np.ndarray:
    """The heart's field on most electrodes, or one electrode on an artery, at 50 to 130 beats a minute."""
    rate = float(rng.uniform(0.85, 2.2))
    train = Train(
        rate_hz=(rate, rate), jitter=float(rng.uniform(0.01, 0.08)), height_sd=0.05, stretch_sd=0.0, missed=0.0
    )
    times = train_times(rng, train, (0.0, grid.length_s))
    if pulse:
        phase = np.interp(np.arange(grid.n_times) / grid.sfreq, times, np.arange(times.size) * 2 * np.pi)
        only = np.where(np.arange(len(grid.positions)) == rng.integers(len(grid.positions)), 1.0, 0.05)
        return float(rng.uniform(1, 4)) * np.outer(only, rhythm_wave(phase, skew=0.3, turn=1.0, sharpness=0.0))
    wave = np.pad(heart_wave(grid.sfreq), (int(0.3 * grid.sfreq), 0))  # its R peak then lies near the middle
    scalp = grid.positions @ (np.array([-0.6, 0.2, -0.5]) + rng.normal(0, 0.25, 3))
    trace = lay(rng, times, wave, train, grid)
    return float(rng.uniform(1.5, 6)) * np.outer(scalp / np.abs(scalp).max(), trace)


def _blinking(rng: np.random.Generator, grid: Grid, habits: Habits) -> np.ndarray:
    """Blinks or eyelid flutter at 0.5 to 4 Hz in runs: frontal, and gone behind the hairline."""
    rate = float(rng.uniform(0.5, 4.0))
    train = Train(
        rate_hz=(rate, rate), jitter=float(rng.uniform(0.05, 0.3)), height_sd=0.25, stretch_sd=0.1, missed=0.1
    )
    times = train_times(rng, train, (0.0, grid.length_s))
    wave = np.hanning(int(min(0.35, 0.8 / rate) * grid.sfreq) | 1)
    eyes = np.exp(-0.5 * (np.linalg.norm(grid.positions - np.array([0.0, 1.0, -0.1]), axis=1) / 0.5) ** 2)
    swell = np.clip(slow_noise(rng, 1, grid.n_times, grid.sfreq, cutoff_hz=0.1)[0] + 0.7, 0, 2)
    trace = lay(rng, times, np.pad(wave, wave.size), train, grid)
    return float(rng.uniform(2, 8)) * np.outer(eyes / eyes.max(), trace * swell)


def _one_electrode(rng: np.random.Generator, grid: Grid, habits: Habits) -> np.ndarray:
    """One electrode that sways or pops with a ventilator, a pump or a hand."""
    out, rate = np.zeros((len(grid.positions), grid.n_times)), float(np.exp(rng.uniform(np.log(0.3), np.log(5))))
    phase = rhythm_phase(rng, rate, grid, wobble=0.03)
    wave = rhythm_wave(phase, skew=0.3, turn=0.0, sharpness=float(rng.uniform(0, 4)))
    for pick in rng.choice(len(grid.positions), int(rng.integers(1, 3)), replace=False):
        out[pick] = float(rng.uniform(2, 10)) * wave
    return out


def _fast(rng: np.random.Generator, grid: Grid, habits: Habits, *, focal: bool) -> np.ndarray:
    """Beta of sedatives over the front, or fast and pointed activity over a defect of the skull."""
    freqs = fft.rfftfreq(grid.n_times, 1 / grid.sfreq)
    power = bump(freqs, float(rng.uniform(13, 25)), float(rng.uniform(1.5, 5)))
    if focal:
        power = power + rng.uniform(0.2, 1) * bump(freqs, float(rng.uniform(6, 10)), 1.0)
    wave = shaped_noise(rng, power[None], grid.n_times)[0]
    swell = np.exp(0.5 * slow_noise(rng, 1, grid.n_times, grid.sfreq, cutoff_hz=0.4)[0])
    place = draw_focus(rng) if focal else np.array(POSITIONS["Fz"])
    scalp = scalp_field(grid.positions, near(SOURCES, place, float(rng.uniform(0.2, 0.4) if focal else 0.8)))
    return float(rng.uniform(*_LARGEST)) * np.outer(scalp, wave * swell)


_KINDS: dict[str, Callable[[np.random.Generator, Grid, Habits], np.ndarray]] = {
    "irregular-delta": partial(_irregular, band="delta"),
    "irregular-theta": partial(_irregular, band="theta"),
    "sporadic": _sporadic,
    "brief-runs": partial(_outside, brief=True),
    "elsewhere": partial(_outside, brief=False),
    "heart": partial(_beats, pulse=False),
    "pulse": partial(_beats, pulse=True),
    "rhythmic-blinks": _blinking,
    "one-electrode": _one_electrode,
    "breach": partial(_fast, focal=True),
    "beta": partial(_fast, focal=False),
}
NEAR_MISSES = tuple(_KINDS)


def near_miss(rng: np.random.Generator, kind: str, grid: Grid, habits: Habits) -> np.ndarray:
    """Return what is added to a background, in units of the background's RMS, shape (n_chans, n_times).

    `habits` are those of the patterns that it resembles. Raises ValueError for a kind that is none of `NEAR_MISSES`.
    """
    if kind not in _KINDS:
        raise ValueError(f"kind={kind!r} is none of {', '.join(NEAR_MISSES)}")
    return _KINDS[kind](rng, grid, habits)
