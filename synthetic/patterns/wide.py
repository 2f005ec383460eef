"""The five critical-care patterns over a wide prior: what a hospital never seen may show of them.

Wider than `synthetic.patterns.clinical`, whose fixed corpus stays as it is: every patient has discharges of a shape of
their own, uneven in height, length and interval; fields overlap; seizures come in six forms, among them periodic
discharges that speed up past 2.5 Hz and rhythms that only evolve. Terms: ACNS 2021 (Hirsch et al., J Clin
Neurophysiol 38:1-29).
"""

from dataclasses import dataclass, replace

import numpy as np

from synthetic.patterns.pattern import Pattern, check_patterned
from synthetic.patterns.waves import Train, draw_discharge, gate, lay, rhythm_phase, rhythm_wave, train_times
from synthetic.subject.grid import Grid
from synthetic.subject.sources import SOURCES, near, slow_noise
from synthetic.subject.sources import field as scalp_field
from synthetic.subject.truth import Event

SEIZURES = (
    "focal-rhythm",
    "hemispheric-rhythm",
    "generalised-rhythm",
    "fast-periodic",
    "spike-wave",
    "low-voltage-fast",
)
_FOCI = np.array(
    [[-0.55, 0.55, 0.62], [-0.81, 0.59, 0.0], [-0.72, 0.0, 0.69], [-1.0, 0.0, 0.05], [-0.81, -0.59, 0.0],
     [-0.55, -0.67, 0.5], [-0.31, -0.95, 0.05]]
)  # fmt: skip
"""Left foci: frontal, anterior temporal, central, temporal, posterior temporal, parietal, occipital."""
_FRONT = (0.0, 0.8, 0.6)
"""Direction that generalised patterns come from."""
LEAST_FAR = 0.1
"""Share of a pattern that the other side, or the back, must have for its lag to be a fact."""


@dataclass(frozen=True, kw_only=True)
class Habits:
    """How a family of hospitals' patients make their patterns."""

    forms: tuple[str, ...] = ("spike", "sharp", "sharp", "blunt", "triphasic", "polyspike", "spike-wave")
    """Discharges to draw from."""
    jitter: tuple[float, float] = (0.02, 0.18)
    """Range of an interval's spread over its mean."""
    unevenness: tuple[float, float] = (0.05, 0.35)
    """Range of the spread of heights, log units."""
    periodic_hz: tuple[float, float] = (0.4, 2.4)
    rhythmic_hz: tuple[float, float] = (0.7, 3.2)
    wobble: tuple[float, float] = (0.01, 0.09)
    """Range of a rhythm's wandering, a share of its rate."""
    frontal: float = 0.65
    """Share of generalised patterns that are largest in front."""
    spread: tuple[float, float] = (0.0, 0.45)
    """Range of a lateralised pattern's share on the other side."""
    whole: float = 0.6
    """Share of patterns that last the whole segment."""


@dataclass(frozen=True)
class Wide:
    """Patterns of hospitals never seen, within a family's habits."""

    habits: Habits = Habits()

    def draw(self, rng: np.random.Generator, label: str, grid: Grid) -> Pattern:
        """Return a pattern of a class; it covers at least the segment's middle 12 s."""
        check_patterned(label)
        habits = self.habits
        if label in ("LPD", "GPD"):
            return _periodic(rng, grid, habits, lateral=label == "LPD")
        if label in ("LRDA", "GRDA"):
            return _rhythmic(rng, grid, habits, lateral=label == "LRDA")
        kind = SEIZURES[rng.integers(len(SEIZURES))]
        if kind == "fast-periodic":
            return _fast_periodic(rng, grid, habits)
        if kind == "spike-wave":
            return _spike_wave(rng, grid)
        return _evolving(rng, grid, habits, kind)


def span(rng: np.random.Generator, grid: Grid, whole: float) -> tuple[float, float]:
    """Return a pattern's start and stop, seconds: the whole segment, or a run around its middle 12 s."""
    reach = max(grid.length_s / 2 - 6, 0.0)
    start = 0.0 if rng.random() < whole**0.5 else float(rng.uniform(0, reach))
    return start, grid.length_s if rng.random() < whole**0.5 else grid.length_s - float(rng.uniform(0, reach))


def draw_focus(rng: np.random.Generator) -> np.ndarray:
    """Return the direction of a focus on either side, unit length."""
    focus = _FOCI[rng.integers(len(_FOCI))] * (1 if rng.random() < 0.5 else -1, 1, 1) + rng.normal(0, 0.1, 3)
    return np.asarray(focus / np.linalg.norm(focus))


