"""Sensitivity at an allowed rate of false alarms: per window against scikit-learn, in time by hand."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_curve

from evaluation.operating.alarms import HOUR, WINDOW, Alarm, alarms, candidates

CLASSES = ("Seizure", "Other")
SPAN = (20.0, 30.0)
"""The middle 10 s of a window of 50 s."""


def make_frame(n: int = 720, n_subjects: int = 6, fold: str = "") -> pd.DataFrame:
    rng = np.random.default_rng(0)
    ill = rng.random(n) < 0.25
    prob = np.round(1 / (1 + np.exp(-rng.normal(2.0 * ill - 1.0, 1.0))), 2)  # rounded: ties
    subjects = np.arange(n) % n_subjects
    return pd.DataFrame(
        {"subject_id": [f"s{i}" for i in subjects], "recording_id": [f"r{i}" for i in subjects],
         "fold": fold or np.where(subjects % 2, "b", "a"), "label": np.where(ill, *CLASSES),
         "prob_Seizure": prob, "prob_Other": 1 - prob}
    )  # fmt: skip


def of_seizure(frame: pd.DataFrame, n_boot: int = 20) -> dict[float, Alarm]:
    rows = alarms(frame, CLASSES, of=["Seizure"], span_s=SPAN, n_boot=n_boot, seed=0)
    return {row.allowed: row for row in rows}


def at_threshold(frame: pd.DataFrame, share: float) -> tuple[float, float]:
    """Return (threshold, sensitivity) of scikit-learn's curve at the highest false share within `share`."""
    positive = (frame["label"] == "Seizure").to_numpy()
    fpr, tpr, thresholds = roc_curve(positive, frame["prob_Seizure"], drop_intermediate=False)
    best = np.flatnonzero(fpr <= share + 1e-9)[-1]
    return float(thresholds[best]), float(tpr[best])


@pytest.mark.parametrize("share", [0.01, 0.05, 0.1])
def test_without_times_rates_are_per_window_and_thresholds_of_the_other_fold(share: float) -> None:
    frame = make_frame()
    row = of_seizure(frame)[share]
    hits = false = 0
    for fold in "ab":
        inside, rest = frame[frame["fold"] == fold], frame[frame["fold"] != fold]
        alarm = inside["prob_Seizure"] >= at_threshold(rest, share)[0]
        hits += int((alarm & (inside["label"] == "Seizure")).sum())
        false += int((alarm & (inside["label"] == "Other")).sum())
    # Candidates are ever further apart, so a threshold may lie one candidate above the best one.
    assert row.unit == WINDOW
    assert row.sensitivity.value == pytest.approx(hits / (frame["label"] == "Seizure").sum(), abs=0.05)
    assert row.false_rate.value == pytest.approx(false / (frame["label"] == "Other").sum(), abs=0.02)
    assert row.amount == (frame["label"] == "Other").sum()
    assert row.sensitivity.low <= row.sensitivity.value <= row.sensitivity.high


def test_thresholds_are_not_chosen_on_the_windows_they_are_scored_on() -> None:
    # Fold b's scores are those of fold a less 0.3: chosen on a, b has no alarm; chosen on b, a has too many.
    frame = make_frame(n_subjects=12)
    frame.loc[frame["fold"] == "b", "prob_Seizure"] *= 0.2
    frame["prob_Other"] = 1 - frame["prob_Seizure"]
    assert of_seizure(frame)[0.01].false_rate.value > 0.1
    one_group = of_seizure(make_frame(n_subjects=1))[0.01]
    assert np.isnan(one_group.sensitivity.low)


def hourly(prob: list[float], ill: list[int], *, hop_s: float, n_subjects: int = 4) -> pd.DataFrame:
    """Return the same recording for each of several subjects, in two folds."""
    n = len(prob)
    rows = pd.DataFrame(
        {"start_s": np.arange(n) * hop_s, "hop_s": hop_s, "label": np.where(ill, *CLASSES), "prob_Seizure": prob,
         "prob_Other": 1 - np.array(prob)}
    )  # fmt: skip
    return pd.concat(
        [rows.assign(subject_id=f"s{k}", recording_id=f"r{k}", fold="ab"[k % 2]) for k in range(n_subjects)],
        ignore_index=True,
    )


def test_overlapping_windows_are_merged_and_counted_in_real_time() -> None:
    # One hour at a hop of 10 s. Three false alarms of six windows each, ten minutes apart; one seizure that scores low.
    prob, ill = np.full(360, 0.1), np.zeros(360, dtype=int)
    for start in (30, 90, 150):
        prob[start : start + 6] = 0.8
    ill[250:256], prob[250:256] = 1, 0.5
    rows = of_seizure(hourly(prob.tolist(), ill.tolist(), hop_s=10.0))
    assert {row.unit for row in rows.values()} == {HOUR}
    assert rows[6.0].amount == pytest.approx(4.0)  # four subjects of one hour
    assert rows[6.0].n_events == 4
    assert rows[6.0].sensitivity.value == 1.0
    assert rows[6.0].false_rate.value == pytest.approx(3.0)  # events, not 18 windows
    assert rows[1.0].sensitivity.value == 0.0
    assert rows[1.0].false_rate.value == 0.0


