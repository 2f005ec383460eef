"""Risk-coverage against a loop, its bounds, and ties."""

import numpy as np
import pandas as pd
import pytest

from evaluation.measures.selective import least_confidence, mistakes, risk_curve, selective

CLASSES = ("rest", "task")


def make_frame(n: int = 600, n_subjects: int = 10, *, skill: float = 1.0) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    true = rng.integers(0, 2, n)
    prob = 1 / (1 + np.exp(-rng.normal(skill * (2 * true - 1), 1.0)))
    return pd.DataFrame(
        {"subject_id": [f"s{i % n_subjects}" for i in range(n)], "fold": [f"f{i % n_subjects % 2}" for i in range(n)],
         "label": np.array(CLASSES)[true],
         "prob_rest": 1 - prob, "prob_task": prob}
    )  # fmt: skip


def test_curve_equals_a_loop() -> None:
    frame = make_frame()
    top = frame[["prob_rest", "prob_task"]].max(axis=1)
    wrong = (frame["prob_task"] > 0.5) != (frame["label"] == "task")
    ranked = wrong.to_numpy()[np.argsort(-top)]
    risks = [ranked[:k].mean() for k in range(1, len(ranked) + 1)]
    found = selective(frame, CLASSES, n_boot=100, seed=0)
    assert found.aurc.value == pytest.approx(np.mean(risks), abs=1e-12)
    assert found.risks[0.5].value == pytest.approx(risks[299], abs=1e-12)
    assert found.risks[1.0].value == pytest.approx(wrong.mean())
    assert found.aurc_best < found.aurc.value < found.aurc_random
    assert found.aurc.low < found.aurc.value < found.aurc.high


def test_the_confidence_to_answer_from_is_chosen_on_the_other_fold() -> None:
    frame = make_frame()
    top = frame[["prob_rest", "prob_task"]].max(axis=1).to_numpy()
    wrong = ((frame["prob_task"] > 0.5) != (frame["label"] == "task")).to_numpy()
    answered = np.zeros(600, dtype=bool)
    for fold in ("f0", "f1"):
        inside = (frame["fold"] == fold).to_numpy()
        ranked = np.argsort(-top[~inside])
        risks = np.cumsum(wrong[~inside][ranked]) / np.arange(1, 301)
        least = top[~inside][ranked][np.flatnonzero(risks <= 0.1)[-1]]
        answered |= inside & (top >= least)
    [row] = [row for row in selective(frame, CLASSES, n_boot=100, seed=0).limited if row.allowed == 0.1]
    assert row.nested
    assert row.answered == pytest.approx(answered.mean())
    assert row.risk.value == pytest.approx(wrong[answered].mean())
    assert row.risk.low < row.risk.value < row.risk.high


def test_one_subject_chooses_on_its_own_windows_and_that_is_recorded() -> None:
    assert not any(row.nested for row in selective(make_frame(n_subjects=1), CLASSES, n_boot=10, seed=0).limited)


def test_no_confidence_is_enough() -> None:
    assert least_confidence(np.array([0.9, 0.8]), np.array([1.0, 0.0]), allowed=0.1) == np.inf
    assert least_confidence(np.array([0.9, 0.8]), np.array([0.0, 1.0]), allowed=0.1) == 0.9


def test_best_order_has_the_area_of_its_formula() -> None:
    # 2 mistakes of 4, ranked last: risks 0, 0, 1/3, 1/2.
    assert risk_curve(np.array([0.9, 0.8, 0.7, 0.6]), np.array([0.0, 0.0, 1.0, 1.0])).mean() == pytest.approx(
        (1 / 3 + 1 / 2) / 4
    )


def test_equal_confidences_have_one_risk_whatever_their_order() -> None:
    wrong = np.array([1.0, 0.0, 0.0, 0.0])
    np.testing.assert_allclose(risk_curve(np.full(4, 0.7), wrong), 0.25)
    np.testing.assert_allclose(risk_curve(np.full(4, 0.7), wrong[::-1]), 0.25)


def test_a_tie_between_classes_is_half_a_mistake() -> None:
    confidence, wrong = mistakes(np.array([[0.5, 0.5], [0.1, 0.9]]), np.array([0, 1]))
    np.testing.assert_allclose(confidence, [0.5, 0.9])
    np.testing.assert_allclose(wrong, [0.5, 0.0])


def test_one_subject_has_a_curve_without_intervals() -> None:
    found = selective(make_frame(n_subjects=1), CLASSES, n_boot=100, seed=0)
    assert np.isnan(found.aurc.low)
    assert "one subject" in found.aurc.reason
    assert np.isfinite(found.aurc.value)


def test_no_resamples_leave_values_without_intervals() -> None:
    some, none = (selective(make_frame(n_subjects=6), CLASSES, n_boot=n, seed=0) for n in (20, 0))
    assert (none.aurc.value, none.aurc.reason) == (some.aurc.value, "no resamples")
    assert np.isnan([none.aurc.low, none.aurc.high]).all()
    assert {risk.reason for risk in none.risks.values()} == {"no resamples"}
