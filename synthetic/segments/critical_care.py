"""Labelled segments for a model that is to read hospitals it never saw: families of generators, wide on purpose.

A family fixes where backgrounds come from (simulated, or real recordings without labels), how patterns are made and
how far they stand out. Models learn from some families and are chosen on others (`HELD_OUT`), whose real sites, wave
forms or whole generator were never trained on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from signals.conditioning.filters import bandpass
from signals.modality import EEG_1020
from signals.tasks import SIX_CLASS
from signals.window import MEASURED
from synthetic.patterns.critical_patterns import Drawn, Grid, Habits, draw_critical, draw_focus
from synthetic.patterns.near_misses import NEAR_MISSES, near_miss
from synthetic.patterns.votes import draw_votes
from synthetic.segments.segments import segment
from synthetic.subject.artifacts import electrode_faults, physiological
from synthetic.subject.background import alpha, burst_suppression, ongoing, other_subject, spindles
from synthetic.subject.carriers import Carrier, sickened
from synthetic.subject.subjects import Subject, draw_subject

SEGMENT_S = SIX_CLASS.window_s
BAND_HZ = (0.5, 50.0)
PATTERN_UV = (15.0, 450.0)
"""Range of a pattern's usual peak."""
NEAR_MISS_SHARE = 0.4
"""Share of Other that resembles a pattern."""
STATES = ("plain", "alpha", "slow", "theta", "attenuated", "burst-suppression", "spindles", "artifacts")
"""States of brain and body that are Other by themselves."""
_POSITIONS = np.asarray(EEG_1020.positions)


@dataclass(frozen=True, kw_only=True)
class Family:
    """Hospitals that are alike."""

    name: str
    carriers: float = 0.0
    """Share of segments on real backgrounds."""
    carrier_sites: tuple[str, ...] = ()
    """Sites of those backgrounds."""
    habits: Habits = field(default_factory=Habits)
    prominence: tuple[float, float] = (4.5, 0.5)
    """Median of a discharge's peak over the background's RMS, and its spread in log units."""
    upper_hz: tuple[float, ...] = (50.0, 50.0, 50.0, 35.0, 30.0)
    """Upper edges of the recorders' filters to draw from."""
    original: bool = False
    """Made by `synthetic.segments.segments`, the generator of the fixed corpus, instead."""


@dataclass(frozen=True, kw_only=True)
class CriticalSegment:
    """One labelled window, as the six-class profile would store it."""

    data: np.ndarray = field(repr=False)
    """µV, float32, shape (n_chans, n_times) of EEG_1020, average reference, `BAND_HZ`."""
    ch_state: np.ndarray = field(repr=False)
    label: str
    variant: str
    votes: tuple[int, ...]
    family: str


def draw_segment(
    rng: np.random.Generator, *, label: str, family: Family, carriers: Sequence[Carrier] = ()
) -> CriticalSegment:
    """Return a segment of a class. `carriers`: real backgrounds, of which those of the family's sites are used.

    Raises ValueError for an unknown label, and for a family that needs carriers where none are of its sites.
    """
    if label not in SIX_CLASS.classes:
        raise ValueError(f"label={label!r} is none of {', '.join(SIX_CLASS.classes)}")
    if family.original:
        return _original(rng, label, family)
    grid = Grid(_POSITIONS, int(SEGMENT_S * EEG_1020.sfreq), EEG_1020.sfreq)
    real = _pick(rng, family, carriers) if rng.random() < family.carriers else None
    if label == "Other":
        brain, state, variant, votes = _other(rng, grid, family, real)
    else:
        brain, state, variant, votes = _patterned(rng, grid, family, real, label)
    if real is None or rng.random() < 0.25:
        body, _ = physiological(
            rng, ch_names=EEG_1020.ch_names, positions=_POSITIONS, subject=state, n_times=grid.n_times, sfreq=grid.sfreq
        )
        brain = brain + body
    ch_state = np.full(len(_POSITIONS), MEASURED, np.uint8) if real is None else real.ch_state
    data = _recorded(rng, brain, upper_hz=float(rng.choice(family.upper_hz)))
    return CriticalSegment(
        data=data, ch_state=ch_state, label=label, variant=variant, votes=votes, family=family.name
    )  # fmt: skip


def _pick(rng: np.random.Generator, family: Family, carriers: Sequence[Carrier]) -> Carrier:
    sites = [site for site in family.carrier_sites if any(c.site_id == site for c in carriers)]
    if not sites:
        raise ValueError(f"family {family.name!r} needs real backgrounds of {', '.join(family.carrier_sites)}")
    site = sites[rng.integers(len(sites))]  # sites alike, however many recordings each has
    known = [c for c in carriers if c.site_id == site]
    return known[rng.integers(len(known))]


def _recorded(rng: np.random.Generator, brain: np.ndarray, *, upper_hz: float) -> np.ndarray:
    """Return what the profile stores of it: noise and faults of the recorder, average reference, band."""
    noise = rng.normal(0, rng.uniform(0.2, 1.5), brain.shape)
    data, _ = electrode_faults(rng, (brain + noise).astype(np.float32), EEG_1020.ch_names, EEG_1020.sfreq)
    data = data - data.mean(axis=0)
    out = bandpass(data, EEG_1020.sfreq, l_freq=BAND_HZ[0], h_freq=min(upper_hz, BAND_HZ[1]))
    return np.asarray(out, dtype=np.float32)


