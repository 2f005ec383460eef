"""Suspicion first: what would make the figures of a predictions file worthless, each as a finding by name.

Sides are told by `meta["folds"]`, a list of {"name", "train_subjects", "test_subjects", "train_recordings",
"test_recordings"}, and by `meta["pretrain_subjects"]`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from evaluation.bootstrap import draws, percentile_interval
from evaluation.predictions import Predictions, probabilities
from evaluation.tallies import Tallies, evaluate, tally

BASELINES = ("prior", "chance")
SEVERITIES = ("error", "warning", "info")
DOMINANT_SHARE = 0.5
CARRIED = 0.05
"""Balanced accuracy that a single subject may move."""
SHORTCUT = 0.1
"""AUROC that may be lost between all sites together and within sites."""


@dataclass(frozen=True)
class Finding:
    """Something wrong or worth knowing; an error means that the figures are not to be used."""

    severity: str
    code: str
    message: str


def audit(predictions: Predictions, *, model: str, n_boot: int = 1000, seed: int = 0) -> list[Finding]:
    """Return everything found in the file for one model, errors first."""
    frame = predictions.of(model)
    tallies = tally(frame, predictions.classes)
    found = [
        *fold_findings(predictions, frame),
        *pretraining_findings(predictions, frame),
        *data_findings(predictions, frame),
        *model_findings(frame, tallies, n_boot=n_boot, seed=seed),
    ]
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))


def verdict(findings: Iterable[Finding]) -> str:
    """Return "failed", "passed with warnings" or "passed"."""
    severities = {finding.severity for finding in findings}
    return "failed" if "error" in severities else "passed with warnings" if "warning" in severities else "passed"


def _some(names: Iterable[Any]) -> str:
    ordered = sorted(str(name) for name in names)
    return ", ".join(ordered[:3]) + (f" and {len(ordered) - 3} more" if len(ordered) > 3 else "")


def fold_findings(predictions: Predictions, frame: pd.DataFrame) -> list[Finding]:
    """Return leaks between the sides of the folds."""
    folds = predictions.meta.get("folds") or []
    if not folds:
        return [Finding("warning", "no_folds", "The file does not say who was trained on: leaks cannot be excluded.")]
    found = []
    for fold in folds:
        rows = frame[frame["fold"] == fold["name"]]
        found += _sides(fold) + _outsiders(fold, rows)
        if predictions.meta.get("grouping") == "site":
            found += _shared_sites(fold, rows, frame)
    strangers = set(frame["fold"]) - {fold["name"] for fold in folds}
    if strangers:
        found.append(
            Finding("error", "unknown_fold", f"Rows name folds that the file does not list: {_some(strangers)}.")
        )
    if "content_hash" in frame.columns:
        found += _duplicates(frame)
    return found


def _sides(fold: Mapping[str, Any]) -> list[Finding]:
    found = []
    for noun in ("subject", "recording"):
        both = set(fold.get(f"train_{noun}s", ())) & set(fold.get(f"test_{noun}s", ()))
        if both:
            message = f"Fold {fold['name']}: {len(both)} {noun}(s) stand on both sides: {_some(both)}."
            found.append(Finding("error", f"{noun}_on_two_sides", message))
    return found


def _outsiders(fold: Mapping[str, Any], rows: pd.DataFrame) -> list[Finding]:
    outside = set(rows["subject_id"]) - set(fold.get("test_subjects", ()))
    trained = set(rows["recording_id"]) & set(fold.get("train_recordings", ()))
    found = []
    if outside:
        message = f"Fold {fold['name']} predicts subjects that are not among its test subjects: {_some(outside)}."
        found.append(Finding("error", "row_outside_fold", message))
    if trained:
        message = f"Fold {fold['name']} predicts recordings that it was trained on: {_some(trained)}."
        found.append(Finding("error", "trained_recording_predicted", message))
    return found


def _shared_sites(fold: Mapping[str, Any], rows: pd.DataFrame, frame: pd.DataFrame) -> list[Finding]:
    trained = frame[frame["subject_id"].isin(set(fold.get("train_subjects", ())))]
    both = set(trained["site_id"]) & set(rows["site_id"])
    if not both:
        return []
    message = f"Fold {fold['name']} is meant to leave its site out, but was trained on subjects of {_some(both)}."
    return [Finding("error", "site_on_two_sides", message)]


def _duplicates(frame: pd.DataFrame) -> list[Finding]:
    owners = frame.groupby("content_hash")["subject_id"].nunique()
    twice = owners[owners > 1]
    if twice.empty:
        return []
    message = f"{len(twice)} window(s) have the same samples under several subjects: {_some(twice.index)}."
    return [Finding("error", "duplicate_windows", message)]


def pretraining_findings(predictions: Predictions, frame: pd.DataFrame) -> list[Finding]:
    """Return whether test subjects were seen, without labels, in pretraining."""
    seen = predictions.meta.get("pretrain_subjects")
    if seen is None:
        return [Finding("info", "pretraining_unknown", "The file does not say which subjects were pretrained on.")]
    subjects = set(frame["subject_id"])
    both = subjects & set(seen)
    if not both:
        return []
    message = (
        f"{len(both)} of {len(subjects)} test subjects were in the pretraining data (signal only, no labels): "
        "the encoder had met them, and results for new patients may be lower."
    )
    return [Finding("warning", "pretraining_overlap", message)]


def data_findings(predictions: Predictions, frame: pd.DataFrame) -> list[Finding]:
    """Return what the data cannot tell: one-class sites, single or unknown subjects, one who dominates."""
    found = []
    for site, rows in frame.groupby("site_id"):
        if rows["label"].nunique() == 1:
            message = (
                f"Site {site} holds only {rows['label'].iloc[0]}: balanced accuracy and AUROC are undefined there."
            )
            found.append(Finding("warning", "one_class_site", message))
        n_subjects = rows["subject_id"].nunique()
        if n_subjects == 1:
            found.append(Finding("warning", "one_subject_site", f"Site {site} has one subject: it gets no interval."))
        elif n_subjects < 5:
            message = f"Site {site} has {n_subjects} subjects: its interval is rough and rather too narrow."
            found.append(Finding("info", "few_subjects", message))
    nameless = unknown_subjects(predictions, frame)
    if nameless.any():
        message = f"{int(nameless.sum())} windows come from subjects that are not known: a patient may occur twice."
        found.append(Finding("warning", "unknown_subjects", message))
    share = frame["subject_id"].value_counts(normalize=True)
    if len(share) > 1 and share.iloc[0] > DOMINANT_SHARE:
        message = (
            f"Subject {share.index[0]} holds {share.iloc[0]:.0%} of all windows: figures are mostly this one person's."
        )
        found.append(Finding("warning", "dominant_subject", message))
    return found


def unknown_subjects(predictions: Predictions, frame: pd.DataFrame) -> np.ndarray:
    """Return which rows have a subject that stands for "not known", bool, shape (n_windows,)."""
    sites = set(predictions.meta.get("unknown_subject_sites") or ())
    named = frame["subject_id"].astype(str).str.lower().str.startswith("unknown")
    return (named | frame["site_id"].isin(sites)).to_numpy()


def model_findings(frame: pd.DataFrame, tallies: Tallies, *, n_boot: int, seed: int) -> list[Finding]:
    """Return signs that the scores are not what they seem: constant, chance, a site's trick, a single patient."""
    prob = probabilities(frame, tallies.classes)
    model = str(frame["model"].iloc[0])
    if len(frame) > 1 and all(
        np.ptp(prob[rows], axis=0).max() < 1e-9 for rows in frame.groupby("fold").indices.values()
    ):
        severity = "info" if model in BASELINES else "error"
        return [Finding(severity, "constant_model", f"{model} gives every window of a fold the same probabilities.")]
    area = evaluate(tallies, np.ones((1, tallies.n_subjects)))["auroc_macro"][0]
    drawn = draws(tallies, n_boot=n_boot, seed=seed)
    if not drawn or not np.isfinite(area):
        return []
    found = []
    low, high, _ = percentile_interval(drawn["auroc_macro"])
    if low <= 0.5:
        message = (
            f"{model} is not shown to be better than guessing: macro AUROC {area:.2f}, interval {low:.2f} to "
            f"{high:.2f} (as after training on shuffled labels)."
        )
        found.append(Finding("warning", "no_better_than_chance", message))
    return found + _site_shortcut(frame, tallies, float(area)) + _carried_by_one(tallies)


