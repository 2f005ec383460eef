"""Conformal sets keep their promise where windows are exchangeable, and show where they are not."""

import numpy as np
import pandas as pd
import pytest

from evaluation.measures.conformal import (
    TOO_FEW,
    Coverage,
    coverage,
    least_probability,
    short_expected,
    thresholds,
)

CLASSES = ("rest", "task")


def make_frame(skill: dict[str, float], n: int = 3000, *, rare: float = 0.5) -> pd.DataFrame:
    rng, parts = np.random.default_rng(0), []
    for fold, strength in skill.items():
        true = (rng.random(n) < rare).astype(int)
        prob = 1 / (1 + np.exp(-rng.normal(strength * (2 * true - 1) - 2 * (0.5 - rare), 1.0)))
        parts.append(
            pd.DataFrame(
                {"fold": fold, "subject_id": [f"{fold}{i % 5}" for i in range(n)], "label": np.array(CLASSES)[true],
                 "prob_rest": 1 - prob, "prob_task": prob}
            )
        )  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def found(frame: pd.DataFrame) -> dict[tuple[str, str, str], Coverage]:
    rows = coverage(frame, CLASSES, n_boot=50, seed=0)
    return {(row.name, row.method, row.calibration): row for row in rows}


def test_threshold_is_the_right_order_statistic() -> None:
    # n = 19, alpha = 0.1: k = floor(0.1 * 20) = 2, the second smallest.
    assert least_probability(np.arange(19.0)[::-1] / 19) == pytest.approx(1 / 19)
    assert np.isnan(least_probability(np.array([0.5] * 8)))  # k = floor(0.9) = 0


def test_each_class_has_its_own_order_statistic() -> None:
    # 19 windows of class 0 with p(true) = 1/20 ... 19/20: the second smallest is 0.1; 5 of class 1 are too few.
    first = np.arange(1, 20) / 20
    prob = np.vstack([np.column_stack([first, 1 - first]), np.tile([0.4, 0.6], (5, 1))])
    level = thresholds(prob, np.repeat([0, 1], [19, 5]), method="class-conditional")
    np.testing.assert_allclose(level, [0.1, 0.0])


def test_exchangeable_folds_are_covered_as_promised() -> None:
    # Standard error of a share of 0.9 over 3000 windows, and as much for calibrating: about 0.007 together.
    for row in found(make_frame({"a": 1.0, "b": 1.0})).values():
        assert row.coverage.value == pytest.approx(0.9, abs=0.025)
        assert row.worst_subject <= row.coverage.value
        assert row.coverage.low <= row.coverage.value <= row.coverage.high
        assert 1.0 < row.set_size < 2.0
        assert len(row.subjects) == row.n_subjects == 5


def test_a_rare_class_is_covered_only_by_its_own_threshold() -> None:
    rows = found(make_frame({"a": 0.3, "b": 0.3}, rare=0.08))
    assert rows["a", "split", "other folds"].by_class["task"] < 0.6
    # about 240 rare windows a fold: standard error 0.02, and as much for calibrating
    assert rows["a", "class-conditional", "other folds"].by_class["task"] == pytest.approx(0.9, abs=0.08)


def test_a_site_unlike_the_others_falls_short_until_it_calibrates_itself() -> None:
    rows = found(make_frame({"a": 2.0, "b": 2.0, "odd": 0.2}))
    assert rows["odd", "split", "other folds"].coverage.value < 0.8
    assert rows["odd", "split", "own patients"].coverage.value == pytest.approx(0.9, abs=0.025)
    assert rows["odd", "split", "other folds"].short_subjects == 1.0


def test_calibration_shares_no_patient_with_the_test() -> None:
    # One patient fills fold b and half of fold a with certain, right answers: as calibration for fold a's other
    # patients it may serve, for its own windows it may not.
    frame = make_frame({"a": 0.2, "b": 0.2}, n=200)
    frame.loc[frame["fold"] == "b", "subject_id"] = "a0"
    row = found(frame)["b", "split", "other folds"]
    alone = frame[(frame["fold"] == "a") & (frame["subject_id"] != "a0")]
    true_prob = np.where(alone["label"] == "rest", alone["prob_rest"], alone["prob_task"])
    inside = frame[frame["fold"] == "b"]
    held = np.where(inside["label"] == "rest", inside["prob_rest"], inside["prob_task"])
    assert row.coverage.value == pytest.approx((held >= least_probability(true_prob)).mean())


def test_what_cannot_be_calibrated_says_so() -> None:
    rows = found(make_frame({"a": 1.0}, n=20))
    assert np.isnan(rows["a", "split", "other folds"].coverage.value)
    assert rows["a", "split", "other folds"].coverage.reason == TOO_FEW
    # class-conditional sets hold every class then: valid, and of no use
    assert rows["a", "class-conditional", "other folds"].set_size == 2.0


def test_patients_fall_short_by_chance_as_often_as_the_binomial() -> None:
    # Six windows covered with 0.9 each: any miss makes 5 of 6 < 0.9, so 1 - 0.9^6 = 0.4686. Ten windows: 9 of 10 is
    # enough, so two misses are needed: 1 - 0.9^10 - 10 x 0.1 x 0.9^9 = 0.2639.
    assert short_expected(np.array([6, 6]), 0.1) == pytest.approx(1 - 0.9**6)
    assert short_expected(np.array([10]), 0.1) == pytest.approx(1 - 0.9**10 - 0.9**9)
    assert short_expected(np.array([6, 10]), 0.1) == pytest.approx((0.468559 + 0.263901) / 2, abs=1e-5)
