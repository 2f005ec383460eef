"""Every finding is triggered by its planted fault, and by nothing else."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evaluation.audit.audit import audit
from evaluation.audit.findings import decision
from evaluation.audit.fingerprint import N_DIMS, pack
from evaluation.schemas.predictions import Predictions

CLASSES = ("Control", "Epilepsy")


def make_predictions(n_windows: int = 12) -> Predictions:
    """Three sites of six subjects, both classes in each subject, a good but imperfect model."""
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for site in "abc":
        for s in range(6):
            for w in range(n_windows):
                true = w % 2
                prob = 1 / (1 + np.exp(-rng.normal((2 * true - 1) * 1.5, 1.0)))
                rows.append(
                    {"window_key": f"{site}{s}-{w:02d}", "recording_id": f"r{site}{s}", "subject_id": f"{site}{s}",
                     "site_id": site, "fold": site, "model": "encoder", "label": CLASSES[true],
                     "target_Control": 1.0 - true, "target_Epilepsy": float(true),
                     "prob_Control": 1 - prob, "prob_Epilepsy": prob, "content_hash": f"{site}{s}-{w:02d}",
                     "fingerprint": pack(unit_vector(rng))}
                )  # fmt: skip
    frame = pd.DataFrame(rows)
    folds = []
    for name in "abc":
        test, train = frame[frame["fold"] == name], frame[frame["fold"] != name]
        folds.append(
            {"name": name, "train_subjects": sorted(set(train["subject_id"])),
             "test_subjects": sorted(set(test["subject_id"])), "train_recordings": sorted(set(train["recording_id"])),
             "test_recordings": sorted(set(test["recording_id"]))}
        )  # fmt: skip
    meta = {"grouping": "site", "folds": folds, "pretrain_subjects": []}
    return Predictions(frame=frame, task="epilepsy", classes=CLASSES, meta=meta)


def unit_vector(rng: np.random.Generator) -> np.ndarray:
    vector = rng.normal(size=N_DIMS)
    return vector / np.linalg.norm(vector)


def codes(predictions: Predictions) -> set[str]:
    return {finding.code for finding in audit(predictions, model="encoder", n_boot=200)}


def set_prob(frame: pd.DataFrame, where: Any, prob: Any) -> None:
    frame.loc[where, "prob_Epilepsy"] = prob
    frame.loc[where, "prob_Control"] = 1 - frame.loc[where, "prob_Epilepsy"]


def subject_leak(p: Predictions) -> None:
    p.meta["folds"][0]["train_subjects"].append("a0")


def recording_leak(p: Predictions) -> None:
    p.meta["folds"][0]["train_recordings"].append("ra0")


def outsider(p: Predictions) -> None:
    p.meta["folds"][0]["test_subjects"].remove("a0")


def strange_fold(p: Predictions) -> None:
    p.meta["folds"].pop()


def no_folds(p: Predictions) -> None:
    p.meta["folds"] = []


def same_site(p: Predictions) -> None:
    p.frame.loc[p.frame["subject_id"] == "b0", "site_id"] = "a"


def seen_before(p: Predictions) -> None:
    p.meta["pretrain_subjects"] = ["b3", "elsewhere"]


def unrecorded(p: Predictions) -> None:
    del p.meta["pretrain_subjects"]


def copied_window(p: Predictions) -> None:
    p.frame.loc[p.frame["window_key"] == "a0-00", "content_hash"] = "b0-00"


def copied_signal(p: Predictions) -> None:
    p.frame["fingerprint"] = p.frame["fingerprint"].where(p.frame["window_key"] != "a0-00", p.frame["fingerprint"][100])


def no_fingerprints(p: Predictions) -> None:
    p.frame.drop(columns="fingerprint", inplace=True)


def wanderer(p: Predictions) -> None:
    p.frame.loc[p.frame["window_key"] == "b0-00", "site_id"] = "c"


def one_class(p: Predictions) -> None:
    p.frame.loc[p.frame["site_id"] == "c", ["label", "target_Control", "target_Epilepsy"]] = ["Control", 1.0, 0.0]


def lone_subject(p: Predictions) -> None:
    drop = p.frame[(p.frame["site_id"] == "c") & (p.frame["subject_id"] != "c0")].index
    p.frame.drop(drop, inplace=True)


def few_subjects(p: Predictions) -> None:
    p.frame.drop(p.frame[p.frame["subject_id"].isin(["c0", "c1", "c2"])].index, inplace=True)


def nameless(p: Predictions) -> None:
    p.meta["unknown_subject_sites"] = ["b"]


def dominant(p: Predictions) -> None:
    keep = (p.frame["subject_id"] == "a0") | p.frame["window_key"].str.endswith(("-00", "-01"))
    few = p.frame[keep & ~(p.frame["subject_id"] > "a4")]
    p.frame.drop(p.frame.index.difference(few.index), inplace=True)


def constant(p: Predictions) -> None:
    set_prob(p.frame, slice(None), 0.3)


def collapsed(p: Predictions) -> None:
    set_prob(p.frame, p.frame["fold"] == "b", 0.3)


def same_person(p: Predictions) -> None:
    p.frame["person_id"] = p.frame["subject_id"].replace("b0", "a0")


def noisy_amplifier(p: Predictions) -> None:
    """Labels go with the subject, and the noise with the label."""
    ill = (p.frame["subject_id"].str[1].astype(int) % 2).to_numpy()
    p.frame["label"] = np.where(ill, "Epilepsy", "Control")
    p.frame["target_Epilepsy"], p.frame["target_Control"] = ill.astype(float), 1.0 - ill
    p.frame["noise_db"] = 6.0 * ill + np.random.default_rng(0).normal(size=len(ill))


def anothers_uncertainty(p: Predictions) -> None:
    """An ensemble whose answer is a meta-learner's reports the entropy of its members' mean."""
    prob = p.frame[["prob_Control", "prob_Epilepsy"]].to_numpy()
    p.frame["uncertainty_total"] = -(prob * np.log(prob)).sum(axis=1)
    assert "uncertainty_of_another_answer" not in codes(p)
    p.frame.loc[3, "uncertainty_total"] += 0.2


def shuffled_labels(p: Predictions) -> None:
    order = np.random.default_rng(2).permutation(len(p.frame))
    p.frame["prob_Epilepsy"] = p.frame["prob_Epilepsy"].to_numpy()[order]
    p.frame["prob_Control"] = 1 - p.frame["prob_Epilepsy"]


def reads_the_mains_hum(p: Predictions) -> None:
    """A site of 60 Hz is mostly Epilepsy, the others mostly Control; the model knows the site and nothing else."""
    rng = np.random.default_rng(4)
    hum = (p.frame["site_id"] == "a").to_numpy()
    ill = np.where(hum, rng.random(len(p.frame)) < 0.85, rng.random(len(p.frame)) < 0.15)
    p.frame["label"] = np.where(ill, "Epilepsy", "Control")
    p.frame["target_Epilepsy"], p.frame["target_Control"] = ill.astype(float), 1.0 - ill
    set_prob(p.frame, slice(None), np.where(hum, 0.8, 0.2) + rng.normal(0, 0.02, len(p.frame)))


def perfect_on_one_patient(p: Predictions) -> None:
    shuffled_labels(p)
    hero = p.frame["subject_id"] == "a0"
    extra = pd.concat([p.frame[hero].assign(window_key=lambda f, i=i: f["window_key"] + f"x{i}") for i in range(5)])
    for row in extra.to_dict("records"):
        p.frame.loc[len(p.frame)] = row
    hero = p.frame["subject_id"] == "a0"
    set_prob(p.frame, hero, np.where(p.frame.loc[hero, "label"] == "Epilepsy", 0.99, 0.01))


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (subject_leak, "subject_on_two_sides"),
        (recording_leak, "recording_on_two_sides"),
        (recording_leak, "trained_recording_predicted"),
        (outsider, "row_outside_fold"),
        (strange_fold, "unknown_fold"),
        (no_folds, "no_folds"),
        (same_site, "site_on_two_sides"),
        (copied_window, "duplicate_windows"),
        (copied_signal, "near_duplicate_windows"),
        (no_fingerprints, "no_fingerprints"),
        (wanderer, "subject_at_two_sites"),
        (seen_before, "pretraining_overlap"),
        (unrecorded, "pretraining_unknown"),
        (one_class, "one_class_site"),
        (lone_subject, "one_subject_site"),
        (few_subjects, "few_subjects"),
        (nameless, "unknown_subjects"),
        (dominant, "dominant_subject"),
        (constant, "constant_model"),
        (collapsed, "collapsed_fold"),
        (anothers_uncertainty, "uncertainty_of_another_answer"),
        (same_person, "person_on_two_sides"),
        (noisy_amplifier, "confounded_labels"),
        (shuffled_labels, "no_better_than_chance"),
        (reads_the_mains_hum, "site_shortcut"),
        (perfect_on_one_patient, "single_patient"),
    ],
)
def test_planted_fault_is_flagged_by_name(fault: Callable[[Predictions], None], code: str) -> None:
    predictions = make_predictions()
    assert code not in codes(predictions)
    fault(predictions)
    assert code in codes(predictions)


def test_a_clean_file_passes() -> None:
    assert audit(make_predictions(), model="encoder", n_boot=200) == []
    assert decision([]) == "passed"


def test_overlap_with_pretraining_warns_and_a_leak_fails() -> None:
    predictions = make_predictions()
    seen_before(predictions)
    assert decision(audit(predictions, model="encoder", n_boot=50)) == "passed with warnings"
    subject_leak(predictions)
    found = audit(predictions, model="encoder", n_boot=50)
    assert decision(found) == "failed"
    assert found[0].severity == "error"


def test_a_constant_baseline_is_no_error() -> None:
    predictions = make_predictions()
    constant(predictions)
    prior = dataclasses.replace(predictions, frame=predictions.frame.assign(model="prior"))
    assert decision(audit(prior, model="prior", n_boot=50)) == "passed"


def test_a_finding_counts_and_names_whom_it_is_about() -> None:
    predictions = make_predictions()
    wanderer(predictions)
    same_person(predictions)
    messages = {f.code: f.message for f in audit(predictions, model="encoder", n_boot=50)}
    assert messages["subject_at_two_sites"].startswith("1 subject(s) were seen at several sites: b0.")
    assert messages["person_on_two_sides"].startswith("1 person(s) were recorded under several subject ids")
