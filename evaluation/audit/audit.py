"""Suspicion first: what would make the figures of a predictions file worthless, each as a finding by name."""

import numpy as np
import pandas as pd

from evaluation.audit.confounds import confound_findings
from evaluation.audit.duplicates import duplicate_findings
from evaluation.audit.exposure import exposure_findings
from evaluation.audit.findings import SEVERITIES, Finding, some
from evaluation.audit.leaks import fold_findings
from evaluation.measures.bootstrap import draws
from evaluation.measures.intervals import SHARE, t_interval
from evaluation.measures.tallies import Tallies, evaluate, tally
from evaluation.schemas.predictions import Predictions, probabilities
from signals.bundles.calibration import UNCERTAINTY_COLUMNS, entropy

TOTAL = UNCERTAINTY_COLUMNS[0]
BASELINES = ("prior", "chance")
CONTROL = "shuffled"
DOMINANT_SHARE = 0.5
FEW_SUBJECTS = 5
"""Subjects of a site below which its interval is remarked on."""
CARRIED = 0.05
"""Balanced accuracy that a single subject may move."""
ENTROPY_GAP = 0.01
"""Nats by which a stated uncertainty may differ from the entropy of the answer."""
CHANCE_LEVEL = 0.99
"""Level of the interval that must lie above 0.5: of models of shuffled labels 1 in 200 passes, at 0.95 1 in 40."""
SHORTCUT = 0.1
"""AUROC that may be lost between all sites together and within sites."""


def audit(predictions: Predictions, *, model: str, n_boot: int = 1000, seed: int = 0) -> list[Finding]:
    """Return every finding in the file for one model, errors first."""
    frame = predictions.of(model)
    tallies = tally(frame, predictions.classes)
    findings = [
        *fold_findings(predictions, frame),
        *duplicate_findings(frame),
        *exposure_findings(frame, predictions.origin),
        *data_findings(predictions, frame),
        *confound_findings(frame, seed=seed),
        *uncertainty_findings(frame, predictions.classes),
        *model_findings(frame, tallies, n_boot=n_boot, seed=seed),
        *control_findings(predictions, n_boot=n_boot, seed=seed),
    ]
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def data_findings(predictions: Predictions, frame: pd.DataFrame) -> list[Finding]:
    """Return what weakens the data: one-class sites, single or unknown subjects, one who dominates."""
    findings = []
    for site, rows in frame.groupby("site_id"):
        if rows["label"].nunique() == 1:
            message = (
                f"Site {site} holds only {rows['label'].iloc[0]}: balanced accuracy and AUROC are undefined there."
            )
            findings.append(Finding("warning", "one_class_site", message))
        n_subjects = rows["subject_id"].nunique()
        if n_subjects == 1:
            findings.append(
                Finding("warning", "one_subject_site", f"Site {site} has one subject: it gets no interval.")
            )
        elif n_subjects < FEW_SUBJECTS:
            message = f"Site {site} has {n_subjects} subjects: its interval is wide, and rests on a t distribution."
            findings.append(Finding("info", "few_subjects", message))
    nameless = unknown_subjects(predictions, frame)
    if nameless.any():
        message = f"{int(nameless.sum())} windows come from subjects that are not known: a patient may occur twice."
        findings.append(Finding("warning", "unknown_subjects", message))
    share = frame["subject_id"].value_counts(normalize=True)
    if len(share) > 1 and share.iloc[0] > DOMINANT_SHARE:
        message = (
            f"Subject {share.index[0]} holds {share.iloc[0]:.0%} of all windows: figures are mostly this one person's."
        )
        findings.append(Finding("warning", "dominant_subject", message))
    return findings


def uncertainty_findings(frame: pd.DataFrame, classes: tuple[str, ...]) -> list[Finding]:
    """Return whether the stated total uncertainty is the entropy of the answer that stands beside it."""
    if TOTAL not in frame.columns:
        return []
    prob, stated = probabilities(frame, classes), frame[TOTAL].to_numpy(dtype=np.float64)
    gap = np.abs(entropy(prob) - stated)
    wrong = np.isfinite(gap) & (gap > ENTROPY_GAP)
    if not wrong.any():
        return []
    i = int(np.nanargmax(gap))
    message = (
        f"The stated uncertainty of {int(wrong.sum()):,} of {len(frame):,} windows is not that of their probabilities "
        f"(at worst {stated[i]:.2f} nats stated, entropy {entropy(prob)[i]:.2f}): it is of another answer."
    )
    return [Finding("warning", "uncertainty_of_another_answer", message)]