def _site_shortcut(frame: pd.DataFrame, tallies: Tallies, area: float) -> list[Finding]:
    """Flag a model that tells sites apart rather than classes: it ranks well over all sites but not within them."""
    within, sizes = [], []
    for _, rows in frame.groupby("site_id"):
        local = tally(rows, tallies.classes)
        value = evaluate(local, np.ones((1, local.n_subjects)))["auroc_macro"][0]
        if np.isfinite(value):
            within.append(value)
            sizes.append(len(rows))
    if frame["site_id"].nunique() < 2 or not within:
        return []
    mean = float(np.average(within, weights=sizes))
    if area - mean <= SHORTCUT:
        return []
    message = (
        f"Macro AUROC is {area:.2f} over all sites but {mean:.2f} within sites: the model may read the site "
        "(its mains hum, its amplifier) rather than the brain."
    )
    return [Finding("warning", "site_shortcut", message)]


def _carried_by_one(tallies: Tallies) -> list[Finding]:
    without = np.ones((tallies.n_subjects, tallies.n_subjects)) - np.eye(tallies.n_subjects)
    whole = evaluate(tallies, np.ones((1, tallies.n_subjects)))["balanced_accuracy"][0]
    lost = whole - evaluate(tallies, without)["balanced_accuracy"]
    if not np.isfinite(lost).any() or np.nanmax(lost) <= CARRIED:
        return []
    worst = int(np.nanargmax(lost))
    message = (
        f"Without subject {tallies.subjects[worst]} balanced accuracy falls from {whole:.2f} to "
        f"{whole - lost[worst]:.2f}: a single patient carries the result."
    )
    return [Finding("warning", "single_patient", message)]
