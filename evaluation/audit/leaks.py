"""Leaks: what stands on both sides of a split, and what the encoder had seen before.

Sides are listed in `meta["folds"]`, a list of {"name", "train_subjects", "test_subjects", "train_recordings",
"test_recordings"}, and by `meta["pretrain_subjects"]`.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from evaluation.audit.findings import Finding, some
from evaluation.schemas.predictions import Predictions


def fold_findings(predictions: Predictions, frame: pd.DataFrame) -> list[Finding]:
    """Return leaks between the sides of the folds."""
    folds = predictions.meta.get("folds") or []
    if not folds:
        return [Finding("warning", "no_folds", "The file does not list who was trained on: leaks cannot be excluded.")]
    findings = []
    for fold in folds:
        rows = frame[frame["fold"] == fold["name"]]
        findings += _sides(fold) + _outsiders(fold, rows)
        if predictions.meta.get("grouping") == "site":
            findings += _shared_sites(fold, rows, frame)
    strangers = set(frame["fold"]) - {fold["name"] for fold in folds}
    if strangers:
        findings.append(
            Finding("error", "unknown_fold", f"Rows name folds that the file does not list: {some(strangers)}.")
        )
    if predictions.meta.get("grouping") == "site":
        findings += _wanderers(frame)
    return findings


def _sides(fold: Mapping[str, Any]) -> list[Finding]:
    findings = []
    for noun in ("subject", "recording"):
        both = set(fold.get(f"train_{noun}s", ())) & set(fold.get(f"test_{noun}s", ()))
        if both:
            message = f"Fold {fold['name']}: {len(both)} {noun}(s) stand on both sides: {some(both)}."
            findings.append(Finding("error", f"{noun}_on_two_sides", message))
    return findings


def _outsiders(fold: Mapping[str, Any], rows: pd.DataFrame) -> list[Finding]:
    outside = set(rows["subject_id"]) - set(fold.get("test_subjects", ()))
    trained = set(rows["recording_id"]) & set(fold.get("train_recordings", ()))
    findings = []
    if outside:
        message = f"Fold {fold['name']} predicts subjects that are not among its test subjects: {some(outside)}."
        findings.append(Finding("error", "row_outside_fold", message))
    if trained:
        message = f"Fold {fold['name']} predicts recordings that it was trained on: {some(trained)}."
        findings.append(Finding("error", "trained_recording_predicted", message))
    return findings


def _shared_sites(fold: Mapping[str, Any], rows: pd.DataFrame, frame: pd.DataFrame) -> list[Finding]:
    trained = frame[frame["subject_id"].isin(set(fold.get("train_subjects", ())))]
    both = set(trained["site_id"]) & set(rows["site_id"])
    if not both:
        return []
    message = f"Fold {fold['name']} is meant to leave its site out, but was trained on subjects of {some(both)}."
    return [Finding("error", "site_on_two_sides", message)]


def _wanderers(frame: pd.DataFrame) -> list[Finding]:
    sites = frame.groupby("subject_id")["site_id"].nunique()
    if not (sites > 1).any():
        return []
    message = f"{int((sites > 1).sum())} subject(s) were seen at several sites: {some(sites[sites > 1].index)}."
    return [Finding("error", "subject_at_two_sites", f"{message} No site can be left out cleanly.")]


def pretraining_findings(predictions: Predictions, frame: pd.DataFrame) -> list[Finding]:
    """Return whether test subjects were seen, without labels, in pretraining."""
    seen = predictions.meta.get("pretrain_subjects")
    if seen is None:
        return [Finding("info", "pretraining_unknown", "The file does not list the subjects of pretraining.")]
    subjects = set(frame["subject_id"])
    both = subjects & set(seen)
    if not both:
        return []
    message = (
        f"{len(both)} of {len(subjects)} test subjects were in the pretraining data (signal only, no labels): "
        "the encoder has seen them, and results for new patients may be lower."
    )
    return [Finding("warning", "pretraining_overlap", message)]
