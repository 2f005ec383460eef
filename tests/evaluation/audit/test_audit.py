"""Every finding is triggered by its planted fault, and by nothing else."""

import dataclasses
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evaluation.audit.audit import audit
from evaluation.audit.findings import Finding, decision
from evaluation.audit.fingerprint import N_DIMS, pack
from evaluation.schemas.predictions import Predictions

CLASSES = ("Control", "Epilepsy")
GOLDEN = Path(__file__).parents[2] / "golden" / "findings"
"""What the audit states of each planted fault, to the letter; `CEREBEAM_WRITE_GOLDEN=1 pytest` writes it anew."""


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


def stated(found: list[Finding]) -> str:
    return "".join(f"{finding.severity} {finding.code}: {finding.message}\n" for finding in found)


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
    fault(predictions)
    found = audit(predictions, model="encoder", n_boot=200)
    assert code in {finding.code for finding in found}
    path = GOLDEN / f"{fault.__name__}.txt"
    if os.environ.get("CEREBEAM_WRITE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(stated(found), encoding="utf-8")
    assert stated(found) == path.read_text(encoding="utf-8")


def test_a_clean_file_passes() -> None:  # so that what a planted fault brings is of the fault
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


def test_sites_count_by_their_windows_where_shortcuts_are_looked_for() -> None:
    # The model ranks perfectly at a site of 144 windows, and not at all at two of 12, with labels alike:
    # AUROC over all 1 - 0.5 (24 / 168)^2 = 0.99; within sites 0.93 by windows, and 0.67 if sites were to count alike.
    predictions = make_predictions(n_windows=24)
    frame = predictions.frame
    few = (frame["site_id"] != "a") & ~frame["window_key"].str.endswith(("-00", "-01"))
    frame.drop(frame[few].index, inplace=True)
    frame.reset_index(drop=True, inplace=True)
    ill = (frame["label"] == "Epilepsy").to_numpy()
    known = np.where(frame["site_id"] == "a", np.where(ill, 0.9, 0.1), 0.5)
    set_prob(frame, slice(None), known + np.random.default_rng(0).uniform(-0.09, 0.09, len(frame)))
    assert "site_shortcut" not in codes(predictions)


def test_a_shortcut_states_both_areas() -> None:
    predictions = make_predictions()
    reads_the_mains_hum(predictions)
    [found] = [f for f in audit(predictions, model="encoder", n_boot=50) if f.code == "site_shortcut"]
    whole, within = (float(x) for x in re.findall(r"\d\.\d\d", found.message))
    # The site gives 0.85 of the labels away, and within sites nothing is known.
    assert 0.75 < whole < 0.95
    assert 0.35 < within < 0.65
    assert found.severity == "warning"


@pytest.mark.parametrize(("share", "flagged"), [(0.49, False), (0.52, True)])
def test_a_dominant_subject_holds_more_than_half(share: float, flagged: bool) -> None:
    predictions = make_predictions(n_windows=100)
    own = predictions.frame["subject_id"] == "a0"
    rest = predictions.frame[~own].groupby("subject_id").head(2)
    n_own = round(len(rest) * share / (1 - share))
    kept = [*predictions.frame[own].index[:n_own], *rest.index]
    predictions.frame.drop(predictions.frame.index.difference(kept), inplace=True)
    predictions.frame.reset_index(drop=True, inplace=True)
    assert ("dominant_subject" in codes(predictions)) is flagged


@pytest.mark.parametrize(
    ("n_subjects", "code"), [(1, "one_subject_site"), (2, "few_subjects"), (4, "few_subjects"), (5, "")]
)
def test_few_subjects_are_fewer_than_five(n_subjects: int, code: str) -> None:
    predictions = make_predictions()
    gone = [f"c{k}" for k in range(n_subjects, 6)]
    predictions.frame.drop(predictions.frame[predictions.frame["subject_id"].isin(gone)].index, inplace=True)
    assert codes(predictions) & {"one_subject_site", "few_subjects"} == ({code} if code else set())


@pytest.mark.parametrize(("nats", "flagged"), [(0.009, False), (0.011, True), (-0.011, True)])
def test_an_uncertainty_may_differ_by_a_hundredth_of_a_nat(nats: float, flagged: bool) -> None:
    predictions = make_predictions()
    prob = predictions.frame[["prob_Control", "prob_Epilepsy"]].to_numpy()
    predictions.frame["uncertainty_total"] = -(prob * np.log(prob)).sum(axis=1)
    predictions.frame.loc[7, "uncertainty_total"] += nats
    found = [f for f in audit(predictions, model="encoder", n_boot=20) if f.code == "uncertainty_of_another_answer"]
    assert bool(found) is flagged
    if flagged:
        stated, entropy = predictions.frame.loc[7, "uncertainty_total"], -(prob[7] * np.log(prob[7])).sum()
        assert "of 1 of 216 windows" in found[0].message
        assert f"at worst {stated:.2f} nats stated, entropy {entropy:.2f}" in found[0].message


def test_a_control_of_shuffled_labels_may_not_learn() -> None:
    predictions = make_predictions()
    control = predictions.frame.assign(model="encoder, shuffled")
    learnt = dataclasses.replace(predictions, frame=pd.concat([predictions.frame, control], ignore_index=True))
    assert "shuffled_control_learns" in codes(learnt)
    order = np.random.default_rng(2).permutation(len(control))
    for name in ("prob_Control", "prob_Epilepsy"):
        control[name] = control[name].to_numpy()[order]
    silent = dataclasses.replace(predictions, frame=pd.concat([predictions.frame, control], ignore_index=True))
    assert "shuffled_control_learns" not in codes(silent)


def test_a_fold_that_hardly_moves_collapsed_beside_one_that_does() -> None:
    predictions = make_predictions()
    inside = (predictions.frame["fold"] == "b").to_numpy()
    prob = predictions.frame["prob_Epilepsy"].to_numpy(copy=True)
    for share, flagged in ((0.02, False), (0.005, True)):  # of what other folds do; a hundredth is the limit
        moved = np.where(inside, 0.5 + share * (prob - 0.5), prob)
        set_prob(predictions.frame, slice(None), moved)
        assert ("collapsed_fold" in codes(predictions)) is flagged
    (finding,) = [each for each in audit(predictions, model="encoder", n_boot=200) if each.code == "collapsed_fold"]
    assert finding.message.startswith("encoder gives every window of b the same probabilities")
