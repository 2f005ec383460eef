"""Events in time: windows merged into events, and events scored by overlap, as SzCORE does.

An event is a stretch (start, end) in seconds of one recording. The rules are those of SzCORE (Dan et al. 2024,
doi:10.1111/epi.18113; the package timescoring, whose counts this module reproduces): events closer than 90 s are one,
events longer than 5 min are several, a true event is detected by any alarm from 30 s before its start to 60 s after its
end, and an alarm is false if it touches no detected event.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Stretch = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class EventRules:
    """Tolerances of event scoring, seconds."""

    before_s: float = 30.0
    after_s: float = 60.0
    merge_s: float = 90.0
    longest_s: float = 300.0


SZCORE = EventRules()


@dataclass(frozen=True, kw_only=True)
class EventCounts:
    """True events, those detected, and false alarms."""

    n_events: int
    n_detected: int
    n_false: int


def union(starts: np.ndarray, ends: np.ndarray) -> list[Stretch]:
    """Return the stretches that windows cover together, in order; windows that touch are one stretch."""
    order = np.argsort(starts, kind="stable")
    stretches: list[Stretch] = []
    for start, end in zip(starts[order].tolist(), ends[order].tolist(), strict=True):
        if stretches and start <= stretches[-1][1] + 1e-9:
            stretches[-1] = (stretches[-1][0], max(stretches[-1][1], end))
        else:
            stretches.append((start, end))
    return stretches


def length_s(stretches: Sequence[Stretch]) -> float:
    """Return the summed length of stretches that do not overlap, seconds."""
    return float(sum(end - start for start, end in stretches))


def merged(stretches: Sequence[Stretch], rules: EventRules = SZCORE) -> list[Stretch]:
    """Return ordered stretches as events: near ones joined, long ones split."""
    joined: list[Stretch] = []
    for start, end in stretches:
        if joined and start - joined[-1][1] < rules.merge_s:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    events: list[Stretch] = []
    for start, end in joined:
        while end - start > rules.longest_s:
            events.append((start, start + rules.longest_s))
            start += rules.longest_s
        events.append((start, end))
    return events


def score_events(
    truth: Sequence[Stretch], alarms: Sequence[Stretch], *, end_s: float, rules: EventRules = SZCORE
) -> EventCounts:
    """Return the counts of one recording of length `end_s`; stretches are ordered and do not overlap."""
    true_events, alarm_events = merged(truth, rules), merged(alarms, rules)
    reached = [(max(0.0, start - rules.before_s), min(end_s, end + rules.after_s)) for start, end in true_events]
    detected = [stretch for stretch in reached if any(_touch(stretch, alarm) for alarm in alarm_events)]
    n_false = sum(not any(_touch(alarm, stretch) for stretch in detected) for alarm in alarm_events)
    return EventCounts(n_events=len(true_events), n_detected=len(detected), n_false=n_false)


def _touch(a: Stretch, b: Stretch) -> bool:
    return min(a[1], b[1]) - max(a[0], b[0]) > 1e-6
