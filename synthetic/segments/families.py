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
from synthetic.patterns.near_misses import NEAR_MISSES, near_miss
from synthetic.patterns.votes import draw_votes
from synthetic.patterns.wide import Habits, Wide, draw_focus
from synthetic.segments import clinical
from synthetic.segments.segment import (
    RHYTHMIC,
    Brain,
    Segment,
    clarity,
    overlaid,
    truth_of_other,
    with_body,
    with_faults,
)
from synthetic.subject.background import alpha, ongoing, other_subject
from synthetic.subject.carriers import Carrier, sickened
from synthetic.subject.grid import Grid
from synthetic.subject.subjects import Subject, draw_subject
from synthetic.subject.truth import Truth

SEGMENT_S = SIX_CLASS.window_s
BAND_HZ = (0.5, 50.0)
PATTERN_UV = (15.0, 450.0)
"""Range of a pattern's usual peak."""
NEAR_MISS_SHARE = 0.4
"""Share of Other that resembles a pattern."""
STATES = ("plain", "alpha", "slow", "theta", "attenuated", "burst-suppression", "spindles", "artifacts")
"""States of brain and body that are Other by themselves."""
PROMINENCE = (1.5, 20.0)
"""Least and largest peak of a discharge over the background's RMS."""
UNSEEN_BELOW = 1.2
"""Prominence under which experts see nothing."""
GRID = Grid(np.asarray(EEG_1020.positions), int(SEGMENT_S * EEG_1020.sfreq), EEG_1020.sfreq)
"""Of every segment."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """Hospitals that are alike."""

    name: str
    carriers: float = 0.0
    """Share of segments on real backgrounds."""
    habits: Habits = field(default_factory=Habits)
    prominence: tuple[float, float] = (4.5, 0.5)
    """Median of a discharge's peak over the background's RMS, and its spread in log units."""
    upper_hz: tuple[float, ...] = (50.0, 50.0, 50.0, 35.0, 30.0)
    """Upper edges of the recorders' filters to draw from."""
    original: bool = False
    """Made by `synthetic.segments.clinical`, the generator of the fixed corpus, instead."""


def draw_segment(
    rng: np.random.Generator, *, label: str, family: Family, carriers: Sequence[Carrier] = ()
) -> Segment:  # fmt: skip
    """Return a segment of a class as the six-class profile would store it: EEG_1020, average reference, `BAND_HZ`.

    `carriers`: the family's real backgrounds, of which sites are drawn alike in the order of their first carrier.
    Raises ValueError for an unknown label, and for a family that needs carriers where there are none.
    """
    if label not in SIX_CLASS.classes:
        raise ValueError(f"label={label!r} is none of {', '.join(SIX_CLASS.classes)}")
    if family.original:
        return _of_one_subject(rng, label)
    real = _pick(rng, family, carriers) if rng.random() < family.carriers else None
    brain = _other(rng, family, real) if label == "Other" else _patterned(rng, family, real, label)
    if real is None or rng.random() < 0.25:
        brain = with_body(rng, brain, GRID, EEG_1020.ch_names)
    upper_hz = float(rng.choice(family.upper_hz))
    noise = rng.normal(0, rng.uniform(0.2, 1.5), brain.data.shape)
    noisy = (brain.data + noise).astype(np.float32)
    segment = with_faults(rng, brain, noisy, ch_names=EEG_1020.ch_names, sfreq=EEG_1020.sfreq)
    return _stored(segment if real is None else replace(segment, ch_state=real.ch_state), upper_hz=upper_hz)


def _of_one_subject(rng: np.random.Generator, label: str) -> Segment:
    """Return a segment of the generator of the fixed corpus."""
    segment = clinical.segment(
        rng, label=label, duration_s=SEGMENT_S, sfreq=EEG_1020.sfreq, ch_names=EEG_1020.ch_names,
        subject=draw_subject(rng),
    )  # fmt: skip
    return _stored(segment, upper_hz=BAND_HZ[1])


def _stored(segment: Segment, *, upper_hz: float) -> Segment:
    """Return the segment as the profile stores it: average reference, `BAND_HZ` up to the recorder's own edge."""
    data = segment.data - segment.data.mean(axis=0)
    out = bandpass(data, EEG_1020.sfreq, l_freq=BAND_HZ[0], h_freq=min(upper_hz, BAND_HZ[1]))
    return replace(segment, data=np.asarray(out, dtype=np.float32))


def _pick(rng: np.random.Generator, family: Family, carriers: Sequence[Carrier]) -> Carrier:
    sites = list(dict.fromkeys(carrier.site_id for carrier in carriers))
    if not sites:
        raise ValueError(f"family {family.name!r} needs real backgrounds, and was given none")
    site = sites[rng.integers(len(sites))]  # sites alike, however many recordings each has
    of_site = [c for c in carriers if c.site_id == site]
    return of_site[rng.integers(len(of_site))]


