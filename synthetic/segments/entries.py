"""Patterns with their truth for a bank, drawn from the families that models may learn from, and how they are packed.

What a generator does not know of a pattern stays unknown: nan, -1 or `signals.patterns.bank.NO_SIDE`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from signals.modality import EEG_1020
from signals.patterns.bank import ARTIFACTS, BOTH, LEFT, MAX_TRACES, NO_SIDE, RIGHT, Bank
from signals.tasks import SIX_CLASS
from synthetic.patterns.near_misses import NEAR_MISSES, near_miss
from synthetic.patterns.pattern import Pattern
from synthetic.patterns.votes import SURE, doubt_of
from synthetic.patterns.wide import Wide
from synthetic.segments.families import GRID, PATTERN_UV, UNSEEN_BELOW, Family, typical_prominence
from synthetic.segments.segment import PLAIN_AT
from synthetic.subject.artifacts import physiological
from synthetic.subject.background import burst_suppression, other_subject, spindles
from synthetic.subject.subjects import draw_subject
from synthetic.subject.truth import Event

ENTRY_NEAR_MISSES = tuple(kind for kind in NEAR_MISSES if kind != "elsewhere")
"""Near misses of a bank: true patterns outside the middle of a window come of where windows are cut."""
OTHERS = (*ENTRY_NEAR_MISSES, "burst-suppression", "attenuated", "spindles", "artifacts")
"""Forms of Other in a bank."""
_UNKNOWN_DISCHARGES = ("sporadic", "brief-runs")
_NEAR_MISS_UV = (6.0, 60.0)
_MICROVOLTS = (1.0, 1.0)
"""Limits of what is stored in µV as it is."""
_EVOLVING = ("focal-rhythm", "hemispheric-rhythm", "generalised-rhythm", "low-voltage-fast")
_FEWEST = 5
"""Intervals that a train needs for its regularity to be a fact."""
_CLARITY = 0.55
"""How plain Other is to see, on average."""
NAN = float("nan")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One pattern of a bank; fields as `Bank` describes them."""

    data: np.ndarray = field(repr=False)
    label: str
    variant: str
    doubt: np.ndarray = field(repr=False)
    prominence: tuple[float, float]
    limits: tuple[float, float]
    envelope: np.ndarray | None = field(default=None, repr=False)
    clarity: float = NAN
    span_s: tuple[float, float] = (0.0, GRID.length_s)
    rate_hz: tuple[float, float] = (NAN, NAN)
    bend: float = 0.5
    side: int = NO_SIDE
    lag_s: float = NAN
    regularity: float = NAN
    evolves: float = NAN
    train: int = -1
    onsets_s: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)
    artifacts: tuple[Event, ...] = ()


def draw_entry(rng: np.random.Generator, *, label: str, family: Family) -> Entry:
    """Return a pattern of a class, or what stands for Other; raises ValueError for an unknown label."""
    if label not in SIX_CLASS.classes:
        raise ValueError(f"label={label!r} is none of {', '.join(SIX_CLASS.classes)}")
    return draw_other(rng, str(rng.choice(OTHERS)), family) if label == "Other" else _patterned(rng, label, family)


def _patterned(rng: np.random.Generator, label: str, family: Family) -> Entry:
    pattern = Wide(family.habits).draw(rng, label, GRID)
    onsets = np.array([event.onset_s for event in pattern.events if event.kind == "discharge"])
    gaps = np.diff(onsets)
    envelope = None
    if label == "GPD" and rng.random() < 0.3:
        envelope = np.full(GRID.n_times, rng.uniform(0.15, 0.6))  # discharges on a suppressed background
    return Entry(
        data=pattern.data, label=label, variant=pattern.variant, envelope=envelope,
        doubt=doubt_of(label, rate_hz=max(pattern.rate_hz), lateral=pattern.lateral),
        prominence=(typical_prominence(family, label), family.prominence[1]), limits=PATTERN_UV,
        span_s=pattern.span_s, rate_hz=pattern.rate_hz, bend=pattern.bend, side=_side(pattern), lag_s=pattern.lag_s,
        regularity=float(gaps.std() / gaps.mean()) if gaps.size >= _FEWEST else NAN,
        evolves=1.0 if pattern.variant in _EVOLVING else NAN if label == "Seizure" else 0.0,
        train=1 if onsets.size > 1 else -1 if pattern.variant in _EVOLVING else 0, onsets_s=onsets,
    )  # fmt: skip


def _side(pattern: Pattern) -> int:
    if not pattern.lateral:
        return BOTH
    assert pattern.focus is not None  # of every lateral pattern of `Wide`
    return LEFT if pattern.focus[0] < 0 else RIGHT


