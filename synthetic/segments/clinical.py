"""Labelled segments of one subject, for any electrodes and rate: what the synthetic hospitals record."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from signals.electrodes import canonical_electrode, electrode_positions
from signals.tasks import SIX_CLASS
from synthetic.patterns.clinical import Clinical
from synthetic.patterns.votes import draw_votes
from synthetic.patterns.waves import discharge
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
from synthetic.subject.background import OTHER_VARIANTS, alpha, ongoing, other_subject
from synthetic.subject.grid import Grid
from synthetic.subject.sources import SOURCES, field, near
from synthetic.subject.subjects import Subject
from synthetic.subject.truth import Event, Truth

INNER_SFREQ = 256.0
"""Rate at which everything is made before it is resampled, Hz."""
MAX_PATTERN_UV = 400.0
"""Highest typical peak of a pattern."""
UNSEEN_BELOW = 1.5
"""Prominence under which experts see nothing."""


def segment(
    rng: np.random.Generator,
    *,
    label: str,
    duration_s: float,
    sfreq: float,
    ch_names: Sequence[str],
    subject: Subject,
) -> Segment:
    """Return a segment of a class against an ideal reference; a pattern covers at least the middle 14 s.

    Raises ValueError for an unknown label or electrode, or for less than 10 s.
    """
    if label not in SIX_CLASS.classes:
        raise ValueError(f"label {label!r} is none of {list(SIX_CLASS.classes)}")
    if duration_s < 10:
        raise ValueError(f"duration_s={duration_s} is less than the 10 s that a label is about")
    canonical = [canonical_electrode(name) for name in ch_names]
    known = [name for name in canonical if name is not None]
    if len(known) < len(canonical):
        raise ValueError(f"no position is known of {ch_names[canonical.index(None)]!r}")
    grid = Grid(electrode_positions(known), int(round(duration_s * INNER_SFREQ)), INNER_SFREQ)
    brain = _other(rng, grid, subject) if label == "Other" else _patterned(rng, label, grid, subject)
    brain = with_body(rng, brain, grid, ch_names)
    data = resampled(brain.data, sfreq)[:, : int(round(duration_s * sfreq))]
    return with_faults(rng, brain, data, ch_names=ch_names, sfreq=sfreq)


def resampled(data: np.ndarray, sfreq: float) -> np.ndarray:
    """Return data of INNER_SFREQ at another rate, float32, shape (n_chans, n_times x sfreq / INNER_SFREQ)."""
    ratio = Fraction(sfreq / INNER_SFREQ).limit_denominator(1000)
    if ratio == 1:
        return data
    from scipy.signal import resample_poly  # importing it takes a second

    return resample_poly(data, ratio.numerator, ratio.denominator, axis=1, padtype="line").astype(np.float32)


def _background(rng: np.random.Generator, grid: Grid, subject: Subject) -> tuple[np.ndarray, list[Event]]:
    """Return ongoing activity with alpha, µV, shape (n_chans, n_times), and when the eyes were closed."""
    waves, closed = alpha(rng, positions=grid.positions, subject=subject, n_times=grid.n_times, sfreq=grid.sfreq)
    calm = ongoing(rng, positions=grid.positions, subject=subject, n_times=grid.n_times, sfreq=grid.sfreq)
    return calm + waves, closed


def _patterned(rng: np.random.Generator, label: str, grid: Grid, subject: Subject) -> Brain:
    pattern = Clinical(subject).draw(rng, label, grid)
    prominence = float(np.clip(subject.prominence * rng.lognormal(0, 0.25), 1.5, 16))
    prominence = min(prominence, MAX_PATTERN_UV / subject.background_uv)
    if label in RHYTHMIC:
        prominence *= 0.75
    calm, closed = _background(rng, grid, subject)
    votes = draw_votes(
        rng, label, clarity=clarity(prominence, unseen_below=UNSEEN_BELOW), rate_hz=pattern.rate_hz[1],
        lateral=pattern.lateral,
    )  # fmt: skip
    truth = Truth(
        label=label, variant=pattern.variant, span_s=pattern.span_s, rate_hz=pattern.rate_hz, prominence=prominence,
        events=(*pattern.events, *closed),
    )  # fmt: skip
    data = calm + prominence * subject.background_uv * pattern.data
    return Brain(data=data, state=subject, truth=truth, votes=votes)


def _other(rng: np.random.Generator, grid: Grid, subject: Subject) -> Brain:
    variant = OTHER_VARIANTS[rng.integers(len(OTHER_VARIANTS))]
    state = other_subject(rng, subject, variant)
    data, closed = _background(rng, grid, state)
    data, events = overlaid(rng, data, variant, grid)
    if variant == "sporadic-sharp":
        sharp, events = _sporadic(rng, grid, state)
        data = data + sharp
    truth = truth_of_other(variant, grid, [*closed, *events])
    votes = draw_votes(rng, "Other", clarity=float(rng.uniform(0.1, 1.0)))
    return Brain(data=data, state=state, truth=truth, votes=votes)


def _sporadic(rng: np.random.Generator, grid: Grid, subject: Subject) -> tuple[np.ndarray, list[Event]]:
    """Return a few sharp waves at no regular interval, µV, shape (n_chans, n_times), and when they peak."""
    wave = -discharge("sharp", grid.sfreq) * subject.background_uv * rng.uniform(2, 5)
    times = np.sort(rng.uniform(1, grid.length_s - 1, rng.poisson(0.12 * grid.length_s)))
    trace = np.zeros(grid.n_times)
    for at in times:
        trace[int(at * grid.sfreq)] += rng.lognormal(0, 0.3)
    from scipy.signal import fftconvolve  # importing it takes a second

    scalp = field(grid.positions, near(SOURCES, np.array(subject.focus), 0.3))
    data = np.outer(scalp, fftconvolve(trace, wave, mode="same")).astype(np.float32)
    return data, [Event("discharge", float(at), 0.2) for at in times]
