"""What to review next: the answers that a label would teach most, each from another place.

Score: entropy as a share of the largest possible one, plus what the members of an ensemble disagree by. Taken greedily,
so that no two lie within a minute of each other, no class and no recording fills the list, and what is far in embedding
from all that is reviewed or listed comes before what is near (`active_labels_saved` in docs/results/serving.md is what
that is worth). An answer that is not a number is never listed, and such an embedding counts as none.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import ceil, isfinite

import numpy as np

from service.formats.findings import Findings
from service.review.distances import distances, scales
from service.web.answers import share_of_entropy
from serving.runtime import Answer

APART_S = 60.0
_CLASS_PENALTY = 0.1
_MOST_OF_A_LIST = 0.25
"""Share of a list that one recording may take while others have something left."""
_NOVELTY = 0.5
"""What the largest distance in embedding is worth beside the score, whose parts are at most 1 each."""
_MOST_COMPARED, _MOST_OF_ONE = 4000, 400
"""Candidates in all, and of one recording."""


@dataclass(frozen=True)
class Candidate:
    """A stretch that nobody has reviewed yet."""

    recording: str
    start_s: float
    stop_s: float
    predicted_class: str
    score: float
    space: str = ""
    """Digest of the model that embedded it; empty where there is no embedding."""
    vector: np.ndarray | None = field(default=None, repr=False, compare=False)
    """Its embedding."""
    is_reviewed: bool = False
    """Whether it has a label already: it is not listed again, and what resembles it comes later."""


def candidates(
    recording: str, findings: Findings, reviewed: Sequence[tuple[float, float]], vectors: np.ndarray | None = None
) -> list[Candidate]:
    """Return the answers to a recording, with embeddings (a row each) those that a review overlaps, too."""
    found = []
    usable = np.zeros(len(findings.answers), dtype=bool) if vectors is None else np.isfinite(vectors).all(axis=1)
    for row, answer in enumerate(findings.answers):
        start, stop = findings.span(answer)
        is_reviewed = any(a < stop and start < b for a, b in reviewed)
        if (is_reviewed and vectors is None) or not _is_finite(answer):
            continue
        found.append(Candidate(
            recording, start, stop, answer.predicted_class, score_of(answer), is_reviewed=is_reviewed,
            space=findings.model_digest if usable[row] else "",
            vector=vectors[row] if vectors is not None and usable[row] else None,
        ))  # fmt: skip
    return found


def worthwhile(pool: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates of a recording that may be listed, most of a long one left out, and those reviewed."""
    ordered = sorted(pool, key=lambda one: -one.score)
    return [one for one in ordered if not one.is_reviewed][:_MOST_OF_ONE] + [one for one in pool if one.is_reviewed]


def score_of(answer: Answer) -> float:
    """Return how much there is to learn: 0 for a certain answer of one mind."""
    return share_of_entropy(answer) + (answer.uncertainty["epistemic"] or 0.0)


def next_to_review(pool: Iterable[Candidate], *, n: int) -> list[Candidate]:
    """Return up to n candidates, the most worthwhile first: see the module."""
    ordered = sorted(pool, key=lambda one: (-one.score, one.recording, one.start_s))
    left = [one for one in ordered if not one.is_reviewed][:_MOST_COMPARED]
    novelty = _Novelty(left, [one for one in ordered if one.is_reviewed][:_MOST_COMPARED])
    chosen: list[Candidate] = []
    classes, recordings = Counter[str](), Counter[str]()
    most = ceil(_MOST_OF_A_LIST * n)
    open_rows = list(range(len(left)))
    while open_rows and len(chosen) < n:
        worth = novelty.worth
        others = [row for row in open_rows if recordings[left[row].recording] < most]
        best = max(others or open_rows, key=lambda row: (
            left[row].score + worth[row] - _CLASS_PENALTY * classes[left[row].predicted_class]
        ))  # fmt: skip
        chosen.append(left[best])
        classes[left[best].predicted_class] += 1
        recordings[left[best].recording] += 1
        novelty.see(left[best])
        open_rows = [row for row in open_rows if row != best and not _is_near(left[row], left[best])]
    return chosen


def _is_finite(answer: Answer) -> bool:
    return all(isfinite(value or 0.0) for value in (*answer.class_probabilities.values(), *answer.uncertainty.values()))


def _is_near(one: Candidate, other: Candidate) -> bool:
    return one.recording == other.recording and abs(one.start_s - other.start_s) < APART_S


class _Novelty:
    """How far each candidate lies from all that was seen, model by model; nothing where there are no embeddings."""

    def __init__(self, left: Sequence[Candidate], seen: Sequence[Candidate]) -> None:
        self._nearest = np.zeros(len(left))
        self._spaces: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
        for space in {one.space for one in left} - {""}:
            rows = np.array([row for row, one in enumerate(left) if one.space == space])
            vectors = np.stack([left[row].vector for row in rows])
            self._spaces[space] = rows, vectors, scales([vectors])
            self._nearest[rows] = np.inf
        for one in seen:
            self.see(one)

    @property
    def worth(self) -> np.ndarray:
        """What distance adds to each score: 0 at what was seen, at most `_NOVELTY`; a typical distance is 1.4."""
        return np.asarray(_NOVELTY * np.minimum(self._nearest / np.sqrt(2), 1.0))

    def see(self, one: Candidate) -> None:
        """Count a candidate as listed or reviewed."""
        if one.vector is not None and one.space in self._spaces:
            rows, vectors, scale = self._spaces[one.space]
            self._nearest[rows] = np.minimum(self._nearest[rows], distances(vectors, one.vector, scale))
