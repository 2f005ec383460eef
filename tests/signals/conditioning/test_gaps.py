"""What stands in for missing samples: lines, fades and levels, against their definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from signals.conditioning.gaps import BRIDGE_S, bridge, fill


def test_lines_across_holes_and_the_nearest_sample_at_the_ends():
    x = np.array([[9.0, 1.0, 9.0, 9.0, 4.0, 9.0], [5.0, 5.0, 5.0, 5.0, 5.0, 5.0]])
    holes = np.array([[True, False, True, True, False, True], [True] * 6])
    bridged = bridge(x, holes)
    assert bridged.tolist() == [[1.0, 1.0, 2.0, 3.0, 4.0, 4.0], [0.0] * 6]
    assert x[0, 0] == 9.0  # a copy
    assert bridge(x, np.zeros_like(holes)).tolist() == x.tolist()


def test_every_axis_before_time_is_a_channel():
    x, holes = np.arange(24.0).reshape(2, 3, 4), np.zeros((2, 3, 4), dtype=bool)
    holes[1, 2, 1:3] = True
    x[1, 2, 1:3] = -7
    assert bridge(x, holes).tolist() == np.arange(24.0).reshape(2, 3, 4).tolist()


def filled(x, holes, *, level=0.0, sfreq=1.0, from_start=True, to_end=True):
    x = np.array([x], dtype=np.float64)
    return fill(x, np.array([holes]), sfreq, levels=np.array([level]), from_start=from_start, to_end=to_end)[0]


def loss(n, at, n_lost, *, left=10.0, right=30.0):
    """A step from one level to another with a loss between, at 1 Hz."""
    x = np.where(np.arange(n) < at, left, right)
    holes = (np.arange(n) >= at) & (np.arange(n) < at + n_lost)
    return np.where(holes, np.nan, x), holes


def fade(n_fade, n):
    """Half a cosine from 1 to 0 over `n_fade` samples, counted from the first lost one."""
    away = np.arange(1, n + 1)
    return np.where(away < n_fade, 0.5 + 0.5 * np.cos(np.pi * away / n_fade), 0.0)


def test_twenty_seconds_are_bridged_more_fade():
    assert BRIDGE_S == 20.0
    x, holes = loss(60, 10, 20)
    np.testing.assert_allclose(filled(x, holes)[10:30], 10 + 20 * np.arange(1, 21) / 21)
    x, holes = loss(60, 10, 21)
    # From 10 down to the level of 5, and up to 30 again, each within ten seconds.
    away = fade(10, 21)
    np.testing.assert_allclose(filled(x, holes, level=5.0)[10:31], 5 + 5 * away + 25 * away[::-1])
    np.testing.assert_allclose(filled(x, holes, level=5.0)[[0, 9, 31, 59]], [10, 10, 30, 30])


@pytest.mark.parametrize("at_start", [True, False])
def test_a_loss_at_an_end_of_what_is_read_counts_as_longer(at_start):
    x, holes = loss(60, 0 if at_start else 55, 5)
    known = filled(x, holes, level=5.0)
    cut = filled(x, holes, level=5.0, from_start=not at_start, to_end=at_start)
    away = fade(10, 5)
    if at_start:
        np.testing.assert_allclose(known[:5], 30.0)  # the segment's own start: its first sample is held
        np.testing.assert_allclose(cut[:5], 5 + 25 * away[::-1])
    else:
        np.testing.assert_allclose(known[55:], 10.0)
        np.testing.assert_allclose(cut[55:], 5 + 5 * away)
    # Only the end that is cut.
    other = filled(x, holes, level=5.0, from_start=at_start, to_end=not at_start)
    np.testing.assert_allclose(other, known)


def test_a_channel_without_any_sample_is_at_its_level():
    assert filled([np.nan] * 8, [True] * 8, level=7.0).tolist() == [7.0] * 8


@given(
    sfreq=st.sampled_from([1.0, 2.5, 4.0]),
    runs=st.lists(st.tuples(st.integers(1, 60), st.integers(1, 120)), min_size=1, max_size=4),
    level=st.floats(-50, 50),
)
def test_samples_that_are_there_stay_and_the_rest_lies_between(sfreq, runs, level):
    holes = np.concatenate([np.repeat([False, True], run) for run in runs] + [[False]])
    x = np.where(holes, np.nan, 20 * np.sin(np.arange(holes.size)))
    y = filled(x, holes, level=level, sfreq=sfreq)
    np.testing.assert_array_equal(y[~holes], x[~holes])
    assert np.isfinite(y).all()
    present = [*x[~holes], level]
    assert min(present) - 1e-9 <= y.min()
    assert y.max() <= max(present) + 1e-9
    # Far from both ends of a long loss there is the level alone.
    n_fade = round(20 * sfreq) // 2
    for start in range(holes.size - 2 * n_fade - round(20 * sfreq)):
        part = holes[start : start + 2 * n_fade + round(20 * sfreq) + 2]
        if part.all() and part.size == 2 * n_fade + round(20 * sfreq) + 2:
            assert y[start + n_fade + round(10 * sfreq)] == pytest.approx(level)
