"""Names of metrics, and numbers in words: an estimate with its interval, a p-value."""

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.measures.metrics import HIGHER_IS_BETTER
from signals.pages.svg import number

Facts = Mapping[str, Any]
NAMES = {
    "kl": "KL divergence", "balanced_accuracy": "Balanced accuracy", "kappa": "Cohen’s κ", "weighted_f1": "Weighted F1",
    "auroc_within": "AUROC (macro, within folds)", "auroc_macro": "AUROC (macro)",
    "auprc_macro": "AUPRC (macro)", "accuracy": "Accuracy", "ece": "ECE",
    "brier": "Brier score", "log_loss": "Log loss", "grave_rate": "Grave confusions", "grave_cost": "Weighted cost",
}  # fmt: skip
MODEL_NOTES = {"prior": "always the class shares of its training data", "chance": "equal probabilities"}


def interval(estimate: Mapping[str, Any], digits: int = 2) -> str:
    """Return "0.52 (0.47 to 0.58)", or the value and why there is no interval."""
    if estimate["value"] is None:
        return f"undefined ({estimate['reason']})"
    if estimate["low"] is None:
        return f"{number(estimate['value'], digits)} (no interval: {estimate['reason']})"
    return (
        f"{number(estimate['value'], digits)} ({number(estimate['low'], digits)} to {number(estimate['high'], digits)})"
    )


def headings(metrics: Sequence[str]) -> tuple[str, ...]:
    """Return the columns' names, each with an arrow towards the better side."""
    return tuple(f"{NAMES[m]} {'↑' if HIGHER_IS_BETTER[m] else '↓'}" for m in metrics)


def p_text(p: float | None, *, at_floor: bool = False) -> str:
    """Return "0.030", "undefined", or "≤ 0.0010" where the resamples can show nothing smaller."""
    if p is None:
        return "undefined"
    digits = 4 if p < 0.01 else 3
    return f"{'≤ ' if at_floor else ''}{p:.{digits}f}"


def size(row: Mapping[str, Any]) -> str:
    """Return how many windows and subjects a row has."""
    return f"{plural(row['n_windows'], 'window')}, {plural(row['n_subjects'], 'subject')}"


def percent(value: float | None, digits: int = 1) -> str:
    """Return a share as a percentage; "–" where it is undefined."""
    return "–" if value is None else f"{value:.{digits}%}"


def plural(n: int, noun: str) -> str:
    """Return a number and its noun: "1 site", "4 sites"."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def label_noun(facts: Facts) -> str:
    """Return what the targets are, by what the file states of them: "expert votes", "synthetic labels", "votes"."""
    noun = "votes" if facts["labels"]["votes"] else "labels"
    source = {"experts": "expert ", "synthetic": "synthetic "}.get(facts["labels"]["source"], "")
    return f"{source}{noun}"


def sites_apart(facts: Facts) -> bool:
    """Return whether the sites of a page were new to the model, so that they stand for one more hospital."""
    return facts["grouping"] in ("site", "apart")
