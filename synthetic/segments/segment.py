"""How a segment is joined: a brain at work, the body around it, the electrodes that record both, and the truth.

    background + pattern -> Brain -> with_body -> (a recorder's rate and noise) -> with_faults -> Segment

The two generators (`synthetic.segments.clinical` of one subject, `synthetic.segments.families` of a wide prior) differ
in what brains they draw and in what the recorder does; the rest is here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from signals.window import MEASURED
from synthetic.subject.artifacts import electrode_faults, physiological
from synthetic.subject.background import burst_suppression, spindles
from synthetic.subject.grid import Grid
from synthetic.subject.subjects import Subject
from synthetic.subject.truth import Event, Truth

RHYTHMIC = ("LRDA", "GRDA")
"""Classes whose pattern has no pauses, and so stands out at less height than single discharges do."""
PLAIN_AT = 5.0
"""How many times the prominence that goes unseen makes a pattern plain to see."""


@dataclass(frozen=True, kw_only=True)
class Brain:
    """What a brain does in a segment, before body, electrodes and recorder add to it."""

    data: np.ndarray = field(repr=False)
    """µV, shape (n_chans, n_times), against an ideal reference."""
    state: Subject
    """The subject in the state of this segment: what the body does depends on it."""
    truth: Truth
    votes: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Segment:
    """One labelled segment."""

    data: np.ndarray = field(repr=False)
    """µV, float32, shape (n_chans, n_times)."""
    ch_state: np.ndarray = field(repr=False)
    """uint8, shape (n_chans,), as in `signals.window.Window`."""
    votes: tuple[int, ...]
    """Experts per class, in the order of SIX_CLASS.classes; the label alone has most of them."""
    truth: Truth


def clarity(prominence: float, *, unseen_below: float) -> float:
    """Return how plain a pattern is to see, 0 to 1: 1 at `PLAIN_AT` times the prominence that goes unseen."""
    return float(np.clip(np.log(prominence / unseen_below) / np.log(PLAIN_AT), 0, 1))


def overlaid(
    rng: np.random.Generator, data: np.ndarray, variant: str, grid: Grid
) -> tuple[np.ndarray, list[Event]]:  # fmt: skip
    """Return a background with the bursts or spindles that a variant of Other has, and when they were."""
    if variant == "burst-suppression":
        envelope, events = burst_suppression(rng, grid.n_times, grid.sfreq)
        return data * envelope, events
    if variant == "spindles":
        waves, events = spindles(rng, positions=grid.positions, n_times=grid.n_times, sfreq=grid.sfreq)
        return data + waves, events
    return data, []


def truth_of_other(variant: str, grid: Grid, events: Sequence[Event]) -> Truth:
    """Return the truth of a segment without a pattern."""
    nan = float("nan")
    return Truth(
        label="Other", variant=variant, span_s=(0.0, grid.length_s), rate_hz=(nan, nan), prominence=nan,
        events=tuple(events),
    )  # fmt: skip


def with_body(rng: np.random.Generator, brain: Brain, grid: Grid, ch_names: Sequence[str]) -> Brain:
    """Return the brain with what eyes, muscles, heart and sweat add to it."""
    body, events = physiological(
        rng, ch_names=ch_names, positions=grid.positions, subject=brain.state, n_times=grid.n_times, sfreq=grid.sfreq
    )
    return replace(brain, data=brain.data + body, truth=_with_events(brain.truth, events))


def with_faults(
    rng: np.random.Generator, brain: Brain, data: np.ndarray, *, ch_names: Sequence[str], sfreq: float
) -> Segment:
    """Return the segment of which a recorder made `data` (n_chans, n_times), with pops and bad electrodes."""
    data, events = electrode_faults(rng, data, ch_names, sfreq)
    ch_state = np.full(len(ch_names), MEASURED, np.uint8)
    return Segment(data=data, ch_state=ch_state, votes=brain.votes, truth=_with_events(brain.truth, events))


def _with_events(truth: Truth, events: Sequence[Event]) -> Truth:
    return replace(truth, events=(*truth.events, *events))
