"""AUROC within folds: the mean of what scikit-learn gives in each fold, and blind to folds on different scales."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from evaluation.measures.within import within_folds

CLASSES = ("a", "b", "c")


def rows(seed: int = 0, n: int = 240) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    true = rng.integers(0, 3, n)
    prob = rng.dirichlet(np.ones(3), n) + 0.3 * np.eye(3)[true]
    prob /= prob.sum(axis=1, keepdims=True)
    columns = {f"prob_{c}": prob[:, k] for k, c in enumerate(CLASSES)}
    columns |= {f"target_{c}": (true == k).astype(float) for k, c in enumerate(CLASSES)}
    subject = np.arange(n) % 12
    return pd.DataFrame({"window_key": [f"w{i:03d}" for i in range(n)], "subject_id": [f"s{k:02d}" for k in subject],
                         "fold": [f"f{k % 3}" for k in subject], "label": np.array(CLASSES)[true],
                         **columns})  # fmt: skip


def test_it_is_the_mean_of_the_folds_own_areas() -> None:
    frame = rows()
    found = within_folds(frame, CLASSES, n_boot=50, seed=0)
    for cls in CLASSES:
        each = [roc_auc_score(part["label"] == cls, part[f"prob_{cls}"]) for _, part in frame.groupby("fold")]
        assert found[f"auroc_within[{cls}]"].value == pytest.approx(np.mean(each))
    macro = np.mean([found[f"auroc_within[{cls}]"].value for cls in CLASSES])
    assert found["auroc_within"].value == pytest.approx(macro)
    assert found["auroc_within"].low < macro < found["auroc_within"].high
    assert found == within_folds(frame.sample(frac=1, random_state=1), CLASSES, n_boot=50, seed=0)


def test_a_fold_whose_scores_are_all_higher_changes_nothing() -> None:
    frame = rows()
    frame[[f"prob_{c}" for c in CLASSES]] = frame[[f"prob_{c}" for c in CLASSES]].to_numpy()
    moved = frame.copy()
    inside = moved["fold"] == "f1"
    # The same order of "a" within the fold, on a scale that no other fold uses.
    moved.loc[inside, "prob_a"] = 0.9 + 0.1 * moved.loc[inside, "prob_a"]
    rest = 1 - moved.loc[inside, "prob_a"]
    moved.loc[inside, "prob_b"] = rest / 2
    moved.loc[inside, "prob_c"] = rest / 2
    before, after = (within_folds(f, CLASSES, n_boot=0, seed=0)["auroc_within[a]"].value for f in (frame, moved))
    assert after == pytest.approx(before)
    assert roc_auc_score(moved["label"] == "a", moved["prob_a"]) < before - 0.02


def test_what_is_undefined_in_one_fold_is_left_to_the_others_and_nowhere_defined_says_why() -> None:
    frame = rows()
    without = frame[(frame["fold"] != "f0") | (frame["label"] != "a")]
    parts = [part for name, part in without.groupby("fold") if name != "f0"]
    expected = np.mean([roc_auc_score(part["label"] == "a", part["prob_a"]) for part in parts])
    found = within_folds(without, CLASSES, n_boot=10, seed=0)
    assert found["auroc_within[a]"].value == pytest.approx(expected)
    nowhere = within_folds(frame[frame["label"] != "a"], CLASSES, n_boot=10, seed=0)["auroc_within[a]"]
    assert np.isnan(nowhere.value)
    assert nowhere.reason == "no fold has both positive and negative windows"
    alone = within_folds(frame[frame["subject_id"] == "s00"], CLASSES, n_boot=10, seed=0)["auroc_within"]
    assert np.isfinite(alone.value)
    assert np.isnan(alone.low)
    assert alone.reason == "one subject: no interval can be given"
