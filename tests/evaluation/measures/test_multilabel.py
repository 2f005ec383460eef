import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, log_loss, roc_auc_score

from evaluation.measures.multilabel import (
    balanced_decisions,
    binary_loss,
    cross_decided,
    f1_of,
    fit_decisions,
    fit_shift,
    macro_auroc_draws,
    scores_of,
)
from signals.bundles.calibration import shifted_each

CLASSES = ("a", "b", "c", "never")


@pytest.fixture
def case():
    rng = np.random.default_rng(0)
    target = (rng.random((120, 4)) < [0.5, 0.2, 0.1, 0.0]).astype(float)
    prob = np.clip(0.6 * target * rng.random((120, 4)) + 0.4 * rng.random((120, 4)), 0.01, 0.99).round(2)
    return prob, target, np.repeat(np.arange(40), 3).astype(str)


def test_models_are_compared_on_the_same_resamples_of_people(case):
    prob, target, subjects = case
    value, drawn = macro_auroc_draws(prob, target, subjects, n_boot=30, seed=3)
    assert value == pytest.approx(np.mean([roc_auc_score(target[:, k], prob[:, k]) for k in range(3)]))
    # Another model on the same people: the same order of windows gives the same draws, one that knows nothing one half.
    _, same = macro_auroc_draws(prob**3, target, subjects, n_boot=30, seed=3)
    np.testing.assert_allclose(drawn, same)
    nothing, flat = macro_auroc_draws(np.full_like(prob, 0.3), target, subjects, n_boot=30, seed=3)
    assert nothing == 0.5
    np.testing.assert_allclose(flat[np.isfinite(flat)], 0.5)
    assert drawn.std() > 0
    assert np.isnan(macro_auroc_draws(prob, np.zeros_like(target), subjects, n_boot=5, seed=0)[0])


def test_scores_are_scikit_learn_s_and_an_absent_class_is_in_no_mean(case):
    prob, target, subjects = case
    scores = scores_of(prob, target, subjects, CLASSES, n_boot=50, seed=0)
    areas = [roc_auc_score(target[:, k], prob[:, k]) for k in range(3)]
    assert [one.auroc.value for one in scores.classes[:3]] == pytest.approx(areas)
    assert [one.auprc for one in scores.classes[:3]] == pytest.approx(
        [average_precision_score(target[:, k], prob[:, k]) for k in range(3)]
    )
    assert np.isnan(scores.classes[3].auroc.value)
    assert scores.classes[3].n_positive == scores.classes[3].n_subjects == 0
    assert scores.macro_auroc.value == pytest.approx(np.mean(areas))
    assert scores.macro_auroc.low < scores.macro_auroc.value < scores.macro_auroc.high
    assert [one.n_positive for one in scores.classes] == target.sum(axis=0).tolist()
    assert (scores.n_windows, scores.n_subjects) == (120, 40)


def test_intervals_resample_people_and_not_windows(case):
    prob, target, subjects = case
    every_window_six_times = tuple(np.repeat(values, 6, axis=0) for values in (prob, target, subjects))
    once, often = (scores_of(*c, CLASSES, n_boot=200, seed=0) for c in (case, every_window_six_times))
    assert once.macro_auroc.low == pytest.approx(often.macro_auroc.low, abs=1e-9)
    alone = scores_of(prob, target, np.zeros(120, dtype=str), CLASSES, n_boot=50, seed=0)
    assert np.isnan(alone.macro_auroc.low)


def test_thresholds_have_the_largest_f1_there_is(case):
    prob, target, subjects = case
    decisions = fit_decisions(prob, target)
    best = f1_of(prob, target, decisions)
    for k in range(3):
        assert best[k] == pytest.approx(f1_score(target[:, k], prob[:, k] >= decisions[k]))
        others = [f1_score(target[:, k], prob[:, k] >= at) for at in np.linspace(0.005, 0.995, 100)]
        assert best[k] >= max(others) - 1e-12
    assert decisions[3] == 0.5
    assert np.isnan(best[3])
    assert (cross_decided(prob, target, subjects, n_folds=5, seed=0)[:3] <= best[:3] + 1e-12).all()


def test_loss_and_balance(case):
    prob, target, _ = case
    assert binary_loss(prob, target) == pytest.approx(
        np.mean([log_loss(target[:, k], prob[:, k], labels=[0, 1]) for k in range(4)])
    )
    assert balanced_decisions(target, target) == 1.0
    assert balanced_decisions(1 - target, target) == 0.0
    assert np.isnan(balanced_decisions(prob, np.zeros_like(target)))


def test_a_fitted_shift_makes_the_mean_probability_the_share():
    rng = np.random.default_rng(0)
    prob, positive = rng.beta(2, 3, 500), rng.random(500) < 0.1
    weight = np.where(positive, 1.0, 20.0)
    shift = fit_shift(prob, positive, weight)
    share = np.average(positive, weights=weight)
    assert np.average(shifted_each(prob, np.full(1, shift)), weights=weight) == pytest.approx(share)
    # All alike: the logit of the share itself is what is left.
    assert fit_shift(np.full(10, 0.5), np.arange(10) < 1) == pytest.approx(-np.log(1 / 9))
    with pytest.raises(ValueError, match="0 of 10 windows have the class"):
        fit_shift(np.full(10, 0.5), np.zeros(10, dtype=bool))
