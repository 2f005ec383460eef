"""Words and tables of the report: estimates with their intervals, rows, p-values."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from signals.pages.svg import number

Facts = Mapping[str, Any]
NAMES = {
    "kl": "KL divergence", "balanced_accuracy": "Balanced accuracy", "kappa": "Cohen’s κ", "weighted_f1": "Weighted F1",
    "auroc_macro": "AUROC (macro)", "auprc_macro": "AUPRC (macro)", "accuracy": "Accuracy", "ece": "ECE",
    "brier": "Brier", "log_loss": "Log loss", "grave_rate": "Grave confusions", "grave_cost": "Weighed cost",
}  # fmt: skip
ARROWS = {"kl": "↓", "ece": "↓", "brier": "↓", "log_loss": "↓", "grave_rate": "↓", "grave_cost": "↓"}
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


def cell(estimate: Mapping[str, Any], digits: int = 3) -> str:
    """Return a table cell: value, and below it the interval or the reason for none."""
    value = "–" if estimate["value"] is None else number(estimate["value"], digits)
    if estimate["low"] is not None:
        below = f"{number(estimate['low'], digits)} to {number(estimate['high'], digits)}"
        below += f"; {estimate['reason']}" if estimate["reason"] else ""
    else:
        below = estimate["reason"]
    return f"<td>{value}<small{'' if estimate['low'] is not None and not estimate['reason'] else ' class=why'}>{escape(below)}</small></td>"


def is_votes(facts: Facts) -> bool:
    """Return whether the task's targets are expert votes rather than single labels."""
    return bool(facts["task"]["vote_columns"])


def p_text(p: float | None) -> str:
    """Return "= 0.03", "< 0.001" or "undefined"."""
    return "undefined" if p is None else "&lt; 0.001" if p < 0.001 else f"= {p:.3f}"


def head(metrics: Sequence[str]) -> list[str]:
    """Return the columns' names with an arrow for the better side."""
    return [f"{NAMES[m]} {ARROWS.get(m, '↑')}" for m in metrics]


def size(row: Mapping[str, Any]) -> str:
    """Return how many windows and subjects stand behind a row."""
    return f"<small>{row['n_windows']:,} windows, {row['n_subjects']:,} subject{'s' if row['n_subjects'] != 1 else ''}</small>"


def share(value: float | None, digits: int = 1) -> str:
    """Return a share as a percentage; "–" where it is undefined."""
    return "–" if value is None else f"{value:.{digits}%}"


def plain_cell(words: str, why: str = "") -> str:
    """Return a table cell of words, and below them why something is missing."""
    return f"<td>{words}{f'<small class=why>{escape(why)}</small>' if why else ''}</td>"
