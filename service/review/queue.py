"""What to review next: the answers that a label would teach most, each from another place.

Score: entropy as a share of the largest possible one, plus what the members of an ensemble disagree by. Taken greedily,
so that no two lie within a minute of each other and no class fills the list.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from service.formats.findings import Findings
from service.web.answers import share_of_entropy
from serving.runtime import Answer

APART_S = 60.0
_CLASS_PENALTY = 0.1


@dataclass(frozen=True)
class Candidate:
    """A stretch that nobody has reviewed yet."""

    recording: str
    start_s: float
    stop_s: float
    predicted_class: str
    score: float


def candidates(recording: str, findings: Findings, reviewed: Sequence[tuple[float, float]]) -> list[Candidate]:
    """Return the answers to a recording that no review overlaps."""
    found = []
    for answer in findings.answers:
        start, stop = findings.span(answer)
        if not any(a < stop and start < b for a, b in reviewed):
            found.append(Candidate(recording, start, stop, answer.predicted_class, score_of(answer)))
    return found


def score_of(answer: Answer) -> float:
    """Return how much there is to learn: 0 for a certain answer of one mind."""
    return share_of_entropy(answer) + (answer.uncertainty["epistemic"] or 0.0)


def next_to_review(pool: Iterable[Candidate], *, n: int) -> list[Candidate]:
    """Return up to n candidates, the most worthwhile first, apart from each other and not all of one class."""
    chosen: list[Candidate] = []
    classes: Counter[str] = Counter()
    left = sorted(pool, key=lambda one: (-one.score, one.recording, one.start_s))
    while left and len(chosen) < n:
        best = max(left, key=lambda one: one.score - _CLASS_PENALTY * classes[one.predicted_class])
        chosen.append(best)
        classes[best.predicted_class] += 1
        left = [
            one for one in left
            if one is not best and (one.recording != best.recording or abs(one.start_s - best.start_s) >= APART_S)
        ]  # fmt: skip
    return chosen
