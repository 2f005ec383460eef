"""Audit of the files beside the predictions: external data, transfer table, stress run, embeddings, calibration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from evaluation.audit.exposure import exposure_findings, overlap
from evaluation.audit.findings import Finding
from evaluation.audit.leaks import fold_findings
from evaluation.measures.metrics import kl_rows
from evaluation.schemas.embeddings import Embeddings
from evaluation.schemas.predictions import Predictions, probabilities, targets

_SAME = 1e-3
"""Difference of probabilities, or of a KL in nats, up to which two runs of one model agree."""


@dataclass(frozen=True, kw_only=True)
class Companions:
    """Files beside the predictions of a report."""

    external: Predictions | None = None
    transfer: Predictions | None = None
    stress: Predictions | None = None
    embeddings: Sequence[Embeddings] = ()
    calibration: Mapping[str, Any] | None = None
    """Content of calibration.json."""


def companion_findings(companions: Companions, predictions: Predictions, *, model: str) -> list[Finding]:
    """Return what is wrong with each of the files, by itself and beside the predictions of one model."""
    first, findings = predictions.of(model), list[Finding]()
    if companions.external is not None:
        findings += _named("external", external_findings(companions.external, predictions, first))
    if companions.transfer is not None:
        findings += _named("transfer", _transfer_findings(companions.transfer, first))
    if companions.stress is not None:
        findings += _named("stress", _stress_findings(companions.stress, first, model))
    for embeddings in companions.embeddings:
        findings += _named(f"embeddings {embeddings.model}", _embeddings_findings(embeddings, first))
    if companions.calibration is not None:
        findings += _named("calibration", calibration_findings(companions.calibration, predictions))
    return findings


def _named(file: str, findings: Sequence[Finding]) -> list[Finding]:
    return [replace(finding, file=file) for finding in findings]


def external_findings(external: Predictions, predictions: Predictions, first: pd.DataFrame) -> list[Finding]:
    """Return what external data share with training, choice and pretraining."""
    rows = external.of(external.models[0])
    shared = overlap(rows, external.origin, first, predictions.origin)
    if shared.n_shared_windows:
        message = (
            f"{shared.n_shared_windows:,} of {shared.n_windows:,} external windows are of subjects "
            f"({shared.n_subjects}), recordings ({shared.n_recordings}) or windows ({shared.n_same_windows}) that "
            "training, model choice or pretraining used: this is no external validation."
        )
        return [Finding("error", "external_overlap", message)]
    if shared.complete:
        return []
    message = "The external file does not list who its model was trained on: an overlap cannot be excluded."
    return [Finding("warning", "external_unverified", message)]


def _transfer_findings(transfer: Predictions, first: pd.DataFrame) -> list[Finding]:
    rows = transfer.of(transfer.models[0])
    return [
        *fold_findings(transfer, rows),
        *exposure_findings(rows, transfer.origin),
        *_identity(rows, first, "transfer file"),
    ]


def _stress_findings(stress: Predictions, first: pd.DataFrame, model: str) -> list[Finding]:
    whole = stress.frame[stress.frame["level"] == 0].drop_duplicates(["model", "window_key"])
    findings = _identity(whole.drop_duplicates("window_key"), first, "stress file")
    both = whole[whole["model"] == model].merge(first, on="window_key", suffixes=("", "_first"))
    if both.empty:
        return findings
    columns = [f"prob_{name}" for name in stress.classes]
    gap = np.abs(both[columns].to_numpy() - both[[f"{name}_first" for name in columns]].to_numpy()).max(axis=1)
    if (gap > _SAME).any():
        message = (
            f"{int((gap > _SAME).sum())} of {len(both)} undisturbed windows have different probabilities in the "
            f"predictions (by up to {gap.max():.3f}): the stress run is of another model."
        )
        findings.append(Finding("error", "stress_of_another_model", message))
    return findings


def _embeddings_findings(embeddings: Embeddings, first: pd.DataFrame) -> list[Finding]:
    rows = embeddings.frame[embeddings.frame["label"] != ""]
    return _identity(rows, first, "embeddings file")


def _identity(rows: pd.DataFrame, first: pd.DataFrame, name: str) -> list[Finding]:
    """Return whether the same window has another subject, site or label in two files."""
    columns = ["subject_id", "site_id", "label"]
    both = rows[["window_key", *columns]].merge(first[["window_key", *columns]], on="window_key", suffixes=("", "_f"))
    differs = [c for c in columns if (both[c].astype(str) != both[f"{c}_f"].astype(str)).any()]
    if not differs:
        return []
    message = f"Windows of the {name} have another {' and '.join(differs)} in the predictions: the files do not match."
    return [Finding("error", "files_contradict", message)]


def calibration_findings(calibration: Mapping[str, Any], predictions: Predictions) -> list[Finding]:
    """Return whether calibration.json was fitted on these predictions, by digest, counts and scores."""
    fitted, origin, reasons = calibration.get("fitted_on") or {}, predictions.origin, []
    digest = calibration.get("split_digest") or ""
    if digest and digest not in (origin.split_digest, origin.manifest_digest):
        reasons.append("its split is another one")
    model = str(fitted.get("model") or "")
    if model not in predictions.models:
        reasons.append(f"it is of model {model!r}, which the predictions do not hold")
    else:
        rows = predictions.of(model)
        if fitted.get("n_windows") not in (None, len(rows)):
            reasons.append(f"it was fitted on {fitted['n_windows']:,} windows, the predictions hold {len(rows):,}")
        kl = float(kl_rows(targets(rows, predictions.classes), probabilities(rows, predictions.classes)).mean())
        stated = (calibration.get("before") or {}).get("kl")
        if stated is not None and abs(stated - kl) > _SAME:
            reasons.append(f"the KL before calibration was {stated:.3f}, that of the predictions is {kl:.3f}")
    if list(calibration.get("classes") or predictions.classes) != list(predictions.classes):
        reasons.append("its classes are different")
    if not reasons:
        return []
    return [
        Finding("error", "stale_calibration", f"The calibration is not of these predictions: {'; '.join(reasons)}.")
    ]
