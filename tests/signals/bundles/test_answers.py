import numpy as np
import pytest
from scipy import special, stats

from signals.bundles.answers import (
    Calibration,
    Conformal,
    entropy,
    mean_of_members,
    prediction_set,
    softmax,
    tempered,
    uncertainty,
)


def test_softmax_and_entropy_are_scipys():
    logits = np.random.default_rng(0).normal(size=(3, 5, 6)).astype(np.float32) * 30
    np.testing.assert_allclose(softmax(logits), special.softmax(logits.astype(np.float64), axis=-1), atol=1e-12)
    prob = softmax(logits[0])
    np.testing.assert_allclose(entropy(prob), stats.entropy(prob, axis=-1), atol=1e-9)


def test_temperature_divides_logits():
    logits = np.random.default_rng(1).normal(size=(4, 6))
    np.testing.assert_allclose(tempered(softmax(logits), 2.5), softmax(logits / 2.5), atol=1e-9)
    np.testing.assert_allclose(tempered(softmax(logits), 1.0), softmax(logits), atol=1e-9)


def test_uncertainty_of_an_ensemble_adds_up():
    logits = np.random.default_rng(2).normal(size=(5, 7, 6)) * 3
    found = uncertainty(logits, mean_of_members(logits), 1.0)
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


def test_calibration_survives_json_and_refuses_nonsense():
    full = Calibration(
        temperature=1.5,
        conformal=Conformal(method="split", alpha=0.1, thresholds=(0.1, 0.2)),
        abstain_below=0.4,
        split_digest="d",
    )
    assert Calibration.from_dict(full.to_dict()) == full
    assert Calibration.from_dict({}) == Calibration()
    for wrong in ({"temperature": 0}, {"temperature": "hot"}, {"conformal": {"method": "x"}}, {"abstain_below": 2}):
        with pytest.raises(ValueError):
            Calibration.from_dict(wrong)
    with pytest.raises(ValueError, match="2 conformal thresholds do not fit 6 classes"):
        full.check(6)
