"""Onsets and offsets of waves held against marks: found or not within a tolerance, and how late.

`EC57_MS` is the window within which ANSI/AAMI EC57 matches beats. `CSE_MS` are two standard deviations between
experts (CSE working party 1985; Martinez et al. 2004, doi:10.1109/TBME.2003.821031), where there is one: stricter than
experts agree on single beats, so that even a second expert stays below 1.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

BOUNDARIES = ("P onset", "P offset", "QRS onset", "QRS offset", "T onset", "T offset")
EC57_MS: dict[str, float] = dict.fromkeys(BOUNDARIES, 150.0)
CSE_MS: dict[str, float] = {"P onset": 10.2, "P offset": 12.7, "QRS onset": 6.5, "QRS offset": 11.6, "T offset": 30.6}


@dataclass(frozen=True, kw_only=True)
class BoundaryScore:
    """One boundary over recordings."""

    n_true: int
    n_found: int
    errors_ms: np.ndarray
    """Found less true, of each match, in ms: positive is late."""

    @property
    def f1(self) -> float:
        """Harmonic mean of sensitivity and precision; nan where nothing is marked and nothing found."""
        total = self.n_true + self.n_found
        return 2 * len(self.errors_ms) / total if total else float("nan")


def errors_of(found: np.ndarray, true: np.ndarray, reach: float) -> np.ndarray:
    """Return found less true of each pair within reach, nearest pairs first; nobody is in two pairs."""
    if not len(found) or not len(true):
        return np.empty(0)
    distance = np.asarray(found, float)[:, None] - np.asarray(true, float)
    errors, taken_f, taken_t = [], set[int](), set[int]()
    for place in np.argsort(np.abs(distance), axis=None, kind="stable"):
        f, t = divmod(int(place), len(true))
        if abs(distance[f, t]) > reach:
            break
        if f not in taken_f and t not in taken_t:
            taken_f.add(f)
            taken_t.add(t)
            errors.append(distance[f, t])
    return np.array(errors)


def boundary_scores(
    pairs: Iterable[tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]]], tolerance_ms: Mapping[str, float]
) -> dict[str, BoundaryScore]:
    """Return the score of each boundary that has a tolerance, over (found, true) times of recordings, seconds."""
    recordings = list(pairs)
    scores = {}
    for name, tolerance in tolerance_ms.items():
        errors = [1000 * errors_of(found[name], true[name], tolerance / 1000) for found, true in recordings]
        scores[name] = BoundaryScore(
            n_true=sum(len(true[name]) for _, true in recordings),
            n_found=sum(len(found[name]) for found, _ in recordings),
            errors_ms=np.concatenate([np.empty(0), *errors]),
        )
    return scores


def macro_f1(scores: Mapping[str, BoundaryScore]) -> float:
    """Return the mean F1 over boundaries."""
    return float(np.mean([score.f1 for score in scores.values()]))
