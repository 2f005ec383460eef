"""One labelled segment of synthetic EEG: background, pattern, artifacts, votes and the truth about them."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from scipy import signal

from signals.electrodes import canonical_electrode, electrode_positions
from signals.tasks import SIX_CLASS
from synthetic.patterns.patterns import Pattern, discharge, draw_pattern
from synthetic.patterns.votes import draw_votes
from synthetic.subject.artifacts import electrode_faults, physiological
from synthetic.subject.background import (
    OTHER_VARIANTS,
    alpha,
    burst_suppression,
    ongoing,
    other_subject,
    spindles,
)
from synthetic.subject.sources import SOURCES, field, near
from synthetic.subject.subjects import Subject
from synthetic.subject.truth import Event, Truth

INNER_SFREQ = 256.0
"""Rate at which everything is made before it is resampled, Hz."""
MAX_PATTERN_UV = 400.0
"""Highest typical peak of a pattern."""


def segment(
    rng: np.random.Generator,
    *,
    label: str,
    duration_s: float,
    sfreq: float,
    ch_names: Sequence[str],
    subject: Subject,
) -> tuple[np.ndarray, tuple[int, ...], Truth]:
    """Return a segment against an ideal reference (µV, float32, shape (n_chans, n_times)), its votes and its truth.

    `votes` are in the order of SIX_CLASS.classes, and `label` alone has most of them. A pattern covers at least the
    middle 14 s. Raises ValueError for an unknown label or electrode, or for less than 10 s.
    """
    if label not in SIX_CLASS.classes:
        raise ValueError(f"label {label!r} is none of {list(SIX_CLASS.classes)}")
    if duration_s < 10:
        raise ValueError(f"duration_s={duration_s} is less than the 10 s that a label speaks of")
    canonical = [canonical_electrode(name) for name in ch_names]
    known = [name for name in canonical if name is not None]
    if len(known) < len(canonical):
        raise ValueError(f"no position is known of {ch_names[canonical.index(None)]!r}")
    positions, n_times = electrode_positions(known), int(round(duration_s * INNER_SFREQ))
    draw = _other if label == "Other" else _patterned
    brain, state, truth, votes = draw(rng, label, positions, subject, n_times)
    body, events = physiological(
        rng, ch_names=ch_names, positions=positions, subject=state, n_times=n_times, sfreq=INNER_SFREQ
    )
    data = resampled(brain + body, sfreq)[:, : int(round(duration_s * sfreq))]
    data, faults = electrode_faults(rng, data, ch_names, sfreq)
    return data, votes, Truth(**{**vars(truth), "events": (*truth.events, *events, *faults)})


def resampled(data: np.ndarray, sfreq: float) -> np.ndarray:
    """Return data of INNER_SFREQ at another rate, float32, shape (n_chans, n_times x sfreq / INNER_SFREQ)."""
    ratio = Fraction(sfreq / INNER_SFREQ).limit_denominator(1000)
    if ratio == 1:
        return data
    return signal.resample_poly(data, ratio.numerator, ratio.denominator, axis=1, padtype="line").astype(np.float32)


_Drawn = tuple[np.ndarray, Subject, Truth, tuple[int, ...]]


def _patterned(rng: np.random.Generator, label: str, positions: np.ndarray, subject: Subject, n_times: int) -> _Drawn:
    grid = {"positions": positions, "n_times": n_times, "sfreq": INNER_SFREQ}
    pattern: Pattern = draw_pattern(rng, label, subject=subject, **grid)  # type: ignore[arg-type]
    prominence = float(np.clip(subject.prominence * rng.lognormal(0, 0.25), 1.5, 16))
    prominence = min(prominence, MAX_PATTERN_UV / subject.background_uv)
    if label in ("LRDA", "GRDA"):
        prominence *= 0.75  # a rhythm without pauses stands out at less height than single discharges
    waves, closed = alpha(rng, subject=subject, **grid)  # type: ignore[arg-type]
    calm = ongoing(rng, subject=subject, **grid)  # type: ignore[arg-type]
    data = calm + waves + prominence * subject.background_uv * pattern.data
    clarity = float(np.clip(np.log(prominence / 1.5) / np.log(5), 0, 1))
    votes = draw_votes(rng, label, clarity=clarity, rate_hz=pattern.rate_hz[1], lateral=pattern.lateral)
    truth = Truth(
        label=label, variant=pattern.variant, span_s=pattern.span_s, rate_hz=pattern.rate_hz, prominence=prominence,
        events=(*pattern.events, *closed),
    )  # fmt: skip
    return data, subject, truth, votes


def _other(rng: np.random.Generator, label: str, positions: np.ndarray, subject: Subject, n_times: int) -> _Drawn:
    variant = OTHER_VARIANTS[rng.integers(len(OTHER_VARIANTS))]
    state = other_subject(rng, subject, variant)
    waves, closed = alpha(rng, positions=positions, subject=state, n_times=n_times, sfreq=INNER_SFREQ)
    data = waves + ongoing(rng, positions=positions, subject=state, n_times=n_times, sfreq=INNER_SFREQ)
    events: list[Event] = list(closed)
    if variant == "burst-suppression":
        envelope, bursts = burst_suppression(rng, n_times, INNER_SFREQ)
        data, events = data * envelope, events + bursts
    elif variant == "spindles":
        extra, found = spindles(rng, positions=positions, n_times=n_times, sfreq=INNER_SFREQ)
        data, events = data + extra, events + found
    elif variant == "sporadic-sharp":
        extra, found = _sporadic(rng, positions, state, n_times)
        data, events = data + extra, events + found
    truth = Truth(
        label=label, variant=variant, span_s=(0.0, n_times / INNER_SFREQ), rate_hz=(float("nan"),) * 2,
        prominence=float("nan"), events=tuple(events),
    )  # fmt: skip
    return data, state, truth, draw_votes(rng, label, clarity=float(rng.uniform(0.1, 1.0)))


def _sporadic(
    rng: np.random.Generator, positions: np.ndarray, subject: Subject, n_times: int
) -> tuple[np.ndarray, list[Event]]:
    """Return a few sharp waves at no regular interval, µV, shape (n_chans, n_times), and when they peak."""
    wave = -discharge("sharp", INNER_SFREQ) * subject.background_uv * rng.uniform(2, 5)
    length = n_times / INNER_SFREQ
    times = np.sort(rng.uniform(1, length - 1, rng.poisson(0.12 * length)))
    trace = np.zeros(n_times)
    for at in times:
        trace[int(at * INNER_SFREQ)] += rng.lognormal(0, 0.3)
    scalp = field(positions, near(SOURCES, np.array(subject.focus), 0.3))
    data = np.outer(scalp, signal.fftconvolve(trace, wave, mode="same")).astype(np.float32)
    return data, [Event("discharge", float(at), 0.2) for at in times]
