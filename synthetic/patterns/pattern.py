"""What every family of patterns draws: one pattern, alone, before it is laid on a background.

There are two families. `synthetic.patterns.clinical.Clinical` draws one subject's habitual patterns, in textbook form;
`synthetic.patterns.wide.Wide` draws from a prior wide enough to hold hospitals that no one has seen.
"""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from synthetic.subject.grid import Grid
from synthetic.subject.truth import Event

PATTERNED = ("Seizure", "LPD", "GPD", "LRDA", "GRDA")
"""Classes that have a pattern: all of `signals.tasks.SIX_CLASS` but Other."""


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """One pattern of a segment."""

    data: np.ndarray = field(repr=False)
    """Shape (n_chans, n_times); its usual peak on the best electrode is about 1."""
    variant: str
    """Form of the class, for example "triphasic"."""
    span_s: tuple[float, float]
    rate_hz: tuple[float, float]
    """At the start and the end of the span."""
    lateral: bool
    focus: np.ndarray | None = field(default=None, repr=False)
    """Direction that it comes from, where the family draws one; else it is the subject's."""
    events: tuple[Event, ...] = ()
    lag_s: float = float("nan")
    """How much later the other side has it, or the back, where that is one number."""
    bend: float = 0.5
    """Share of the span at which the rate is the geometric mean of both; log rates are lines in between."""


class PatternFamily(Protocol):
    """A way of drawing patterns."""

    def draw(self, rng: np.random.Generator, label: str, grid: Grid) -> Pattern:
        """Return a pattern of a class, over the middle 10 s at least; raises ValueError for a class without one."""


def check_patterned(label: str) -> None:
    """Raise ValueError for a class that has no pattern."""
    if label not in PATTERNED:
        raise ValueError(f"label={label!r} is none of {', '.join(PATTERNED)}")
