"""Conformal sets keep their promise where windows are exchangeable, and show where they are not."""

import numpy as np
import pandas as pd
import pytest

from evaluation.conformal import coverage, least_probability

CLASSES = ("rest", "task")


def make_frame(skill: dict[str, float], n: int = 3000) -> pd.DataFrame:
    rng, parts = np.random.default_rng(0), []
    for fold, strength in skill.items():
        true = rng.integers(0, 2, n)
        prob = 1 / (1 + np.exp(-rng.normal(strength * (2 * true - 1), 1.0)))
        parts.append(
            pd.DataFrame(
                {"fold": fold, "subject_id": [f"{fold}{i % 5}" for i in range(n)], "label": np.array(CLASSES)[true],
                 "prob_rest": 1 - prob, "prob_task": prob}
            )
        )  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def test_threshold_is_the_right_order_statistic() -> None:
    # n = 19, alpha = 0.1: k = floor(0.1 * 20) = 2, the second smallest.
    assert least_probability(np.arange(19.0)[::-1] / 19) == pytest.approx(1 / 19)
    assert np.isnan(least_probability(np.array([0.5] * 8)))  # k = floor(0.9) = 0


def test_exchangeable_folds_are_covered_as_promised() -> None:
    # Standard error of a share of 0.9 over 3000 windows, and as much for calibrating: about 0.007 together.
    for row in coverage(make_frame({"a": 1.0, "b": 1.0}), CLASSES):
        assert row.coverage == pytest.approx(0.9, abs=0.025)
        assert row.worst_subject <= row.coverage
        assert 1.0 < row.set_size < 2.0


def test_a_site_unlike_the_others_falls_short() -> None:
    found = {row.name: row for row in coverage(make_frame({"a": 2.0, "b": 2.0, "odd": 0.2}), CLASSES)}
    assert found["odd"].coverage < 0.8


def test_one_fold_cannot_be_calibrated() -> None:
    row = coverage(make_frame({"a": 1.0}, n=20), CLASSES)[0]
    assert np.isnan(row.coverage)
    assert row.reason
