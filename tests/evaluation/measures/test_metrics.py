"""Metrics against scikit-learn and SciPy, and what is undefined."""

import numpy as np
import pytest
from scipy.special import rel_entr
from sklearn import metrics as reference

from evaluation.measures import metrics

K = 4


@pytest.fixture
def scored() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    true_index = rng.integers(0, K, 500)
    prob = rng.dirichlet(np.ones(K), 500)
    prob[:40] = np.round(prob[:40], 1)  # ties in the scores of a class
    prob[:, 0] += 0.05
    prob /= prob.sum(axis=1, keepdims=True)
    return true_index, prob, rng.multinomial(7, np.ones(K) / K, 500) / 7


def test_confusion_metrics_equal_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    true_index, prob = rng.integers(0, K, 300), rng.dirichlet(np.ones(K), 300)
    predicted = prob.argmax(axis=1)
    confusion = metrics.confusion_matrix(true_index, metrics.predicted_shares(prob))
    np.testing.assert_allclose(confusion, reference.confusion_matrix(true_index, predicted), atol=1e-9)
    pairs = [
        (metrics.accuracy(confusion), reference.accuracy_score(true_index, predicted)),
        (metrics.balanced_accuracy(confusion), reference.balanced_accuracy_score(true_index, predicted)),
        (metrics.cohen_kappa(confusion), reference.cohen_kappa_score(true_index, predicted)),
        (metrics.weighted_f1(confusion), reference.f1_score(true_index, predicted, average="weighted")),
        (metrics.recall(confusion), reference.recall_score(true_index, predicted, average=None)),
        (metrics.precision(confusion), reference.precision_score(true_index, predicted, average=None)),
    ]
    for ours, theirs in pairs:
        np.testing.assert_allclose(ours, theirs, atol=1e-9)


def test_row_metrics_equal_scikit_learn_and_scipy(scored: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    true_index, prob, target = scored
    prob = np.clip(prob, 1e-6, None)
    prob /= prob.sum(axis=1, keepdims=True)
    assert metrics.log_loss_rows(true_index, prob).mean() == pytest.approx(
        reference.log_loss(true_index, prob), abs=1e-9
    )
    brier = reference.brier_score_loss(true_index, prob, scale_by_half=False)
    assert metrics.brier_rows(true_index, prob).mean() == pytest.approx(brier, abs=1e-9)
    np.testing.assert_allclose(metrics.kl_rows(target, prob), rel_entr(target, prob).sum(axis=1), atol=1e-9)


def test_kl_of_a_wrong_certainty_is_that_of_the_clipped_probability() -> None:
    # 1 * ln(1 / 1e-15) = 15 ln 10; the other class has no votes and adds nothing.
    assert metrics.kl_rows(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]))[0] == pytest.approx(15 * np.log(10))


@pytest.mark.parametrize("k", range(K))
def test_areas_equal_scikit_learn_with_ties_and_weights(
    scored: tuple[np.ndarray, np.ndarray, np.ndarray], k: int
) -> None:
    true_index, prob, _ = scored
    scores, positive = np.round(prob[:, k], 2), true_index == k
    rng = np.random.default_rng(1)
    weights = np.vstack([rng.integers(0, 4, (3, len(scores))), rng.random((2, len(scores)))])  # counts, and others
    assert metrics.auroc(scores, positive) == pytest.approx(reference.roc_auc_score(positive, scores), abs=1e-9)
    assert metrics.auprc(scores, positive) == pytest.approx(
        reference.average_precision_score(positive, scores), abs=1e-9
    )
    for some in (weights[:3], weights):
        expected = [reference.roc_auc_score(positive, scores, sample_weight=w) for w in some]
        np.testing.assert_allclose(metrics.auroc(scores, positive, some), expected, atol=1e-9)


def test_ece_equals_a_loop_over_bins(scored: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    true_index, prob, _ = scored
    top, right = prob.max(axis=1), metrics.predicted_shares(prob)[np.arange(len(prob)), true_index]
    expected, sums = 0.0, np.zeros((metrics.N_BINS, 3))
    for b in range(metrics.N_BINS):
        inside = (top > b / 15) & (top <= (b + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - top[inside].mean())
            sums[b] = inside.sum(), top[inside].sum(), right[inside].sum()
    np.testing.assert_array_equal(np.bincount(metrics.confidence_bins(prob), minlength=15), sums[:, 0])
    assert metrics.expected_calibration_error(sums) == pytest.approx(expected, abs=1e-12)


def test_calibration_and_areas_equal_torchmetrics(scored: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchmetrics.functional.classification")
    true_index, prob, _ = scored
    preds, target = torch.from_numpy(prob), torch.from_numpy(true_index)
    top, right = prob.max(axis=1), metrics.predicted_shares(prob)[np.arange(len(prob)), true_index]
    bins = metrics.confidence_bins(prob)
    sums = np.stack([np.bincount(bins, weights=w, minlength=15) for w in (np.ones(len(prob)), top, right)], axis=1)
    expected = functional.multiclass_calibration_error(preds, target, K, n_bins=15, norm="l1")
    assert metrics.expected_calibration_error(sums) == pytest.approx(
        float(expected),
        abs=1e-6,  # torchmetrics counts in float32; the loop above is met to 1e-12
    )
    exact = functional.multiclass_auroc(preds, target, K, average=None, thresholds=None)
    ours = [metrics.auroc(prob[:, k], true_index == k) for k in range(K)]
    np.testing.assert_allclose(ours, exact.numpy(), atol=1e-6)


def test_ties_share_the_prediction() -> None:
    np.testing.assert_allclose(metrics.predicted_shares(np.array([[0.4, 0.4, 0.2]])), [[0.5, 0.5, 0.0]])


def test_undefined_is_nan_and_never_zero() -> None:
    one_class = np.array([[5.0, 0.0], [0.0, 0.0]])
    assert np.isnan(metrics.balanced_accuracy(one_class))
    assert np.isnan(metrics.cohen_kappa(one_class))
    assert np.isnan(metrics.cohen_kappa(np.array([[3.0, 2.0], [0.0, 0.0]])))
    assert np.isnan(metrics.recall(one_class)[1])
    assert np.isnan(metrics.precision(one_class)[1])
    assert np.isnan(metrics.auroc(np.array([0.1, 0.2]), np.array([True, True])))
    assert np.isnan(metrics.auprc(np.array([0.1, 0.2]), np.array([False, False])))
    assert metrics.metric("auroc[LPD]", np.nan).reason == metrics.REASONS["auroc"]
    assert metrics.metric("kappa", 0.5).reason == ""
