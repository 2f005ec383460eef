"""Segments that resemble one: the nearest embeddings of the same model, each from another place.

A distance is the root mean square difference of embeddings whose dimensions are scaled to unit variance over all that
are compared, as a share of the median distance: 1 is as far as any segment, 0 the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from service.review.distances import distances, scales
from service.review.queue import APART_S


@dataclass(frozen=True, kw_only=True)
class Answered:
    """A recording's answers with their embeddings, in order of time."""

    recording: str
    study_id: str
    spans: Sequence[tuple[float, float]]
    """Seconds that each answer speaks of."""
    predicted: Sequence[str]
    """Predicted class of each."""
    vectors: np.ndarray = field(repr=False)
    """Shape (n_answers, width)."""


@dataclass(frozen=True, kw_only=True)
class Similar:
    """A segment that resembles another one."""

    recording: str
    study_id: str
    start_s: float
    stop_s: float
    predicted_class: str
    distance: float


def similar_to(pool: Sequence[Answered], query: tuple[int, int], *, n: int) -> list[Similar]:
    """Return up to n segments of `pool`, the nearest first; `query` is the number of a recording and of its answer.

    No two of one recording, the query included, begin within a minute of each other.
    """
    scale = scales([one.vectors for one in pool])
    wanted = pool[query[0]].vectors[query[1]]
    apart = [distances(one.vectors, wanted, scale) for one in pool]
    usual = float(np.median(np.concatenate(apart)))
    taken = [(query[0], pool[query[0]].spans[query[1]][0])]
    found: list[Similar] = []
    for distance, k, row in _nearest_first(apart):
        one, (start, stop) = pool[k], pool[k].spans[row]
        if len(found) == n:
            break
        if any(k == number and abs(start - at) < APART_S for number, at in taken):
            continue
        taken.append((k, start))
        found.append(Similar(
            recording=one.recording, study_id=one.study_id, start_s=start, stop_s=stop,
            predicted_class=one.predicted[row], distance=round(distance / usual, 4) if usual else 0.0,
        ))  # fmt: skip
    return found


def _nearest_first(apart: Sequence[np.ndarray]) -> list[tuple[float, int, int]]:
    """Return (distance, recording, answer), the smallest distance first, ties by place."""
    flat = np.concatenate(apart)
    lengths = [len(one) for one in apart]
    owners, rows = np.repeat(np.arange(len(lengths)), lengths), np.concatenate([np.arange(n) for n in lengths])
    order = np.argsort(flat, kind="stable")
    return [(float(flat[i]), int(owners[i]), int(rows[i])) for i in order]
