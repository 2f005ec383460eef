import numpy as np
import pytest
from scipy import stats

from evaluation.measures.calibration import cross_tempered, fit_temperature
from evaluation.measures.metrics import kl_rows
from signals.bundles.calibration import tempered


def overconfident(n=1500, sharpness=2.5):
    """Targets, and probabilities whose logarithms are so many times too large."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(n, 6))
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return true, tempered(true, 1 / sharpness)


def test_the_temperature_undoes_what_was_done():
    target, prob = overconfident()
    assert fit_temperature(prob, target) == pytest.approx(2.5, rel=1e-3)
    np.testing.assert_allclose(tempered(prob, 2.5), target, atol=1e-6)


def test_no_other_temperature_is_nearer():
    rng = np.random.default_rng(1)
    prob = rng.dirichlet(np.ones(6), 300)
    target = 0.5 * prob + 0.5 * rng.dirichlet(np.ones(6), 300)
    found = fit_temperature(prob, target)
    best = stats.entropy(target, tempered(prob, found), axis=1).mean()
    for other in found * np.array([0.9, 0.99, 1.01, 1.1]):
        assert stats.entropy(target, tempered(prob, other), axis=1).mean() > best


def test_no_windows_have_no_temperature():
    with pytest.raises(ValueError, match="no windows"):
        fit_temperature(np.empty((0, 3)), np.empty((0, 3)))


def test_after_is_told_of_patients_that_were_not_fitted_on():
    target, prob = overconfident()
    groups = np.arange(len(prob)) % 10
    after = cross_tempered(prob, target, groups, n_folds=5, seed=0)
    assert kl_rows(target, after).mean() < 0.05 * kl_rows(target, prob).mean()
    # a group whose targets are the opposite of all others' says nothing to its own temperature
    odd = target.copy()
    odd[groups == 3] = odd[groups == 3][:, ::-1]
    changed = cross_tempered(prob, odd, groups, n_folds=10, seed=0)
    np.testing.assert_allclose(changed[groups == 3], after[groups == 3], atol=0.02)
    with pytest.raises(ValueError, match="all windows are of one group"):
        cross_tempered(prob, target, np.zeros(len(prob)), n_folds=5, seed=0)
