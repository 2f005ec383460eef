"""Measures and intervals of the bench."""

import numpy as np
import pytest

from benchmarks.studies.synthetic_to_real import measure, scores


def test_a_mean_has_the_interval_of_its_standard_error() -> None:
    x = np.random.default_rng(1).normal(size=400)
    value, low, high = measure(lambda rows: float(x[rows].mean()), len(x))
    assert value == pytest.approx(x.mean())
    # 1.96 standard errors to either side.
    assert (high - low) / 2 == pytest.approx(1.96 * x.std() / 20, rel=0.1)


def test_scores_of_a_sure_and_of_a_flat_model() -> None:
    true = np.repeat(np.arange(6), 4)
    target = np.eye(6)[true]
    sure, flat = scores(true, target, 0.94 * target + 0.01), scores(true, target, np.full((24, 6), 1 / 6))
    assert sure["balanced accuracy"] == (1.0, 1.0, 1.0)
    # One-hot targets: KL is minus the log of the true class's probability.
    assert sure["kl"][0] == pytest.approx(-np.log(0.95))
    assert flat["balanced accuracy"][0] == pytest.approx(1 / 6)
    assert flat["kl"] == pytest.approx((np.log(6),) * 3)
