"""Resampling: vectorised equals naive, coverage, paired differences, Holm."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as reference

from evaluation.measures import tallies as tallies_module
from evaluation.measures.bootstrap import differences, draws, estimates, holm, n_units, resamples
from evaluation.measures.intervals import ONE_SUBJECT
from evaluation.measures.tallies import evaluate, point, tally

CLASSES = ("Seizure", "LPD", "Other")


def make_frame(n_subjects: int = 12, n_windows: int = 15, *, skill: float = 0.5, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    n = n_subjects * n_windows
    true_index = np.random.default_rng(99).integers(0, 3, n)
    prob = rng.dirichlet(np.ones(3), n) + skill * np.eye(3)[true_index]
    prob = np.round(prob / prob.sum(axis=1, keepdims=True), 3)
    prob /= prob.sum(axis=1, keepdims=True)
    frame = pd.DataFrame(
        {
            "window_key": [f"{i:05d}" for i in range(n)],
            "subject_id": [f"s{i % n_subjects:03d}" for i in range(n)],
            "label": np.array(CLASSES)[true_index],
        }
    )
    for k, name in enumerate(CLASSES):
        frame[f"target_{name}"], frame[f"prob_{name}"] = np.eye(3)[true_index][:, k], prob[:, k]
    return frame


def naive(frame: pd.DataFrame, weights: np.ndarray) -> dict[str, float]:
    """Repeat the rows of drawn subjects and ask scikit-learn."""
    subjects = sorted(frame["subject_id"].unique())
    parts = [frame[frame["subject_id"] == s] for s, w in zip(subjects, weights, strict=True) for _ in range(int(w))]
    rows = pd.concat(parts)
    true = rows["label"].map({c: k for k, c in enumerate(CLASSES)}).to_numpy()
    prob = rows[[f"prob_{c}" for c in CLASSES]].to_numpy()
    predicted = prob.argmax(axis=1)
    return {
        "balanced_accuracy": reference.balanced_accuracy_score(true, predicted),
        "kappa": reference.cohen_kappa_score(true, predicted),
        "weighted_f1": reference.f1_score(true, predicted, average="weighted"),
        "log_loss": reference.log_loss(true, prob),
        "kl": reference.log_loss(true, prob),
        "auroc_macro": np.mean([reference.roc_auc_score(true == k, prob[:, k]) for k in range(3)]),
        "auroc[LPD]": reference.roc_auc_score(true == 1, prob[:, 1]),
        "grave_rate": np.mean((true == 0) & (predicted == 2)),
        "grave_cost": np.mean(np.where((true == 0) & (predicted == 2), 5.0, true != predicted)),
        "grave[Seizure > Other]": np.mean(predicted[true == 0] == 2),
    }


@pytest.mark.parametrize("by_rank", [False, True])
def test_vectorised_equals_repeating_rows(by_rank: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if by_rank:
        monkeypatch.setattr(tallies_module, "PAIRED_CELLS", 0)
    frame = make_frame()
    # Top-label ties would share a prediction, which argmax does not.
    prob = frame[[f"prob_{c}" for c in CLASSES]].to_numpy()
    frame = frame[(prob == prob.max(axis=1, keepdims=True)).sum(axis=1) == 1]
    tallied = tally(frame, CLASSES, grave=(("Seizure", "Other"),))
    assert (tallied.pairs is None) is by_rank
    weights = next(resamples(12, n_boot=8, seed=1))
    found = evaluate(tallied, weights)
    for b, row in enumerate(weights):
        for name, value in naive(frame, row).items():
            assert found[name][b] == pytest.approx(value, abs=1e-9), name


def test_draws_take_every_subject_with_all_windows() -> None:
    weights = np.concatenate(list(resamples(7, n_boot=500, seed=0)))
    assert weights.shape == (500, 7)
    assert (weights.sum(axis=1) == 7).all()
    # Each subject is drawn once on average; the standard error of the mean is sqrt(6/7/500) = 0.041.
    np.testing.assert_allclose(weights.mean(axis=0), 1.0, atol=0.17)


def test_chunks_do_not_change_draws() -> None:
    whole = np.concatenate(list(resamples(5, n_boot=30, seed=4)))
    small = np.concatenate(list(resamples(5, n_boot=30, seed=4, width=4_000_000)))
    np.testing.assert_array_equal(whole, small)


def test_each_metric_rests_on_its_own_subjects_and_scale() -> None:
    frame = make_frame()
    frame = frame[(frame["label"] != "LPD") | frame["subject_id"].isin(["s000", "s001", "s002"])]
    tallied = tally(frame, CLASSES, grave=(("Seizure", "Other"),))
    assert n_units(tallied, "recall[LPD]") == 3
    assert n_units(tallied, "auroc[LPD]") == 3
    assert (
        n_units(tallied, "kl")
        == n_units(tallied, "recall[Seizure]")
        == n_units(tallied, "grave[Seizure > Other]")
        == 12
    )
    drawn = draws(tallied, n_boot=200, seed=0)
    known = estimates(tallied, drawn)["recall[LPD]"]
    value, error = known.value, np.nanstd(drawn["recall[LPD]"], ddof=1) * np.sqrt(3 / 2)
    # Student's t of 2 degrees of freedom, 4.3027, on the logit of the share.
    reach = 4.3027 * error / (value * (1 - value))
    assert known.high == pytest.approx(1 / (1 + np.exp(-np.log(value / (1 - value)) - reach)), abs=1e-4)


def test_ece_is_debiased_and_its_count_kept() -> None:
    tallied = tally(make_frame(), CLASSES)
    drawn = draws(tallied, n_boot=200, seed=0)
    known = estimates(tallied, drawn)
    counted = point(tallied)["ece"].value
    assert known["ece_plugin"].value == counted
    assert known["ece"].value == pytest.approx(max(0.0, 2 * counted - drawn["ece"].mean()))


def test_one_subject_gets_no_interval_but_a_reason() -> None:
    tallied = tally(make_frame(1), CLASSES)
    known = estimates(tallied, draws(tallied, n_boot=10, seed=0))["kl"]
    assert np.isfinite(known.value)
    assert np.isnan(known.low)
    assert known.reason == ONE_SUBJECT


def test_one_class_is_undefined_with_its_reason() -> None:
    frame = make_frame()
    tallied = tally(frame[frame["label"] == "LPD"], CLASSES)
    known = estimates(tallied, draws(tallied, n_boot=10, seed=0))
    for name in ("balanced_accuracy", "auroc_macro", "auroc[LPD]", "recall[Other]", "grave_rate"):
        assert np.isnan(known[name].value), name
        assert known[name].reason, name


def test_point_equals_ones() -> None:
    tallied = tally(make_frame(), CLASSES)
    found = evaluate(tallied, np.ones((1, 12)))
    assert point(tallied)["kl"].value == found["kl"][0]


def test_differences_are_paired() -> None:
    better, worse = tally(make_frame(skill=1.0), CLASSES), tally(make_frame(skill=0.1, seed=1), CLASSES)
    b, w = draws(better, n_boot=300, seed=0), draws(worse, n_boot=300, seed=0)
    gap = differences((better, b), (worse, w))["balanced_accuracy"]
    assert gap.value > 0
    assert gap.low > 0
    assert gap.p_value == pytest.approx(2 / 301)
    assert gap.at_floor
    same = differences((better, b), (better, b))["kl"]
    assert (same.value, same.low, same.high, same.p_value) == (0.0, 0.0, 0.0, 1.0)
    assert not same.at_floor


def test_models_of_other_windows_are_not_compared() -> None:
    ours = tally(make_frame(), CLASSES)
    theirs = dataclasses.replace(ours, window_keys=ours.window_keys[::-1])
    with pytest.raises(ValueError, match="same windows"):
        differences((ours, {}), (theirs, {}))


def test_holm_steps_down() -> None:
    # Sorted 0.01, 0.02, 0.04 times 3, 2, 1 = 0.03, 0.04, 0.04; the nan does not count.
    np.testing.assert_allclose(holm(np.array([0.04, 0.01, np.nan, 0.02])), [0.04, 0.03, np.nan, 0.04])
