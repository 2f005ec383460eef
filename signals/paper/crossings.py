"""Traces of neighbouring rows that touch or cross: which of them goes where.

Where two traces meet, a column holds one run of ink for both, and the row that hardly moves would take the other's QRS
complex for its own. The row that reaches over is the one that has left its level further beside the meeting; the other
keeps the edge on its own side. Where two meetings follow each other within a QRS complex, traces that go straight on
there have crossed, and change places between the two.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

_BESIDE = 4
"""Columns beside a meeting that slopes and heights are read from."""


@dataclass(frozen=True)
class Edges:
    """A row's ink, column by column of a flat page, in pixels from its top; nan where it has none."""

    upper: np.ndarray
    lower: np.ndarray

    @property
    def middle(self) -> np.ndarray:
        """Middle of the ink."""
        return (self.upper + self.lower) / 2

    def pen(self) -> float:
        """Return how thick the line is."""
        return float(np.nanquantile(self.lower - self.upper, 0.1)) if np.isfinite(self.upper).any() else 0.0


def take_apart(above: Edges, below: Edges, levels: tuple[float, float], *, longest: int) -> None:
    """Take traces of two rows, one above the other, apart where they share ink, in place.

    levels: 0 mV of both rows. longest: columns between two meetings of traces that may have crossed.
    """
    meetings = list(_meetings(above, below))
    crossed: set[int] = set()
    for number, ((start, stop), (again, end)) in enumerate(pairwise(meetings)):
        if number in crossed or again - stop > longest:
            continue
        if _goes_through(above, below, start, stop) and _goes_through(above, below, again, end):
            between = slice(stop, again)
            for a, b in ((above.upper, below.upper), (above.lower, below.lower)):
                a[between], b[between] = b[between].copy(), a[between].copy()
            crossed |= {number, number + 1}
    pens = above.pen(), below.pen()
    for number, (start, stop) in enumerate(meetings):
        if number not in crossed:
            _give_to_one(above, below, levels, pens, slice(start, stop))


def _meetings(above: Edges, below: Edges) -> Iterator[tuple[int, int]]:
    """Yield first column and the one behind the last of each stretch of shared ink."""
    shared = np.maximum(above.upper, below.upper) < np.minimum(above.lower, below.lower)  # nan is never less
    edges = np.flatnonzero(np.diff(np.r_[0, shared.astype(int), 0]))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def _goes_through(above: Edges, below: Edges, start: int, stop: int) -> bool:
    """Return whether slopes go on better across a meeting if the traces change places behind it."""
    if start < _BESIDE or stop + _BESIDE > len(above.upper):
        return False
    before, behind = slice(start - _BESIDE, start), slice(stop, stop + _BESIDE)
    a, b = (_slope(edges.middle[before]) for edges in (above, below))
    c, d = (_slope(edges.middle[behind]) for edges in (above, below))
    return abs(a - d) + abs(b - c) < abs(a - c) + abs(b - d)


def _slope(middle: np.ndarray) -> float:
    return float(middle[-1] - middle[0]) / (len(middle) - 1)


def _give_to_one(
    above: Edges, below: Edges, levels: tuple[float, float], pens: tuple[float, float], at: slice
) -> None:  # fmt: skip
    """Leave shared ink to a peak that reaches over; elsewhere lead the edges that it hides from side to side."""
    beside = np.r_[max(at.start - _BESIDE, 0) : at.start, at.stop : min(at.stop + _BESIDE, len(above.upper))]
    down = np.nanmax(above.lower[beside] - levels[0], initial=0.0)
    up = np.nanmax(levels[1] - below.upper[beside], initial=0.0)
    if not (down >= up and _is_peak(above.lower, at)):
        above.lower[at] = np.clip(_across(above.lower, at), above.upper[at] + pens[0], above.lower[at])
    if not (up > down and _is_peak(-below.upper, at)):
        below.upper[at] = np.clip(_across(below.upper, at), below.upper[at], below.lower[at] - pens[1])


def _is_peak(edge: np.ndarray, at: slice) -> bool:
    """Return whether an edge grows towards a meeting on both sides."""
    left, right = edge[max(at.start - 3, 0) : at.start], edge[at.stop : at.stop + 3]
    return bool(len(left) and len(right) and left[-1] > left[0] and right[0] > right[-1])


def _across(edge: np.ndarray, at: slice) -> np.ndarray:
    """Return the straight way between the columns beside a meeting; the edge itself where one of them has no ink."""
    left, right = float(edge[max(at.start - 1, 0)]), float(edge[min(at.stop, len(edge) - 1)])
    return np.linspace(left, right, at.stop - at.start + 2)[1:-1] if np.isfinite(left + right) else edge[at]