def draw_other(rng: np.random.Generator, variant: str, family: Family) -> Entry:
    """Return what stands for Other, one of `OTHERS`."""
    still = np.zeros((len(GRID.positions), GRID.n_times))
    other = Entry(
        data=still, label="Other", variant=variant, doubt=doubt_of("Other"), clarity=_CLARITY, prominence=(1.0, 0.0),
        limits=_MICROVOLTS, evolves=0.0, train=0,
    )  # fmt: skip
    if variant in ENTRY_NEAR_MISSES:
        data = near_miss(rng, variant, GRID, family.habits)
        return replace(other, data=data, limits=_NEAR_MISS_UV, train=-1 if variant in _UNKNOWN_DISCHARGES else 0)
    if variant == "burst-suppression":
        envelope, _ = burst_suppression(rng, GRID.n_times, GRID.sfreq)
        return replace(other, envelope=envelope * rng.uniform(1, 1.6), evolves=NAN)
    if variant == "attenuated":
        return replace(other, envelope=np.full(GRID.n_times, rng.uniform(0.1, 0.4)))
    if variant == "spindles":
        data, _ = spindles(rng, positions=GRID.positions, n_times=GRID.n_times, sfreq=GRID.sfreq)
        return replace(other, data=data)
    body, events = physiological(
        rng, ch_names=EEG_1020.ch_names, positions=GRID.positions, n_times=GRID.n_times, sfreq=GRID.sfreq,
        subject=other_subject(rng, draw_subject(rng), "artifacts"),
    )  # fmt: skip
    return replace(other, data=body, artifacts=tuple(events))


@dataclass(frozen=True, kw_only=True)
class Compact:
    """A pattern whose samples are traces and maps: a fiftieth of the memory."""

    entry: Entry
    """Without samples."""
    trace_RT: np.ndarray = field(repr=False)
    map_RC: np.ndarray = field(repr=False)


def compact(entry: Entry) -> Compact:
    """Return a pattern as it is kept until all are drawn."""
    trace_RT, map_RC = traces_of(entry.data)
    return Compact(entry=replace(entry, data=np.empty((0, 0))), trace_RT=trace_RT, map_RC=map_RC)


def packed(drawn: Sequence[Compact]) -> Bank:
    """Return patterns as a bank stores them."""
    entries = [one.entry for one in drawn]
    traces, maps = [one.trace_RT for one in drawn], [one.map_RC for one in drawn]
    envelopes = [entry.envelope for entry in entries if entry.envelope is not None]
    has_envelope = np.array([entry.envelope is not None for entry in entries])
    events = [
        np.array([[ARTIFACTS.index(e.kind), e.onset_s, e.duration_s] for e in entry.artifacts]).reshape(-1, 3)
        for entry in entries
    ]
    doubt = np.array([entry.doubt / entry.doubt.sum() for entry in entries])

    def column(name: str, kind: type = np.float32) -> np.ndarray:
        return np.array([getattr(entry, name) for entry in entries], dtype=kind)

    return Bank(
        sfreq=GRID.sfreq, ch_names=np.array(EEG_1020.ch_names),
        trace_RT=np.concatenate(traces), map_RC=np.concatenate(maps), trace_first_E=firsts(traces),
        envelope_VT=np.array(envelopes, np.float16).reshape(-1, GRID.n_times),
        envelope_E=np.where(has_envelope, np.cumsum(has_envelope) - 1, -1),
        variant_E=np.array([entry.variant for entry in entries]),
        class_E=np.array([SIX_CLASS.classes.index(entry.label) for entry in entries]),
        doubt_EK=doubt.astype(np.float32), clarity_E=column("clarity"), sure=np.array([*SURE, UNSEEN_BELOW, PLAIN_AT]),
        prominence_E2=column("prominence"), limits_E2=column("limits"), span_E2=column("span_s"),
        rate_E2=column("rate_hz"), bend_E=column("bend"), side_E=column("side", np.int64), lag_E=column("lag_s"),
        regularity_E=column("regularity"), evolves_E=column("evolves"), train_E=column("train", np.int64),
        onset_s_M=np.concatenate([entry.onsets_s for entry in entries]).astype(np.float32),
        onset_first_E=firsts([entry.onsets_s for entry in entries]),
        artifact_M3=np.concatenate(events).astype(np.float32), artifact_first_E=firsts(events),
    )  # fmt: skip


def traces_of(data: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the traces, int16, shape (R, T), and maps, float32, shape (R, C), whose products add up to samples.

    These are the singular vectors that hold all but a millionth of the power, `MAX_TRACES` at most; none of silence.
    """
    power, basis = np.linalg.eigh(data @ data.T)
    order = np.argsort(-power)[:MAX_TRACES]
    kept = order[power[order] > 1e-6 * max(float(power.sum()), 1e-12)]
    trace = basis[:, kept].T @ data
    step = np.abs(trace).max(axis=1, initial=1e-12) / 32000
    return np.rint(trace / step[:, None]).astype(np.int16), (basis[:, kept].T * step[:, None]).astype(np.float32)


def firsts(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Return where each part begins when all are put behind each other, and where the last one ends, int64."""
    return np.cumsum([0, *(len(part) for part in parts)])
