import numpy as np
import pytest

from evaluation.measures.calibration import wilson
from evaluation.measures.uncertainty import abstention, half_errors


def test_halves_are_told_apart():
    uncertainty = np.array([0.1, 0.9, 0.2, 0.8, 0.3, 0.7])
    wrong = np.array([0, 1, 0, 1, 1, 0])
    assert half_errors(uncertainty, wrong) == (pytest.approx(1 / 3), pytest.approx(2 / 3))
    with pytest.raises(ValueError, match="no two halves"):
        half_errors(uncertainty[:1], wrong[:1])


def test_abstention_answers_most_within_the_risk():
    rng = np.random.default_rng(0)
    uncertainty = np.round(rng.random(2000), 2)
    wrong = (rng.random(2000) < 0.5 * uncertainty).astype(float)
    found = abstention(uncertainty, wrong, risk=0.1)
    answered = uncertainty <= found.threshold
    assert found.coverage == pytest.approx(answered.mean())
    assert found.risk == pytest.approx(wrong[answered].mean())
    assert found.risk_high == pytest.approx(wilson(wrong[answered].sum(), answered.sum())[1])
    for other in np.unique(uncertainty[uncertainty > found.threshold]):
        more = uncertainty <= other
        assert wilson(wrong[more].sum(), more.sum())[1] > 0.1
    never = abstention(uncertainty, np.ones(2000), risk=0.1)
    assert np.isnan(never.threshold)
    assert never.coverage == 0
