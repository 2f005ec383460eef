import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import special, stats

from evaluation.measures.metrics import EPSILON
from signals.bundles.calibration import (
    FLOOR,
    UNCERTAINTY_COLUMNS,
    Calibration,
    Conformal,
    Uncertainty,
    decompose,
    entropy,
    in_set,
    softmax,
    tempered,
)

logits = arrays(np.float64, (4, 6), elements=st.floats(-30, 30))


def test_softmax_is_scipys_in_double_precision():
    x = np.random.default_rng(0).normal(size=(3, 5, 6)).astype(np.float32) * 30
    found = softmax(x)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, special.softmax(x.astype(np.float64), axis=-1), atol=1e-15)
    np.testing.assert_allclose(softmax(np.array([[1e4, 0.0]])), [[1.0, 0.0]])  # no overflow


@given(logits, st.floats(0.2, 5))
def test_temperature_divides_logits(x, temperature):
    # The floor f moves each of k probabilities below it by less than f^(1/t) before the sum, which is at least 1 for
    # t >= 1, and the sum by less than k f^(1/t): no probability by more than that, a few thousandths at t = 5.
    plain = softmax(x)
    n_floored = (plain < FLOOR).sum(axis=-1, keepdims=True)
    apart = np.abs(tempered(plain, temperature) - softmax(x / temperature))
    assert (apart <= 1e-9 + n_floored * FLOOR ** (1 / max(temperature, 1.0))).all()


@given(logits, st.floats(0.2, 5), st.floats(0.2, 5))
def test_temperatures_multiply_and_keep_the_order(x, a, b):
    x = x / 10  # no probability comes near the floor
    p = softmax(x)
    np.testing.assert_allclose(tempered(tempered(p, a), b), tempered(p, a * b), atol=1e-9)
    np.testing.assert_allclose(tempered(p, 1.0), p, atol=1e-12)
    assert (np.diff(np.take_along_axis(tempered(p, a), p.argsort(axis=-1), -1), axis=-1) >= -1e-12).all()


def test_zeros_are_survived_and_nonsense_is_refused():
    p = np.array([[1.0, 0.0, 0.0], [0.2, 0.5, 0.3]])
    for temperature in (0.3, 4.0):
        found = tempered(p, temperature)
        assert (found.argmax(1) == p.argmax(1)).all()
        np.testing.assert_allclose(found.sum(1), 1)
    # floor^(1/4) = 10^-3.75 over 1 + 2 x 10^-3.75
    assert tempered(p, 4.0)[0, 1] == pytest.approx(10**-3.75 / (1 + 2 * 10**-3.75))
    for wrong in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(ValueError, match="must be a number above 0"):
            tempered(p, wrong)


def test_tempering_and_scoring_have_one_floor():
    assert FLOOR == EPSILON


def test_entropy_is_scipys():
    prob = np.random.default_rng(0).dirichlet(np.ones(6), size=10)
    np.testing.assert_allclose(entropy(prob), stats.entropy(prob, axis=1))
    assert entropy(np.array([1.0, 0.0])) == 0.0


def test_members_who_agree_leave_only_the_windows_own_doubt():
    one = np.random.default_rng(0).dirichlet(np.ones(3), size=5)
    agreed = decompose(np.stack([one, one, one]))
    np.testing.assert_allclose(agreed.epistemic, 0, atol=1e-12)
    np.testing.assert_allclose(agreed.total, agreed.aleatoric)
    # two members, each sure of another class: ln 2 of doubt, none of it the window's
    apart = decompose(np.array([[[1.0, 0.0]], [[0.0, 1.0]]]))
    assert apart.total[0] == pytest.approx(np.log(2))
    assert (apart.aleatoric[0], apart.epistemic[0]) == pytest.approx((0, np.log(2)))
    with pytest.raises(ValueError, match="at least 2"):
        decompose(one[None])


@given(arrays(np.float64, (3, 4, 6), elements=st.floats(-8, 8)))
def test_parts_of_uncertainty_add_up_and_are_never_negative(x):
    found = decompose(softmax(x))
    assert found.aleatoric is not None
    assert found.epistemic is not None
    assert (found.epistemic >= 0).all()
    np.testing.assert_allclose(found.aleatoric + found.epistemic, found.total, atol=1e-12)


def test_columns_are_of_what_is_known():
    total = np.ones(2)
    assert list(Uncertainty(total=total).columns()) == ["uncertainty_total"]
    assert tuple(Uncertainty(total=total, aleatoric=total, epistemic=total).columns()) == UNCERTAINTY_COLUMNS


def test_a_class_is_in_the_set_at_its_threshold_and_without_one():
    thresholds = np.array([0.3, 0.3, np.nan])
    assert in_set(np.array([[0.6, 0.3, 0.1], [0.31, 0.29, 0.0]]), thresholds).tolist() == [
        [True, True, True],
        [True, False, True],
    ]


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
