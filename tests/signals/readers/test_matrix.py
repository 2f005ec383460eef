"""Pauses in a matrix of samples: every sample lies in one segment, and time is lost where the file states it."""

import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from signals.readers.matrix import Matrix, cut_segments, matrix_reader, measured, onset_of_sample
from signals.recording.recording import Segment

VALUES = np.arange(60, dtype=np.int16).reshape(3, 20)


def values():
    return VALUES


def test_samples_are_scaled_in_float64_and_rounded_once():
    read = pickle.loads(pickle.dumps(matrix_reader(Matrix(values, (0.1, 3.0, 1e-3), (0, 8)))))
    got = read((2, 0), 1, 2, 5)
    assert got.dtype == np.float32
    # The second segment begins at sample 8, so its samples 2 to 5 are 10 to 13.
    assert np.array_equal(got, (VALUES[[2, 0], 10:13] * np.array([[1e-3], [0.1]])).astype(np.float32))
    assert read((1,), 0, 0, 2).tolist() == [[60.0, 63.0]]


def test_pauses_cut():
    # 100 samples at 50 Hz; 3 s are lost before sample 40, half a second more (in two entries) before sample 60.
    starts, segments = cut_segments(100, 50.0, [(60, 0.25), (40, 3.0), (60, 0.25)])
    assert starts == [0, 40, 60]
    assert segments == [Segment(0.0, 0.8), Segment(3.8, 0.4), Segment(4.7, 0.8)]
    for sample, onset_s in {0: 0.0, 39.5: 0.79, 40: 3.8, 59: 4.18, 60: 4.7, 99: 5.48}.items():
        assert onset_of_sample(sample, 50.0, starts, segments) == pytest.approx(onset_s)
    assert onset_of_sample(-1, 50.0, starts, segments) == pytest.approx(-0.02)


def test_entries_at_the_ends_and_lost_time_below_zero_are_ignored():
    assert cut_segments(10, 10.0, [(0, 5.0), (10, 5.0), (11, 5.0), (-1, 5.0)]) == ([0], [Segment(0.0, 1.0)])
    assert cut_segments(10, 10.0, [(1, -2.0), (9, 0.0)])[1] == [Segment(0.0, 0.1), Segment(0.1, 0.8), Segment(0.9, 0.1)]


@given(
    n_times=st.integers(1, 500),
    sfreq=st.sampled_from([1.0, 128.0, 173.61]),
    gaps=st.lists(st.tuples(st.integers(-10, 510), st.floats(-1, 100)), max_size=8),
)
def test_segments_tile_the_samples_and_time_never_runs_back(n_times, sfreq, gaps):
    starts, segments = cut_segments(n_times, sfreq, gaps)
    assert sum(round(segment.duration_s * sfreq) for segment in segments) == n_times
    assert starts == sorted(set(starts))
    for first, second in pairwise(segments):
        assert second.onset_s >= first.onset_s + first.duration_s - 1e-9
    lost = sum(max(seconds, 0.0) for at, seconds in gaps if 0 < at < n_times)
    assert segments[-1].onset_s + segments[-1].duration_s == pytest.approx(n_times / sfreq + lost)


def test_a_range_of_chosen_rows_scaled_and_shifted():
    x = np.arange(40).reshape(4, 10)
    loads = []

    def load():
        loads.append(1)
        return x

    matrix = Matrix(load, factors=(1.0, 0.5, 10.0), starts=(0, 6), offset=2.0, rows=(3, 0, 1))
    read = matrix_reader(matrix)
    # Channel 0 is row 3, channel 2 row 1; the second segment begins at sample 6.
    found = read([2, 0], 1, 1, 3)
    assert found.dtype == np.float32
    assert found.tolist() == [[(17 - 2) * 10.0, (18 - 2) * 10.0], [37 - 2, 38 - 2]]
    assert read([1], 0, 4, 5).tolist() == [[(4 - 2) * 0.5]]
    plain = matrix_reader(Matrix(load, factors=(1.0,) * 4, starts=(0,)))
    assert plain([1, 3], 0, 0, 2).tolist() == [[10.0, 11.0], [30.0, 31.0]]
    n_loads = len(loads)
    assert read([0, 1], 0, 3, 3).shape == (2, 0)
    assert len(loads) == n_loads  # nothing is opened for no sample


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 1.1e9, -1.1e9, 1e300])
def test_what_cannot_be_a_measurement_is_missing(value):
    assert np.isnan(measured(np.array([[0.0, value, 5.0]]))).tolist() == [[False, True, False]]
    assert measured(np.array([[1e9, -1e9]])).tolist() == [[1e9, -1e9]]
    assert measured(np.empty((2, 0))).shape == (2, 0)
