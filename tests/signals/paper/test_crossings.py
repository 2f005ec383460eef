import numpy as np
import pytest

from signals.paper.crossings import Edges, take_apart
from signals.paper.trace import follow, runs_of

PEN = 3
LEVELS = (60.0, 140.0)


def followed(*middles, height=220):
    """Return the edges of lines that are drawn over each other, each followed alone."""
    ink = np.zeros((height, len(middles[0])), dtype=np.float32)
    for middle in middles:
        for column in range(len(middle)):
            near = middle[max(column - 1, 0) : column + 2]
            ink[int(near.min()) - PEN : int(near.max()) + PEN + 1, column] = 1.0
    runs = runs_of(ink, 0.5)
    return [Edges(*follow(runs, level)) for level in LEVELS]


def bump(height, *, width=12.0, at=100):
    return height * np.exp(-(((np.arange(200) - at) / width) ** 2))


def error(edges, middle):
    return np.abs(edges.middle - middle).max()


def test_traces_that_cross_and_come_back_keep_their_own_ways():
    above, below = LEVELS[0] + bump(60.0), LEVELS[1] - bump(60.0)  # deep S over high R: they cross twice
    edges = followed(above, below)
    assert min(error(edge, middle) for edge, middle in zip(edges, (above, below), strict=True)) > 30
    take_apart(*edges, LEVELS, longest=60)
    assert error(edges[0], above) < 12
    assert error(edges[1], below) < 12
    again = followed(above, below)
    take_apart(*again, LEVELS, longest=5)  # a crossing that would last longer than any QRS complex is none
    assert error(again[0], above) > 30


def test_a_peak_that_touches_the_next_row_is_no_deflection_of_that_row():
    above, below = np.full(200, LEVELS[0]), LEVELS[1] - bump(78.0, width=6.0)
    edges = followed(above, below)
    assert error(edges[0], above) > 5
    take_apart(*edges, LEVELS, longest=60)
    assert error(edges[0], above) < 3
    mirrored = followed(LEVELS[0] + bump(78.0, width=6.0), np.full(200, LEVELS[1]))
    take_apart(*mirrored, LEVELS, longest=60)
    assert error(mirrored[1], np.full(200, LEVELS[1])) < 3


@pytest.mark.parametrize("gone", [slice(0, 0), slice(95, 97), slice(0, 200)])
def test_what_is_apart_stays_as_it_is_and_missing_ink_is_no_error(gone):
    above, below = LEVELS[0] + bump(20.0), LEVELS[1] - bump(20.0)
    edges = followed(above, below)
    edges[0].upper[gone] = edges[0].lower[gone] = np.nan
    before = [(edge.upper.copy(), edge.lower.copy()) for edge in edges]
    take_apart(*edges, LEVELS, longest=60)
    for edge, (upper, lower) in zip(edges, before, strict=True):
        np.testing.assert_array_equal(edge.upper, upper)
        np.testing.assert_array_equal(edge.lower, lower)
