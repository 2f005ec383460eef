"""Leaks between the sides of a split, which `evaluation.schemas.origin` lists fold by fold."""

import pandas as pd

from evaluation.audit.findings import Finding, some
from evaluation.schemas.origin import FoldSides
from evaluation.schemas.predictions import Predictions


def fold_findings(predictions: Predictions, frame: pd.DataFrame) -> list[Finding]:
    """Return leaks between the sides of the folds, for the rows of one model."""
    origin = predictions.origin
    if not origin.folds:
        return [Finding("warning", "no_folds", "The file does not list who was trained on: leaks cannot be excluded.")]
    findings = []
    for fold in origin.folds:
        rows = frame[frame["fold"] == fold.name]
        findings += _sides(fold) + _outsiders(fold, rows)
        if origin.grouping == "site":
            findings += _shared_sites(fold, rows, frame)
    unlisted = set(frame["fold"]) - {fold.name for fold in origin.folds}
    if unlisted:
        message = f"Rows name folds that the file does not list: {some(unlisted)}."
        findings.append(Finding("error", "unknown_fold", message))
    if origin.grouping == "site":
        findings += _several_sites(frame)
    return findings + _persons(frame)


def _sides(fold: FoldSides) -> list[Finding]:
    both = {
        "subject": fold.train_subjects & fold.test_subjects,
        "recording": fold.train_recordings & fold.test_recordings,
    }
    return [
        Finding(
            "error",
            f"{noun}_on_two_sides",
            f"Fold {fold.name}: {len(names)} {noun}(s) stand on both sides: {some(names)}.",
        )
        for noun, names in both.items()
        if names
    ]


def _outsiders(fold: FoldSides, rows: pd.DataFrame) -> list[Finding]:
    findings = []
    if outside := set(rows["subject_id"]) - fold.test_subjects:
        message = f"Fold {fold.name} predicts subjects that are not among its test subjects: {some(outside)}."
        findings.append(Finding("error", "row_outside_fold", message))
    if trained := set(rows["recording_id"]) & fold.train_recordings:
        message = f"Fold {fold.name} predicts recordings that it was trained on: {some(trained)}."
        findings.append(Finding("error", "trained_recording_predicted", message))
    return findings


def _shared_sites(fold: FoldSides, rows: pd.DataFrame, frame: pd.DataFrame) -> list[Finding]:
    trained = frame[frame["subject_id"].isin(fold.train_subjects)]
    both = set(trained["site_id"]) & set(rows["site_id"])
    if not both:
        return []
    message = f"Fold {fold.name} is meant to leave its site out, but was trained on subjects of {some(both)}."
    return [Finding("error", "site_on_two_sides", message)]


def _several_sites(frame: pd.DataFrame) -> list[Finding]:
    sites = frame.groupby("subject_id")["site_id"].nunique()
    if not (sites > 1).any():
        return []
    message = f"{int((sites > 1).sum())} subject(s) were seen at several sites: {some(sites[sites > 1].index)}."
    return [Finding("error", "subject_at_two_sites", f"{message} No site can be left out cleanly.")]


def _persons(frame: pd.DataFrame) -> list[Finding]:
    """Return people who stand in several folds under different subject ids: a subject id holds its site."""
    if "person_id" not in frame.columns:
        return []
    known = frame[frame["person_id"].fillna("") != ""]
    folds = known.groupby("person_id")["fold"].nunique()
    if not (folds > 1).any():
        return []
    people = folds[folds > 1].index
    message = f"{len(people)} person(s) were recorded under several subject ids, in several folds: {some(people)}."
    return [Finding("error", "person_on_two_sides", message)]
