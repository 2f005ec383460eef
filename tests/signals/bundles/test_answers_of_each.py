import numpy as np
import pytest
from scipy.special import expit, logit

from signals.bundles.answers import answers_of_each
from signals.bundles.calibration import Calibration, activated, tempered_each


def test_classes_are_answered_each_for_itself():
    logits = np.random.default_rng(0).normal(size=(1, 5, 3))
    answer = answers_of_each(logits, temperature=2.0)
    np.testing.assert_allclose(answer.probabilities, expit(logits[0] / 2))
    p = answer.probabilities
    np.testing.assert_allclose(answer.uncertainty.total, -(p * np.log(p) + (1 - p) * np.log(1 - p)).mean(axis=1))
    assert answer.uncertainty.epistemic is None
    np.testing.assert_allclose(activated(logits, multilabel=False).sum(axis=-1), 1.0)


def test_members_that_agree_have_no_doubt_of_their_own_and_others_do():
    logits = np.random.default_rng(1).normal(size=(1, 4, 3))
    same = answers_of_each(np.repeat(logits, 3, axis=0), temperature=1.0).uncertainty
    np.testing.assert_allclose(same.epistemic, 0.0, atol=1e-12)
    np.testing.assert_allclose(same.aleatoric, same.total)
    apart = answers_of_each(np.concatenate([logits, -logits]), temperature=1.0).uncertainty
    assert (apart.epistemic > 0).all()
    np.testing.assert_allclose(apart.aleatoric + apart.epistemic, apart.total)


def test_a_temperature_divides_logits_and_thresholds_travel():
    p = np.array([[1e-9, 0.2, 0.5, 0.999]])
    np.testing.assert_allclose(tempered_each(p, 3.0), expit(logit(p) / 3.0), rtol=1e-6)
    with pytest.raises(ValueError, match="temperature=0"):
        tempered_each(p, 0)
    calibration = Calibration(temperature=1.5, decisions=(0.2, 0.7))
    assert Calibration.from_dict(calibration.to_dict()) == calibration
    with pytest.raises(ValueError, match="2 decision thresholds do not fit 3 classes"):
        calibration.check(3)
