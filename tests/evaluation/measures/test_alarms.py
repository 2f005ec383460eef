"""Sensitivity at allowed false alarms against scikit-learn's ROC curve."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_curve

from evaluation.measures.alarms import alarms, lowest_threshold

CLASSES = ("Seizure", "Other")


def make_frame(n: int = 720, n_subjects: int = 6) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    ill = rng.random(n) < 0.25
    prob = np.round(1 / (1 + np.exp(-rng.normal(2.0 * ill - 1.0, 1.0))), 2)  # rounded: ties
    return pd.DataFrame(
        {"subject_id": [f"s{i % n_subjects}" for i in range(n)], "label": np.where(ill, *CLASSES),
         "prob_Seizure": prob, "prob_Other": 1 - prob}
    )  # fmt: skip


@pytest.mark.parametrize("rate", [1.0, 6.0, 30.0])
def test_sensitivity_is_that_of_the_roc_curve(rate: float) -> None:
    frame = make_frame()
    positive = (frame["label"] == "Seizure").to_numpy()
    hours = (~positive).sum() * 10 / 3600
    fpr, tpr, _ = roc_curve(positive, frame["prob_Seizure"], drop_intermediate=False)
    expected = tpr[fpr * (~positive).sum() <= np.floor(rate * hours) + 1e-9].max()
    [found] = [
        row
        for row in alarms(frame, CLASSES, window_s=10.0, n_boot=50, seed=0)
        if row.name == "Seizure" and row.allowed_per_h == rate
    ]
    assert found.sensitivity.value == pytest.approx(expected, abs=1e-9)
    assert found.false_per_h.value <= rate
    assert found.hours == pytest.approx(hours)
    assert found.sensitivity.low <= found.sensitivity.value <= found.sensitivity.high


def test_lowest_threshold_by_hand() -> None:
    scores, positive = np.array([0.9, 0.8, 0.7, 0.6]), np.array([False, True, False, True])
    assert lowest_threshold(scores, positive, n_allowed=0) == 0.9
    assert lowest_threshold(scores, positive, n_allowed=1) == 0.7
    assert lowest_threshold(scores, positive, n_allowed=2) == -np.inf


def test_undefined_has_its_reason() -> None:
    frame = make_frame()
    frame = frame[frame["label"] == "Other"]
    rows = {row.name: row for row in alarms(frame, CLASSES, window_s=10.0, n_boot=10, seed=0)}
    assert np.isnan(rows["Seizure"].sensitivity.value)
    assert rows["Seizure"].sensitivity.reason == "the class does not occur among the labels"
    assert rows["Other"].false_per_h.reason == "no windows of other classes"
