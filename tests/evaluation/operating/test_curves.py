"""Curves against scikit-learn, and an operating point that was chosen on the other fold."""

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as reference

from evaluation.operating.curves import class_curves, lowest_for

CLASSES = ("Seizure", "Other")


def make_frame(n: int = 400, *, n_subjects: int = 8) -> pd.DataFrame:
    rng, subject = np.random.default_rng(0), np.arange(n) % n_subjects
    ill = rng.random(n) < 0.3
    prob = np.round(1 / (1 + np.exp(-rng.normal(2.0 * ill - 1.0, 1.0))), 2)  # rounded: ties
    return pd.DataFrame(
        {"subject_id": [f"s{k}" for k in subject], "fold": np.where(subject % 2, "b", "a"),
         "label": np.where(ill, *CLASSES), "prob_Seizure": prob, "prob_Other": 1 - prob}
    )  # fmt: skip


def test_curves_are_scikit_learns() -> None:
    frame = make_frame()
    [row] = class_curves(frame, CLASSES, of=["Seizure"], n_boot=20, seed=0)
    ill = (frame["label"] == "Seizure").to_numpy()
    fpr, tpr, _ = reference.roc_curve(ill, frame["prob_Seizure"], drop_intermediate=False)
    x, y = np.array(row.roc).T
    np.testing.assert_allclose(x, fpr)
    np.testing.assert_allclose(y, tpr)
    precision, recall, _ = reference.precision_recall_curve(ill, frame["prob_Seizure"])
    np.testing.assert_allclose(np.array(row.pr), np.column_stack([recall, precision])[-2::-1])
    assert row.prevalence == ill.mean()


def test_the_operating_point_is_that_of_the_other_fold() -> None:
    frame = make_frame()
    [row] = class_curves(frame, CLASSES, of=["Seizure"], n_boot=50, seed=0)
    ill, called = (frame["label"] == "Seizure").to_numpy(), np.zeros(400, dtype=bool)
    for fold in "ab":
        inside = (frame["fold"] == fold).to_numpy()
        scores = np.sort(frame.loc[~inside & ill, "prob_Seizure"])[::-1]
        called |= inside & (frame["prob_Seizure"] >= scores[int(np.ceil(0.9 * len(scores))) - 1]).to_numpy()
    tn, fp, fn, tp = reference.confusion_matrix(ill, called).ravel()
    assert row.nested
    assert row.sensitivity.value == pytest.approx(tp / (tp + fn))
    assert row.specificity.value == pytest.approx(tn / (tn + fp))
    assert row.ppv.value == pytest.approx(tp / (tp + fp))
    assert row.npv.value == pytest.approx(tn / (tn + fn))
    assert row.ppv.low < row.ppv.value < row.ppv.high


def test_the_threshold_reaches_the_sensitivity() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    assert lowest_for(scores, 0.9) == 0.5
    assert lowest_for(scores, 0.8) == 0.6
    assert lowest_for(scores, 0.6) == 0.7
    assert lowest_for(np.zeros(0), 0.9) == np.inf


def test_one_subject_is_not_nested_and_an_absent_class_has_no_curve() -> None:
    [row] = class_curves(make_frame(n_subjects=1), CLASSES, of=["Seizure"], n_boot=20, seed=0)
    assert not row.nested
    assert "one subject" in row.ppv.reason
    frame = make_frame()
    assert class_curves(frame[frame["label"] == "Other"], CLASSES, of=CLASSES, n_boot=5, seed=0) == []
