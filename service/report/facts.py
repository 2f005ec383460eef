"""What a patient report states, computed once from answers: burden of each class, episodes, what could not be answered."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from service.formats.findings import Event, Findings, events
from service.viewer.tracks import NOTHING, is_abstained
from serving.runtime import Answer


@dataclass(frozen=True)
class Burden:
    """One class over the recording."""

    name: str
    seconds: float
    share: float
    """Of the time that was answered."""
    n_episodes: int
    longest_s: float
    most_in_5_min: float
    """Largest share of any five minutes."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """All that the report's sentences are derived from."""

    recording: str
    duration_s: float
    recorded_s: float
    answered_s: float
    abstained_s: float
    unsure_s: float
    """Answered with a confidence below `LEAST`."""
    burdens: tuple[Burden, ...]
    episodes: tuple[Event, ...]
    """Findings alone: "Other" is none."""
    samples: tuple[Answer, ...]
    """The most confident answer of each class that is a finding, in order of class."""
    bad: tuple[str, ...]
    unanswered: tuple[tuple[str, float], ...]
    """Reasons, and their seconds."""
    n_reviews: int
    model: str
    model_digest: str


WINDOW_S = 300.0
LEAST = 0.5
"""Confidence from which an answer counts; with six classes the likeliest may have a fifth."""


def counted(findings: Findings) -> Findings:
    """Return the answers that a report counts; the others are stated as unsure."""
    return replace(findings, answers=[answer for answer in findings.answers if answer.confidence >= LEAST])


def burdens(findings: Findings) -> tuple[Burden, ...]:
    """Return the burden of every class that is a finding, in the task's order."""
    spans = [findings.span(answer) for answer in findings.answers]
    answered = sum(stop - start for start, stop in spans)
    spans = [findings.span(answer) for answer in counted(findings).answers]
    found = events(counted(findings))
    result = []
    for name in findings.classes:
        own = [
            (a, b)
            for (a, b), answer in zip(spans, counted(findings).answers, strict=True)
            if answer.predicted_class == name
        ]
        if name == NOTHING:
            continue
        episodes = [event for event in found if event.predicted_class == name]
        seconds = sum(b - a for a, b in own)
        result.append(
            Burden(
                name, seconds, seconds / answered if answered else 0.0, len(episodes),
                max((event.duration_s for event in episodes), default=0.0), _most(own),
            )
        )  # fmt: skip
    return tuple(result)


def _most(spans: Sequence[tuple[float, float]]) -> float:
    """Return the largest share of `WINDOW_S` seconds that the spans cover; windows begin where a span does."""
    if not spans:
        return 0.0
    starts = np.array([a for a, _ in spans])
    stops = np.array([b for _, b in spans])
    covered = [
        float(np.clip(np.minimum(stops, start + WINDOW_S) - np.maximum(starts, start), 0.0, None).sum())
        for start in starts
    ]
    return min(1.0, max(covered) / WINDOW_S)


def clearest(findings: Findings) -> tuple[Answer, ...]:
    """Return the most confident answer of each class that is a finding."""
    best: dict[str, Answer] = {}
    for answer in counted(findings).answers:
        name = answer.predicted_class
        if name != NOTHING and (name not in best or answer.confidence > best[name].confidence):
            best[name] = answer
    return tuple(best[name] for name in findings.classes if name in best)


def unsure_s(findings: Findings) -> float:
    """Return the seconds of answers that the report does not count."""
    spans = [findings.span(answer) for answer in findings.answers if answer.confidence < LEAST]
    return sum(stop - start for start, stop in spans)


def abstained_s(findings: Findings, below: float | None) -> float:
    """Return the seconds that the model abstains from."""
    spans = [findings.span(answer) for answer in findings.answers if is_abstained(answer, below)]
    return sum(stop - start for start, stop in spans)
