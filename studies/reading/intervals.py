"""Intervals over people of what is measured on generators' families: people are drawn again within each family."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

N_DRAWN = 1000


@dataclass(frozen=True)
class Interval:
    """A value with its 95% interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:+.4f} [{self.low:+.4f}, {self.high:+.4f}]"


def over_people(
    measure: Callable[[np.ndarray], float], family: np.ndarray, subject: np.ndarray, *, seed: int
) -> Interval:
    """Return `measure` of all rows, with its interval as people of each family are drawn again, all their rows at once.

    Rows are given to `measure` as indexes, some of them several times; all families keep as many people as they have.
    """
    rng = np.random.default_rng(seed)
    rows_of = [
        [np.flatnonzero((family == name) & (subject == one)) for one in np.unique(subject[family == name])]
        for name in np.unique(family)
    ]
    drawn = [
        measure(np.concatenate([people[i] for people in rows_of for i in rng.integers(0, len(people), len(people))]))
        for _ in range(N_DRAWN)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(measure(np.arange(len(family))), float(low), float(high))
