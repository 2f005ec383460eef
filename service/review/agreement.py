"""How far reviewers agree beyond chance: Cohen's kappa of two, Fleiss' of several, on units of 10 s.

Cohen 1960, doi:10.1177/001316446002000104; Fleiss 1971, doi:10.1037/h0031619. A unit has a reviewer's label where the
newest review that covers most of it has one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from service.records.tables import Review

UNIT_S = 10.0
"""The stretch that one answer speaks of."""

Units = Mapping[int, str]
"""Labels by the number of the unit, counted from the recording's start."""


@dataclass(frozen=True)
class Pair:
    """Two reviewers' agreement."""

    a: str
    b: str
    n_units: int
    kappa: float | None
    """None where chance alone would agree always."""


@dataclass(frozen=True)
class Agreement:
    """Of all reviewers of a study."""

    reviewers: tuple[str, ...]
    pairs: tuple[Pair, ...]
    n_units: int
    """Units that all reviewers labelled."""
    fleiss: float | None
    """None for fewer than two reviewers, no common unit, or agreement that chance alone would give."""


def units_of(reviews: Iterable[Review]) -> dict[str, dict[int, str]]:
    """Return each reviewer's units; of reviews that overlap the newest counts, withdrawn ones never."""
    found: dict[str, dict[int, str]] = {}
    for review in sorted(reviews, key=lambda one: (one.created_at, one.id)):
        if review.withdrawn_at is not None:
            continue
        units = found.setdefault(review.reviewer, {})
        for number in range(int(review.start_s // UNIT_S), int(-(-review.stop_s // UNIT_S))):
            start, stop = max(review.start_s, number * UNIT_S), min(review.stop_s, (number + 1) * UNIT_S)
            if stop - start >= UNIT_S / 2:
                units[number] = review.label
    return found


def agreement(reviews: Iterable[Review]) -> Agreement:
    """Return the agreement of all who reviewed a study."""
    units = units_of(reviews)
    names = tuple(sorted(units))
    pairs = []
    for a, b in combinations(names, 2):
        common = sorted(units[a].keys() & units[b].keys())
        kappa = cohen([units[a][n] for n in common], [units[b][n] for n in common])
        pairs.append(Pair(a, b, len(common), kappa))
    shared = sorted(set.intersection(*(set(one) for one in units.values()))) if units else []
    labels = [[units[name][n] for name in names] for n in shared]
    return Agreement(names, tuple(pairs), len(shared), fleiss(labels) if len(names) > 1 else None)


def cohen(a: Sequence[str], b: Sequence[str]) -> float | None:
    """Return Cohen's kappa of two label lists; None for empty ones, or where chance agrees always."""
    if not a:
        return None
    classes = sorted({*a, *b})
    by_chance = sum(a.count(name) * b.count(name) for name in classes) / len(a) ** 2
    observed = sum(x == y for x, y in zip(a, b, strict=True)) / len(a)
    return None if by_chance == 1.0 else (observed - by_chance) / (1.0 - by_chance)


def fleiss(labels: Sequence[Sequence[str]]) -> float | None:
    """Return Fleiss' kappa of units with as many labels each; None for none, or where chance agrees always."""
    if not labels:
        return None
    classes = sorted({label for unit in labels for label in unit})
    counts = np.array([[unit.count(name) for name in classes] for unit in labels], dtype=np.float64)
    n = counts.sum(axis=1)[0]
    shares = counts.sum(axis=0) / counts.sum()
    by_chance = float((shares**2).sum())
    observed = float(((counts**2).sum(axis=1) - n).mean() / (n * (n - 1)))
    return None if by_chance == 1.0 else (observed - by_chance) / (1.0 - by_chance)
