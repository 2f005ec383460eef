import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from evaluation.measures.boundaries import BOUNDARIES, CSE_MS, EC57_MS, boundary_scores, errors_of, macro_f1

NONE = {name: np.empty(0) for name in BOUNDARIES}


def test_each_mark_is_found_once_and_lateness_has_a_sign():
    # 1.02 is 20 ms late for 1.0, 1.9 is 100 ms early for 2.0; the second one near 1.0 has no mark left.
    np.testing.assert_allclose(np.sort(errors_of(np.array([1.02, 1.05, 1.9]), np.array([1.0, 2.0, 3.0]), 0.15)),
                               [-0.1, 0.02])  # fmt: skip
    assert errors_of(np.array([1.2]), np.array([1.0]), 0.15).size == 0
    assert errors_of(np.empty(0), np.array([1.0]), 0.15).size == errors_of(np.array([1.0]), np.empty(0), 0.15).size == 0


times = st.lists(st.integers(0, 300), max_size=8, unique=True).map(lambda ms: np.sort(np.array(ms)) / 100)


@given(found=times, true=times)
@settings(max_examples=50, deadline=None)
def test_no_pair_is_farther_than_the_reach_and_their_number_is_near_the_best(found, true):
    errors = errors_of(found, true, 0.15)
    assert (np.abs(errors) <= 0.15).all()
    assert len(errors) <= min(len(found), len(true))
    if len(found) and len(true):
        near = np.abs(found[:, None] - true) <= 0.15
        rows, columns = linear_sum_assignment(~near)
        assert len(errors) >= near[rows, columns].sum() / 2  # nearest-first matching is at least half of the largest


def test_scores_are_over_recordings_and_f1_counts_what_was_not_there():
    true = {**NONE, "QRS onset": np.array([1.0, 2.0])}
    found = {**NONE, "QRS onset": np.array([1.01, 2.3])}
    score = boundary_scores([(found, true), (NONE, NONE)], EC57_MS)["QRS onset"]
    assert (score.n_true, score.n_found) == (2, 2)
    np.testing.assert_allclose(score.errors_ms, [10.0])
    assert score.f1 == pytest.approx(0.5)  # 2 * 1 / (2 + 2)
    assert np.isnan(boundary_scores([(NONE, NONE)], EC57_MS)["P onset"].f1)
    assert "T onset" not in boundary_scores([(found, true)], CSE_MS)  # experts have no tolerance for it
    full = {name: np.array([1.0]) for name in BOUNDARIES}
    assert macro_f1(boundary_scores([(full, full)], EC57_MS)) == 1.0
