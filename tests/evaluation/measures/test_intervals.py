"""Intervals against SciPy, by hand, and by how often they cover a truth that is known."""

import numpy as np
import pytest
from scipy import stats

from evaluation.measures.intervals import (
    NO_SPREAD,
    ONE_SUBJECT,
    POSITIVE,
    SHARE,
    SIGNED,
    debiased,
    exact_interval,
    over_sites,
    share_interval,
    t_interval,
)


@pytest.mark.parametrize(("k", "n"), [(1, 16), (3, 16), (8, 16), (15, 16), (5, 200)])
def test_exact_interval_is_scipys(k: int, n: int) -> None:
    expected = stats.binomtest(k, n).proportion_ci(0.95, method="exact")
    assert exact_interval(k, n) == pytest.approx((expected.low, expected.high))


def test_none_and_all_are_one_sided() -> None:
    # 0 of 16: the share p with (1 - p)^16 = 0.05.
    assert exact_interval(0, 16) == pytest.approx((0.0, 1 - 0.05 ** (1 / 16)))
    assert exact_interval(16, 16) == pytest.approx((0.05 ** (1 / 16), 1.0))
    assert np.isnan(exact_interval(0, 0)).all()


def test_a_share_without_errors_is_not_certain() -> None:
    low, high, remark = share_interval(0.0, np.zeros(100), n_units=16)
    assert (low, high) == pytest.approx((0.0, 0.1707), abs=1e-4)
    assert remark == "exact over 16 subjects"
    assert share_interval(1.0, np.ones(100), n_units=16)[0] == pytest.approx(0.8293, abs=1e-4)


@pytest.mark.parametrize(("scale", "value"), [(SHARE, 0.8), (POSITIVE, 0.8), (SIGNED, 0.5)])
def test_scales_go_there_and_back_and_keep_their_bounds(scale: object, value: float) -> None:
    assert scale.inverse(scale.forward(value)) == pytest.approx(value)  # type: ignore[attr-defined]
    step = 1e-6
    slope = (scale.forward(value + step) - scale.forward(value - step)) / (2 * step)  # type: ignore[attr-defined]
    assert scale.slope(value) == pytest.approx(slope, rel=1e-4)  # type: ignore[attr-defined]
    low, high, _ = t_interval(value, value + np.random.default_rng(0).normal(size=500), n_units=4, scale=scale)  # type: ignore[arg-type]
    assert low < value < high
    assert low > {SHARE: 0, POSITIVE: 0, SIGNED: -1}[scale]  # type: ignore[index]
    assert high < {SHARE: 1, POSITIVE: np.inf, SIGNED: 1}[scale]  # type: ignore[index]


def test_the_mean_of_subjects_gets_students_interval() -> None:
    x = np.random.default_rng(0).normal(size=9)
    drawn = np.random.default_rng(1).choice(x, size=(200_000, 9)).mean(axis=1)
    low, high, _ = t_interval(float(x.mean()), drawn, n_units=9)
    expected = stats.ttest_1samp(x, 0).confidence_interval(0.95)
    assert (low, high) == pytest.approx((expected.low, expected.high), rel=0.01)


def test_what_has_no_interval_has_a_reason() -> None:
    assert t_interval(0.5, np.full(9, 0.5), n_units=1)[2] == ONE_SUBJECT
    assert t_interval(1.0, np.ones(9), n_units=5, scale=SHARE)[2] == NO_SPREAD
    assert "undefined in every" in t_interval(0.5, np.full(9, np.nan), n_units=5)[2]
    assert "undefined in 1 of 9" in t_interval(0.5, np.r_[np.nan, np.linspace(0.4, 0.6, 8)], n_units=5)[2]
    assert over_sites(np.array([0.7]), bounds=(0, 1)).new_site.reason.startswith("one site")
    assert "hardly informative" in over_sites(np.array([0.6, 0.8]), bounds=(0, 1)).mean.reason


def test_over_sites_by_hand() -> None:
    # Mean 0.6, standard deviation 0.1, three sites, t(2) = 4.3027: 0.43027 / sqrt(3) = 0.2484 and
    # 0.43027 x sqrt(4/3) = 0.4968.
    known = over_sites(np.array([0.5, 0.6, 0.7, np.nan]), bounds=(0.0, 1.0))
    assert (known.mean.low, known.mean.high) == pytest.approx((0.3516, 0.8484), abs=1e-4)
    assert (known.new_site.low, known.new_site.high) == pytest.approx((0.1032, 1.0), abs=1e-4)  # cut at 1


@pytest.mark.parametrize("level", [0.0, 0.1])
def test_a_debiased_ece_is_nearer_to_the_truth_than_the_counted_one(level: float) -> None:
    # 30 subjects of 10 windows, a confidence of 0.5 to 1 that is too high by `level`. Counted in 15 bins, noise adds.
    rng, counted, corrected = np.random.default_rng(0), [], []
    for _ in range(60):
        confidence = rng.uniform(0.5, 1.0, (30, 10))
        right = rng.random((30, 10)) < confidence - level
        bins = np.minimum((confidence * 15).astype(int), 14)

        def ece(rows: np.ndarray) -> float:
            gap = (confidence - right)[rows].ravel()  # noqa: B023
            return float(np.abs(np.bincount(bins[rows].ravel(), weights=gap, minlength=15)).sum() / gap.size)  # noqa: B023

        value = ece(np.arange(30))
        known = debiased(value, np.array([ece(rng.integers(0, 30, 30)) for _ in range(60)]))
        counted.append(value)
        corrected.append(known.value)
        assert 0 <= known.low <= known.high
    # What noise adds to 0 is nearly halved: |z| of a normal z is 0.80, of one that is resampled 1.13, so 0.47 is left.
    # A model that is off by 0.1 gains little by noise, and little is taken away.
    assert abs(np.mean(corrected) - level) < max(0.65 * abs(np.mean(counted) - level), 0.015)


@pytest.mark.parametrize(("value", "drawn"), [(np.nan, [0.1, 0.2]), (0.1, [0.2, np.nan]), (0.1, [])])
def test_what_is_undefined_has_a_reason_and_no_interval(value: float, drawn: list[float]) -> None:
    known = debiased(value, np.array(drawn))
    assert (known.reason, np.isnan([known.low, known.high]).all()) == ("undefined in every resample", True)
    np.testing.assert_equal(known.value, value)