def _background(
    rng: np.random.Generator, grid: Grid, real: Carrier | None, subject: Subject, *, slowing: float
) -> np.ndarray:
    """Return a background with its slowing and its asymmetry around the subject's focus, µV, (n_chans, n_times)."""
    if real is None:
        clean = ongoing(rng, positions=grid.positions, subject=subject, **grid.clock)  # type: ignore[arg-type]
        waves, _ = alpha(rng, positions=grid.positions, subject=subject, **grid.clock)  # type: ignore[arg-type]
        return np.asarray(clean + waves)
    data = real.data * np.float32(subject.background_uv / max(_rms(real.data), 1.0)) ** np.float32(rng.uniform(0, 1))
    if slowing <= 0:
        return data
    return sickened(
        rng, data, grid.sfreq, positions=grid.positions, focus=np.array(subject.focus), slowing=slowing,
        asymmetry=subject.asymmetry,
    )  # fmt: skip


def _rms(data: np.ndarray) -> float:
    """Return the median over channels of the RMS without the largest 5% of seconds, which are artifacts, µV."""
    seconds = data[:, : data.shape[1] // 256 * 256].reshape(len(data), -1, 256)
    return float(np.median(np.quantile(np.sqrt((seconds**2).mean(axis=2)), 0.5, axis=1)))


def _patterned(
    rng: np.random.Generator, grid: Grid, family: Family, real: Carrier | None, label: str
) -> tuple[np.ndarray, Subject, str, tuple[int, ...]]:
    drawn: Drawn = draw_critical(rng, label, grid, family.habits)
    subject = draw_subject(rng)
    x, y, z = drawn.focus if drawn.lateral else draw_focus(rng)
    asymmetry = float(rng.beta(1.5, 2)) if drawn.lateral else float(rng.beta(1, 4))
    subject = replace(subject, focus=(float(x), float(y), float(z)), asymmetry=asymmetry, alpha_uv=subject.alpha_uv / 2)
    calm = _background(rng, grid, real, subject, slowing=float(rng.beta(2, 2)))
    if label == "GPD" and rng.random() < 0.3:
        calm = calm * rng.uniform(0.15, 0.6)  # discharges on a suppressed background
    median, spread = family.prominence
    prominence = float(np.clip(rng.lognormal(np.log(median), spread), 1.5, 20))
    if label in ("LRDA", "GRDA"):
        prominence *= 0.65  # a rhythm without pauses stands out at less height than single discharges
    elif label == "Seizure":
        prominence *= 0.85
    peak = float(np.clip(prominence * _rms(calm), *PATTERN_UV))
    clarity = float(np.clip(np.log(prominence / 1.2) / np.log(5), 0, 1))
    votes = draw_votes(rng, label, clarity=clarity, rate_hz=max(drawn.rate_hz), lateral=drawn.lateral)
    return calm + peak * drawn.data, subject, drawn.variant, votes


def _other(
    rng: np.random.Generator, grid: Grid, family: Family, real: Carrier | None
) -> tuple[np.ndarray, Subject, str, tuple[int, ...]]:
    misses = rng.random() < NEAR_MISS_SHARE
    variant = str(rng.choice(NEAR_MISSES if misses else STATES))
    subject = draw_subject(rng) if misses or variant == "plain" else other_subject(rng, draw_subject(rng), variant)
    slowing = 0.0 if variant in ("alpha", "spindles") or rng.random() < 0.25 else float(rng.beta(2, 2))
    brain = _background(rng, grid, real, subject, slowing=slowing)
    if misses:
        extra = near_miss(rng, variant, grid, family.habits) * np.clip(_rms(brain), 6, 60)
        brain = brain + np.clip(extra, -PATTERN_UV[1], PATTERN_UV[1])
    elif variant == "attenuated" and real is not None:
        brain = brain * rng.uniform(2, 7) / max(_rms(brain), 1.0)
    elif variant == "burst-suppression":
        brain = brain * rng.uniform(1, 2.5) * burst_suppression(rng, grid.n_times, grid.sfreq)[0]
    elif variant == "spindles":
        brain = brain + spindles(rng, positions=grid.positions, **grid.clock)[0]  # type: ignore[arg-type]
    return brain, subject, variant, draw_votes(rng, "Other", clarity=float(rng.uniform(0.1, 1.0)))


def _original(rng: np.random.Generator, label: str, family: Family) -> CriticalSegment:
    data, votes, truth = segment(
        rng, label=label, duration_s=SEGMENT_S, sfreq=EEG_1020.sfreq, ch_names=EEG_1020.ch_names,
        subject=draw_subject(rng),
    )  # fmt: skip
    data = bandpass(data - data.mean(axis=0), EEG_1020.sfreq, l_freq=BAND_HZ[0], h_freq=BAND_HZ[1])
    state = np.full(len(_POSITIONS), MEASURED, np.uint8)
    return CriticalSegment(
        data=data.astype(np.float32), ch_state=state, label=label, variant=truth.variant, votes=votes,
        family=family.name,
    )  # fmt: skip


TRAINED: tuple[Family, ...] = (
    Family(name="simulated"),
    Family(name="carried", carriers=1.0,
           carrier_sites=("albany-eegmmidb", "kyiv-eegmat", "tehran-adhd", "bissau-emotiv")),
)  # fmt: skip
"""What models learn from while they are chosen."""
HELD_OUT: tuple[Family, ...] = (
    Family(name="original", original=True),
    Family(name="unseen-sites", carriers=1.0, carrier_sites=("frankfurt-rest", "sandiego-eeglab", "leipzig-lemon",
                                                             "neonatal-stevenson")),
    Family(name="faint-and-uneven", carriers=0.5, carrier_sites=("frankfurt-rest", "sandiego-eeglab"),
           prominence=(3.0, 0.3), upper_hz=(20.0, 25.0, 50.0),
           habits=Habits(forms=("damped",), jitter=(0.12, 0.22), unevenness=(0.25, 0.5), wobble=(0.06, 0.12),
                         spread=(0.3, 0.6))),
)  # fmt: skip
"""What they are chosen on: another generator, other real sites, other wave forms."""