def _sides(rng: np.random.Generator, grid: Grid, focus: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return maps of the focus, of its hemisphere and of its mirror image, each (n_chans,)."""
    width = float(rng.uniform(0.25, 0.75))
    own = 1 / (1 + np.exp(-8 * SOURCES[:, 0] * np.sign(focus[0])))
    mirrored = focus * (-1, 1, 1)
    weights = near(SOURCES, focus, width) * own, near(SOURCES, focus, 1.8 * width) * own, near(SOURCES, mirrored, width)
    return tuple(scalp_field(grid.positions, w) for w in weights)  # type: ignore[return-value]


def _whole_head(rng: np.random.Generator, grid: Grid, frontal: float) -> tuple[np.ndarray, np.ndarray, str]:
    """Return maps of the front and of the back, scaled by their share, and which leads."""
    lean = 1 + rng.normal(0, 0.12) * SOURCES[:, 0]
    front = near(SOURCES, np.array([0.0, rng.uniform(0.4, 0.95), 0.55]), float(rng.uniform(0.5, 0.95))) * lean
    back = near(SOURCES, np.array([0.0, rng.uniform(-0.9, -0.35), 0.6]), float(rng.uniform(0.5, 0.9))) * lean
    fade = float(rng.uniform(0.05, 0.7))
    leads = "frontal" if rng.random() < frontal else "diffuse" if rng.random() < 0.65 else "posterior"
    share = {"frontal": (1.0, fade), "diffuse": (1.0, 0.95), "posterior": (fade, 1.0)}[leads]
    return share[0] * scalp_field(grid.positions, front), share[1] * scalp_field(grid.positions, back), leads


def _train(rng: np.random.Generator, habits: Habits, rate_hz: tuple[float, float]) -> Train:
    return Train(
        rate_hz=rate_hz, jitter=float(rng.uniform(*habits.jitter)), height_sd=float(rng.uniform(*habits.unevenness)),
        stretch_sd=float(rng.uniform(0.0, 0.15)), missed=float(rng.choice([0.0, rng.uniform(0, 0.12)])),
    )  # fmt: skip


def _form(rng: np.random.Generator, habits: Habits, sfreq: float, *, lateral: bool) -> tuple[np.ndarray, str]:
    forms = [f for f in habits.forms if not (lateral and f == "triphasic")] or ["sharp"]
    if not lateral and "triphasic" in forms:
        forms = [*forms, "triphasic", "triphasic"]  # the most usual generalised discharge in intensive care
    form = str(rng.choice(forms))
    return draw_discharge(rng, form, sfreq), form


def _periodic(rng: np.random.Generator, grid: Grid, habits: Habits, *, lateral: bool) -> Pattern:
    rate = _log_uniform(rng, habits.periodic_hz)
    train = _train(rng, habits, (rate, rate * float(rng.uniform(0.9, 1.1))))
    return _discharges(rng, grid, habits, train, span(rng, grid, habits.whole), lateral=lateral)


def _discharges(
    rng: np.random.Generator, grid: Grid, habits: Habits, train: Train, span_s: tuple[float, float], *, lateral: bool
) -> Pattern:
    times = train_times(rng, train, span_s)
    wave, form = _form(rng, habits, grid.sfreq, lateral=lateral)
    # A discharge leaves an interval behind it: fast trains are made of shorter ones.
    share = min(1.0, 1.5 / max(train.rate_hz))
    wave = _squeezed(wave, share) * (-1 if rng.random() < 0.8 else 1)
    seed = int(rng.integers(2**31))

    def trace(lag_s: float) -> np.ndarray:
        return lay(np.random.default_rng(seed), times + lag_s, wave, train, grid)

    focus = draw_focus(rng)
    if lateral:
        own, wide, mirror = _sides(rng, grid, focus)
        far, lag_s = rng.uniform(*habits.spread) * mirror, float(rng.uniform(0.005, 0.04))
        data = np.outer(0.75 * own + 0.25 * wide, trace(0.0)) + np.outer(far, trace(lag_s))
    else:
        front, far, _ = _whole_head(rng, grid, habits.frontal)
        lag_s = float(rng.uniform(0, 0.1 if form == "triphasic" else 0.02))
        data = np.outer(front, trace(0.0)) + np.outer(far, trace(lag_s))
        own, focus = front, np.array(_FRONT)
    data = data + np.outer(own, _plus(rng, grid, times, train.rate_hz[0]))
    events = tuple(Event("discharge", float(at), 0.3 * share) for at in times)
    return Pattern(
        data=data, variant=form, span_s=span_s, rate_hz=train.rate_hz, lateral=lateral, focus=focus, events=events,
        lag_s=lag_s if np.abs(far).max() > LEAST_FAR else float("nan"),
    )  # fmt: skip


def _squeezed(wave: np.ndarray, share: float) -> np.ndarray:
    grid = np.arange(wave.size) - wave.size // 2
    return np.interp(grid / share, grid, wave, left=0.0, right=0.0)


def _plus(rng: np.random.Generator, grid: Grid, times: np.ndarray, rate: float) -> np.ndarray:
    """Return fast activity on the discharges ("+F"), or delta between them ("+R"), or mostly nothing, (n_times,)."""
    kind = rng.random()
    if kind < 0.15:
        bursts = np.zeros(grid.n_times)
        bursts[np.clip((times * grid.sfreq).astype(int), 0, grid.n_times - 1)] = 1.0
        envelope = np.convolve(bursts, np.hanning(int(0.35 * grid.sfreq) | 1), mode="same")
        phase = rhythm_phase(rng, float(rng.uniform(12, 24)), grid, wobble=0.1)
        return np.asarray(rng.uniform(0.1, 0.3) * envelope * np.sin(phase))
    if kind < 0.27:
        return np.asarray(rng.uniform(0.1, 0.35) * np.sin(rhythm_phase(rng, rate, grid, wobble=0.03)))
    return np.zeros(grid.n_times)


def _log_uniform(rng: np.random.Generator, limits: tuple[float, float]) -> float:
    return float(np.exp(rng.uniform(*np.log(limits))))


def _rhythmic(rng: np.random.Generator, grid: Grid, habits: Habits, *, lateral: bool) -> Pattern:
    rate = _log_uniform(rng, habits.rhythmic_hz)
    span_s = span(rng, grid, habits.whole)
    phase = rhythm_phase(rng, rate, grid, wobble=float(rng.uniform(*habits.wobble)))
    swell = np.exp(rng.uniform(0.05, 0.45) * slow_noise(rng, 1, grid.n_times, grid.sfreq, cutoff_hz=0.3)[0])
    envelope = swell * gate(span_s, grid)
    pointed = float(rng.uniform(0, 0.5)) if rng.random() < 0.3 else 0.0
    shape = {"skew": float(rng.uniform(0, 0.35)), "turn": float(rng.uniform(0, 2 * np.pi)), "sharpness": pointed}

    def trace(lag_s: float) -> np.ndarray:
        return envelope * rhythm_wave(phase - 2 * np.pi * rate * lag_s, **shape)

    focus = draw_focus(rng)
    if lateral:
        own, wide, mirror = _sides(rng, grid, focus)
        far, lag_s = rng.uniform(*habits.spread) * mirror, float(rng.uniform(0, 0.06))
        data = np.outer(0.6 * own + 0.4 * wide, trace(0.0)) + np.outer(far, trace(lag_s))
        variant = "lateralised"
    else:
        front, far, variant = _whole_head(rng, grid, habits.frontal)
        lag_s = float(rng.uniform(0, 0.06))
        data = np.outer(front, trace(0.0)) + np.outer(far, trace(lag_s))
        focus = np.array(_FRONT)
    return Pattern(
        data=data, variant=variant, span_s=span_s, rate_hz=(rate, rate), lateral=lateral, focus=focus,
        events=_lasting("rhythm", span_s), lag_s=lag_s if np.abs(far).max() > LEAST_FAR else float("nan"),
    )  # fmt: skip


def _lasting(kind: str, span_s: tuple[float, float]) -> tuple[Event, ...]:
    return (Event(kind, span_s[0], span_s[1] - span_s[0]),)


def _seizure_span(rng: np.random.Generator, grid: Grid) -> tuple[float, float]:
    reach = max(grid.length_s / 2 - 6, 0.0)
    start = 0.0 if rng.random() < 0.5 else float(rng.uniform(0, reach))
    return start, grid.length_s if rng.random() < 0.6 else grid.length_s - float(rng.uniform(0, reach))


def _fast_periodic(rng: np.random.Generator, grid: Grid, habits: Habits) -> Pattern:
    """Discharges over 2.5 Hz, or ones that speed up or slow down through 2.5 Hz."""
    first, last = float(rng.uniform(1.6, 4.5)), float(rng.uniform(2.6, 4.5))
    rates = (first, last) if rng.random() < 0.6 else (last, first)
    train = _train(rng, habits, rates)
    lateral = bool(rng.random() < 0.65)
    span_s = _seizure_span(rng, grid)
    even = _discharges(rng, grid, habits, train, span_s, lateral=lateral)
    grow = np.interp(np.linspace(0, 1, grid.n_times), [0, rng.uniform(0.2, 0.7), 1], rng.uniform(0.4, 1.0, 3))
    events = (*even.events, *_lasting("seizure", span_s))
    return replace(even, data=even.data * grow, variant="fast-periodic", events=events)


def _spike_wave(rng: np.random.Generator, grid: Grid) -> Pattern:
    """Generalised spike-and-wave of 2.6 to 4.5 Hz that slows a little."""
    rates = float(rng.uniform(2.9, 4.5)), float(rng.uniform(2.6, 3.2))
    train = Train(rate_hz=rates, jitter=float(rng.uniform(0.01, 0.06)), height_sd=float(rng.uniform(0.05, 0.25)),
                  stretch_sd=0.05, missed=0.0)  # fmt: skip
    wave = -_squeezed(draw_discharge(rng, "spike-wave", grid.sfreq), float(rng.uniform(0.6, 0.8)))
    span_s = _seizure_span(rng, grid)
    times = train_times(rng, train, span_s)
    trace = lay(rng, times, wave, train, grid)
    front, back, _ = _whole_head(rng, grid, 0.85)
    events = (*(Event("discharge", float(at), 0.2) for at in times), *_lasting("seizure", span_s))
    return Pattern(
        data=np.outer(front + back, trace), variant="spike-wave", span_s=span_s, rate_hz=rates, lateral=False,
        focus=np.array(_FRONT), events=events, lag_s=0.0,
    )  # fmt: skip


def _evolving(rng: np.random.Generator, grid: Grid, habits: Habits, kind: str) -> Pattern:
    """Return a rhythm that glides, grows, changes its form and spreads."""
    span_s = _seizure_span(rng, grid)
    progress = np.clip((np.arange(grid.n_times) / grid.sfreq - span_s[0]) / (span_s[1] - span_s[0]), 0, 1)
    first, last = _glide(rng, kind)
    bend = float(rng.uniform(0.3, 0.7))
    rate = np.exp(np.interp(progress, [0, bend, 1], np.log([first, (first * last) ** 0.5, last])))
    phase = rhythm_phase(rng, rate, grid, wobble=float(rng.uniform(0.02, 0.08)))
    height = np.interp(progress, [0, rng.uniform(0.2, 0.6), 1], [rng.uniform(0.15, 0.7), rng.uniform(0.6, 1), 1.0])
    height *= np.exp(rng.uniform(0.1, 0.35) * slow_noise(rng, 1, grid.n_times, grid.sfreq, cutoff_hz=0.5)[0])
    height *= gate(span_s, grid)
    sharpness = float(rng.uniform(0.0, 3.5))
    shape = {"skew": float(rng.uniform(0, 0.4)), "turn": float(rng.uniform(0, 6.3)), "sharpness": sharpness}
    near_wave, far_wave = -rhythm_wave(phase, **shape), -rhythm_wave(phase - rng.uniform(0.2, 1.2), **shape)
    spread = np.interp(progress, [0.1, 0.7], [rng.uniform(0, 0.5), rng.uniform(0.4, 0.9)])
    cross = np.interp(progress, [0.2, 0.9], [rng.uniform(0, 0.2), rng.uniform(0, 0.7)])
    focus = draw_focus(rng)
    if kind == "generalised-rhythm":
        front, back, _ = _whole_head(rng, grid, habits.frontal)
        data = np.outer(front, height * near_wave) + np.outer(back, height * far_wave)
        return _seizure(data, kind, span_s, (first, last), np.array(_FRONT), lateral=False, bend=bend)
    own, wide, mirror = _sides(rng, grid, focus)
    if kind == "hemispheric-rhythm":
        own = 0.4 * own + 0.6 * wide
    data = np.outer(own, height * near_wave) + np.outer(wide, height * spread * near_wave)
    data = data + np.outer(mirror, height * cross * far_wave)
    return _seizure(data, kind, span_s, (first, last), focus, lateral=True, bend=bend)


def _seizure(
    data: np.ndarray,
    kind: str,
    span_s: tuple[float, float],
    rate_hz: tuple[float, float],
    focus: np.ndarray,
    *,
    lateral: bool,
    bend: float,
) -> Pattern:
    return Pattern(
        data=data, variant=kind, span_s=span_s, rate_hz=rate_hz, lateral=lateral, focus=focus,
        events=_lasting("seizure", span_s), bend=bend,
    )  # fmt: skip


def _glide(rng: np.random.Generator, kind: str) -> tuple[float, float]:
    """Return the first and last rate of an evolving seizure, Hz."""
    if kind == "low-voltage-fast":
        return float(rng.uniform(10, 18)), float(rng.uniform(3.5, 8))
    slow, fast = float(rng.uniform(2.2, 4.5)), float(rng.uniform(4.0, 9.0))
    return (fast, slow) if rng.random() < 0.65 else (slow, fast)
