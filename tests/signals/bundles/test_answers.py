import numpy as np
import pytest
from scipy import stats

from signals.bundles.answers import answers, combined, prediction_set, uncertainty
from signals.bundles.calibration import Conformal, decompose, softmax


def test_uncertainty_of_a_mean_is_its_decomposition():
    logits = np.random.default_rng(2).normal(size=(5, 7, 6)) * 3
    found, exact = uncertainty(logits, combined(logits), 1.0), decompose(softmax(logits))
    for name, values in exact.columns().items():
        np.testing.assert_allclose(found.columns()[name], values, err_msg=name)
    assert (found.epistemic > 0).all()
    alike = uncertainty(np.repeat(logits[:1], 5, axis=0), softmax(logits[0]), 1.0)
    np.testing.assert_allclose(alike.epistemic, 0, atol=1e-12)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
@pytest.mark.parametrize("combiner", [None, lambda members: 4 * np.log(members[:, 0])])
def test_total_uncertainty_is_the_entropy_of_the_answer(temperature, combiner):
    # A meta-learner that believes the first member more than the member does itself: the plain mean knows far less.
    logits = np.random.default_rng(3).normal(size=(3, 9, 6)) * 2
    found = answers(logits, temperature=temperature, combiner=combiner)
    np.testing.assert_allclose(found.uncertainty.total, stats.entropy(found.probabilities, axis=1))
    np.testing.assert_allclose(found.uncertainty.aleatoric + found.uncertainty.epistemic, found.uncertainty.total)
    assert (found.uncertainty.epistemic >= 0).all()
    assert (found.uncertainty.aleatoric >= 0).all()


def test_members_that_are_certain_of_different_classes_have_epistemic_uncertainty_only():
    logits = np.array([[[1e4, 0.0]], [[0.0, 1e4]]])  # entropies of exactly 0
    found = answers(logits, temperature=1.0).uncertainty
    np.testing.assert_allclose((found.total[0], found.aleatoric[0], found.epistemic[0]), (np.log(2), 0, np.log(2)))
    agreed = answers(logits[[0, 0]], temperature=1.0).uncertainty  # 0 of 0
    np.testing.assert_allclose((agreed.total[0], agreed.aleatoric[0], agreed.epistemic[0]), (0, 0, 0), atol=1e-12)


def test_one_member_knows_its_total_only():
    logits = np.zeros((1, 2, 6))
    found = uncertainty(logits, softmax(logits[0]), 1.0)
    np.testing.assert_allclose(found.total, np.log(6))  # nothing is known about six classes
    assert found.aleatoric is None
    assert found.epistemic is None


def test_a_set_holds_what_reaches_its_threshold():
    conformal = Conformal(method="split", alpha=0.1, thresholds=(0.3, 0.3, float("nan")))
    assert prediction_set(np.array([0.6, 0.3, 0.1]), conformal, "abc") == ("a", "b", "c")  # no threshold: in
    assert prediction_set(np.array([0.2, 0.2, 0.6]), conformal, "abc") == ("c",)
