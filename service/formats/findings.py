"""A recording's answers, and the stretches of time that they speak of."""

from collections.abc import Sequence
from dataclasses import dataclass

from serving.rows import span_of
from serving.runtime import Answer

_SAME_S = 0.01


@dataclass(frozen=True, kw_only=True)
class Findings:
    """All answers of one recording by one model, in order of time."""

    answers: Sequence[Answer]
    source_sha256: str
    model: str
    model_digest: str
    classes: tuple[str, ...]
    created_at: float
    """Of the answers, UTC seconds since 1970."""
    label_span_s: tuple[float, float] | None
    """The stretch of a window that its answer speaks of, seconds from its start; None: all of it."""

    @property
    def stop_s(self) -> float:
        """End of the last window, seconds."""
        return max((answer.stop_s for answer in self.answers), default=0.0)

    def span(self, answer: Answer) -> tuple[float, float]:
        """Return the seconds of the recording that an answer speaks of."""
        return span_of(answer, self.label_span_s)


@dataclass(frozen=True)
class Event:
    """A stretch with one predicted class."""

    onset_s: float
    stop_s: float
    predicted_class: str
    confidence: float
    """Mean over its windows."""
    n_windows: int

    @property
    def duration_s(self) -> float:
        """Length, seconds."""
        return round(self.stop_s - self.onset_s, 6)


def events(findings: Findings) -> list[Event]:
    """Return neighbouring answers of one class joined; a gap, or another class between, ends an event.

    Answers that overlap (a hop shorter than the span) are cut where the next one begins.
    """
    result: list[Event] = []
    spans = [findings.span(answer) for answer in findings.answers]
    begins = [first for first, _ in spans[1:]] + [float("inf")]
    for answer, (first, last), following in zip(findings.answers, spans, begins, strict=True):
        last = min(last, following)
        before = result[-1] if result else None
        joins = before is not None and abs(before.stop_s - first) < _SAME_S
        if before is not None and joins and before.predicted_class == answer.predicted_class:
            n = before.n_windows + 1
            mean = before.confidence + (answer.confidence - before.confidence) / n
            result[-1] = Event(before.onset_s, last, before.predicted_class, mean, n)
        else:
            result.append(Event(first, last, answer.predicted_class, answer.confidence, 1))
    return result