def unknown_subjects(predictions: Predictions, frame: pd.DataFrame) -> np.ndarray:
    """Return which rows have a subject that stands for "not known", bool, shape (n_windows,)."""
    sites = set(predictions.meta.get("unknown_subject_sites") or ())
    named = frame["subject_id"].astype(str).str.lower().str.startswith("unknown")
    return (named | frame["site_id"].isin(sites)).to_numpy()


def model_findings(frame: pd.DataFrame, tallies: Tallies, *, n_boot: int, seed: int) -> list[Finding]:
    """Return signs that the scores are not what they seem: constant, chance, a site shortcut, a single patient."""
    model = str(frame["model"].iloc[0])
    collapsed = collapsed_folds(frame, tallies.classes)
    if len(frame) > 1 and len(collapsed) == frame["fold"].nunique():
        severity = "info" if model in BASELINES else "error"
        return [Finding(severity, "constant_model", f"{model} gives every window of a fold the same probabilities.")]
    area = evaluate(tallies, np.ones((1, tallies.n_subjects)))["auroc_macro"][0]
    drawn = draws(tallies, n_boot=n_boot, seed=seed)
    if not drawn or not np.isfinite(area):
        return []
    findings = []
    if collapsed:
        message = f"{model} gives every window of {some(collapsed)} the same probabilities: its training failed there."
        findings.append(Finding("error", "collapsed_fold", message))
    low, high, _ = t_interval(
        float(area), drawn["auroc_macro"], n_units=tallies.n_subjects, scale=SHARE, level=CHANCE_LEVEL
    )
    if low <= 0.5:
        message = (
            f"{model} is not shown to be better than guessing: macro AUROC {area:.2f}, {CHANCE_LEVEL:.0%} interval "
            f"{low:.2f} to {high:.2f} (as after training on shuffled labels)."
        )
        findings.append(Finding("warning", "no_better_than_chance", message))
    return findings + _site_shortcut(frame, tallies, float(area)) + _carried_by_one(tallies)


def collapsed_folds(frame: pd.DataFrame, classes: tuple[str, ...]) -> list[str]:
    """Return the folds whose probabilities hardly change: less than a hundredth of what they do in the median fold."""
    prob = probabilities(frame, classes)
    spread = {
        str(name): float(prob[rows].std(axis=0).max())
        for name, rows in frame.groupby("fold").indices.items()
        if len(rows) > 1
    }
    limit = max(1e-9, 0.01 * float(np.median(list(spread.values())))) if spread else 0.0
    return [name for name, value in spread.items() if value < limit]


def control_findings(predictions: Predictions, *, n_boot: int, seed: int) -> list[Finding]:
    """Return whether a control of shuffled labels, with "shuffled" in its name, does better than guessing."""
    findings = []
    for model in predictions.models:
        if CONTROL not in model:
            continue
        tallies = tally(predictions.of(model), predictions.classes)
        drawn = draws(tallies, n_boot=n_boot, seed=seed)
        area = float(evaluate(tallies, np.ones((1, tallies.n_subjects)))["auroc_macro"][0])
        low = area
        if drawn and area < 1:
            low = t_interval(area, drawn["auroc_macro"], n_units=tallies.n_subjects, scale=SHARE)[0]
        if drawn and low > 0.5:
            message = (
                f"{model}, trained on shuffled labels, does better than guessing (macro AUROC at least {low:.2f}): "
                "the true labels come in by another way."
            )
            findings.append(Finding("error", "shuffled_control_learns", message))
    return findings


def _site_shortcut(frame: pd.DataFrame, tallies: Tallies, area: float) -> list[Finding]:
    """Flag a model that recognises sites rather than classes: it ranks well over all sites but not within them."""
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
        "(mains interference, the amplifier) rather than the brain."
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