def test_a_long_hop_is_time_on_the_monitor() -> None:
    # 72 windows of 50 s with a label of 10 s each: one hour of recording, not 12 minutes.
    rows = of_seizure(hourly([0.1] * 71 + [0.9], [0] * 71 + [1], hop_s=50.0))
    assert rows[1.0].amount == pytest.approx(4.0)


def test_candidates_fall_and_end_below_everything() -> None:
    scores = np.linspace(0, 1, 1000)
    levels = candidates(scores, np.zeros(1000, dtype=bool), step=1.2)
    assert levels[0] == 1.0
    assert levels[-1] == -np.inf
    assert (np.diff(levels) < 0).all()
    assert len(levels) < 40
    assert candidates(scores, np.ones(1000, dtype=bool), step=1.2).tolist() == [-np.inf]


def test_undefined_has_its_reason() -> None:
    frame = make_frame()
    frame = frame[frame["label"] == "Other"].reset_index(drop=True)
    row = of_seizure(frame)[0.05]
    assert np.isnan(row.sensitivity.value)
    assert row.sensitivity.reason == "the class does not occur among the labels"


def by_hand(frame: pd.DataFrame, share: float) -> tuple[int, int]:
    """Return (hits, false alarms) at thresholds of the other folds: the last candidate before one breaks the share."""
    scores, ill = frame["prob_Seizure"].to_numpy(), (frame["label"] == "Seizure").to_numpy()
    levels, hits, false = candidates(scores, ill, step=1.03), 0, 0
    for fold in sorted(set(frame["fold"])):
        inside = (frame["fold"] == fold).to_numpy()
        chosen = levels[0]
        for level in levels:
            if (scores[~inside & ~ill] > level).sum() > share * (~inside & ~ill).sum():
                break
            chosen = level
        hits += int((scores[inside & ill] > chosen).sum())
        false += int((scores[inside & ~ill] > chosen).sum())
    return hits, false


@pytest.mark.parametrize("share", [0.01, 0.05, 0.1])
def test_each_of_three_folds_has_the_threshold_of_the_other_two(share: float) -> None:
    frame, rng = make_frame(n_subjects=9), np.random.default_rng(5)
    frame["fold"] = [f"f{int(name[1:]) % 3}" for name in frame["subject_id"]]
    # Folds of unlike scale and size: whose threshold is used shows.
    frame["prob_Seizure"] = (frame["prob_Seizure"] * frame["fold"].map({"f0": 1.0, "f1": 0.7, "f2": 0.4})).round(3)
    frame["prob_Other"] = 1 - frame["prob_Seizure"]
    frame = frame[(frame["fold"] != "f2") | (rng.random(len(frame)) < 0.5)].reset_index(drop=True)
    hits, false = by_hand(frame, share)
    row, n_ill = of_seizure(frame)[share], int((frame["label"] == "Seizure").sum())
    assert (row.n_events, row.amount) == (n_ill, len(frame) - n_ill)
    assert row.sensitivity.value == pytest.approx(hits / n_ill, abs=1e-12)
    assert row.false_rate.value == pytest.approx(false / (len(frame) - n_ill), abs=1e-12)


def test_intervals_resample_subjects_and_more_draws_change_little() -> None:
    few, many = (of_seizure(make_frame(n_subjects=12), n_boot=n)[0.1] for n in (200, 2000))
    for name in ("sensitivity", "false_rate"):
        one, two = getattr(few, name), getattr(many, name)
        assert one.low < one.value == two.value < one.high
        assert (one.low, one.high) == pytest.approx((two.low, two.high), abs=0.02)
    # 720 windows of 12 subjects, none of which is different: about the binomial spread of 180 windows, t of 11.
    p = many.sensitivity.value
    assert (many.sensitivity.high - many.sensitivity.low) / 2 == pytest.approx(
        2.2 * (p * (1 - p) / 180) ** 0.5, rel=0.5
    )


def test_order_of_rows_and_names_of_subjects_do_not_matter() -> None:
    frame = make_frame(n_subjects=9)
    other = frame.sample(frac=1.0, random_state=3).reset_index(drop=True)
    other["subject_id"] = other["subject_id"].map({f"s{i}": f"t{8 - i}" for i in range(9)})
    for share, row in of_seizure(frame).items():
        again = of_seizure(other)[share]
        assert (again.sensitivity.value, again.false_rate.value) == (row.sensitivity.value, row.false_rate.value)


def test_only_the_label_span_of_a_window_raises_an_alarm() -> None:
    # Windows of 50 s every 10 s describe their seconds 20 to 30. One seizure of 60 s, found but for its last window:
    # the false alarm one minute later is no part of it.
    prob, ill = np.full(360, 0.1), np.zeros(360, dtype=int)
    ill[100:106], prob[100:105], prob[120] = 1, 0.9, 0.6
    rows = of_seizure(hourly(prob.tolist(), ill.tolist(), hop_s=10.0))
    assert (rows[1.0].sensitivity.value, rows[1.0].false_rate.value) == (1.0, 1.0)
    assert (rows[1 / 24].sensitivity.value, rows[1 / 24].false_rate.value) == (1.0, 0.0)
    assert [row.allowed for row in rows.values()] == [1 / 24, 1.0, 6.0]
