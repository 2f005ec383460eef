import numpy as np

from signals.bundles.answers import combined, prediction_set, uncertainty
from signals.bundles.calibration import Conformal, softmax


def test_uncertainty_of_an_ensemble_adds_up():
    logits = np.random.default_rng(2).normal(size=(5, 7, 6)) * 3
    found = uncertainty(logits, combined(logits), 1.0)
    np.testing.assert_allclose(found.total, found.aleatoric + found.epistemic)
    assert (found.epistemic > 0).all()
    alike = uncertainty(np.repeat(logits[:1], 5, axis=0), softmax(logits[0]), 1.0)
    np.testing.assert_allclose(alike.epistemic, 0, atol=1e-12)


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