def _background(rng: np.random.Generator, real: Carrier | None, subject: Subject, *, slowing: float) -> np.ndarray:
    """Return a background with its slowing and its asymmetry around the subject's focus, µV, (n_chans, n_times)."""
    if real is None:
        clean = ongoing(rng, positions=GRID.positions, subject=subject, n_times=GRID.n_times, sfreq=GRID.sfreq)
        waves, _ = alpha(rng, positions=GRID.positions, subject=subject, n_times=GRID.n_times, sfreq=GRID.sfreq)
        return np.asarray(clean + waves)
    data = real.data * np.float32(subject.background_uv / max(_rms(real.data), 1.0)) ** np.float32(rng.uniform(0, 1))
    if slowing <= 0:
        return data
    return sickened(
        rng, data, GRID.sfreq, positions=GRID.positions, focus=np.array(subject.focus), slowing=slowing,
        asymmetry=subject.asymmetry,
    )  # fmt: skip


def _rms(data: np.ndarray) -> float:
    """Return the median over channels of the RMS without the largest 5% of seconds, which are artifacts, µV."""
    seconds = data[:, : data.shape[1] // 256 * 256].reshape(len(data), -1, 256)
    return float(np.median(np.quantile(np.sqrt((seconds**2).mean(axis=2)), 0.5, axis=1)))


def _patterned(rng: np.random.Generator, family: Family, real: Carrier | None, label: str) -> Brain:
    pattern = Wide(family.habits).draw(rng, label, GRID)
    subject = draw_subject(rng)
    x, y, z = pattern.focus if pattern.lateral and pattern.focus is not None else draw_focus(rng)
    asymmetry = float(rng.beta(1.5, 2)) if pattern.lateral else float(rng.beta(1, 4))
    subject = replace(subject, focus=(float(x), float(y), float(z)), asymmetry=asymmetry, alpha_uv=subject.alpha_uv / 2)
    calm = _background(rng, real, subject, slowing=float(rng.beta(2, 2)))
    if label == "GPD" and rng.random() < 0.3:
        calm = calm * rng.uniform(0.15, 0.6)  # discharges on a suppressed background
    prominence = _prominence(rng, family, label)
    peak = float(np.clip(prominence * _rms(calm), *PATTERN_UV))
    votes = draw_votes(
        rng, label, clarity=clarity(prominence, unseen_below=UNSEEN_BELOW), rate_hz=max(pattern.rate_hz),
        lateral=pattern.lateral,
    )  # fmt: skip
    truth = Truth(
        label=label, variant=pattern.variant, span_s=pattern.span_s, rate_hz=pattern.rate_hz, prominence=prominence,
        events=pattern.events,
    )  # fmt: skip
    return Brain(data=calm + peak * pattern.data, state=subject, truth=truth, votes=votes)


def _prominence(rng: np.random.Generator, family: Family, label: str) -> float:
    """Return a pattern's peak over the background's RMS."""
    median, spread = family.prominence
    prominence = float(np.clip(rng.lognormal(np.log(median), spread), *PROMINENCE))
    return prominence * _share_of_height(label)


def typical_prominence(family: Family, label: str) -> float:
    """Return the median of a class's prominence in a family."""
    return family.prominence[0] * _share_of_height(label)


def _share_of_height(label: str) -> float:
    return 0.65 if label in RHYTHMIC else 0.85 if label == "Seizure" else 1.0


def _other(rng: np.random.Generator, family: Family, real: Carrier | None) -> Brain:
    misses = rng.random() < NEAR_MISS_SHARE
    variant = str(rng.choice(NEAR_MISSES if misses else STATES))
    subject = draw_subject(rng) if misses or variant == "plain" else other_subject(rng, draw_subject(rng), variant)
    slowing = 0.0 if variant in ("alpha", "spindles") or rng.random() < 0.25 else float(rng.beta(2, 2))
    data = _background(rng, real, subject, slowing=slowing)
    if misses:
        extra = near_miss(rng, variant, GRID, family.habits) * np.clip(_rms(data), 6, 60)
        data = data + np.clip(extra, -PATTERN_UV[1], PATTERN_UV[1])
    elif variant == "attenuated" and real is not None:
        data = data * rng.uniform(2, 7) / max(_rms(data), 1.0)
    elif variant == "burst-suppression":
        data = data * rng.uniform(1, 2.5)
    data, events = overlaid(rng, data, variant, GRID)
    votes = draw_votes(rng, "Other", clarity=float(rng.uniform(0.1, 1.0)))
    return Brain(data=data, state=subject, truth=truth_of_other(variant, GRID, events), votes=votes)


TRAINED: tuple[Family, ...] = (
    Family(name="simulated"),
    Family(name="carried", carriers=1.0),
)
"""What models learn from while they are chosen."""
HELD_OUT: tuple[Family, ...] = (
    Family(name="original", original=True),
    Family(name="unseen-sites", carriers=1.0),
    Family(name="faint-and-uneven", carriers=0.5,
           prominence=(3.0, 0.3), upper_hz=(20.0, 25.0, 50.0),
           habits=Habits(forms=("damped",), jitter=(0.12, 0.22), unevenness=(0.25, 0.5), wobble=(0.06, 0.12),
                         spread=(0.3, 0.6))),
)  # fmt: skip
"""What they are chosen on: another generator, other real sites, other wave forms."""
