"""How far a single answer can be relied on: alarms, silence, sets of classes, probabilities."""

from collections.abc import Mapping
from html import escape
from typing import Any

from evaluation.report.figures import reliability_plot
from evaluation.report.plots import band_plot
from evaluation.report.text import Facts, cell, interval, plain_cell, share, size
from signals.pages.page import table
from signals.pages.svg import number


def alarms_section(facts: Facts) -> str:
    """Return the sensitivity that is left when only so many false alarms are borne."""
    rows = facts["alarms"]
    if not rows:
        return ""
    rates = sorted({row["allowed_per_h"] for row in rows})
    body = [
        f"<tr><td>{escape(name)}<small>{number(known[rates[0]]['hours'], 1)} h of other classes</small></td>"
        + "".join(cell(known[rate]["sensitivity"], 2) for rate in rates) + "</tr>"
        for name in facts["task"]["classes"]
        for known in [{row["allowed_per_h"]: row for row in rows if row["name"] == name}]
    ]  # fmt: skip
    return (
        f"<h2>Found at a bearable number of false alarms</h2>{table(['Class', *(f'{rate:g} an hour' for rate in rates)], body)}"
        '<p class="note">Share of the class’s windows above the lowest threshold that keeps false alarms within the rate. Windows are counted one by one. '
        "The threshold was chosen on these very windows, so the numbers flatter; intervals hold it fixed.</p>"
    )


def selective_section(facts: Facts) -> str:
    """Return the risk-coverage curve."""
    s = facts["selective"]
    plot = band_plot(
        {facts["main_model"]: s["curve"]}, title="Mistakes among the surest windows", x_label="share of windows that are answered",
        reference=(s["aurc_random"], "all answered"),
    )  # fmt: skip
    risks = "".join(f"<tr><td>surest {float(c):.0%}</td>{cell(e)}</tr>" for c, e in s["risks"].items())
    kept = "; ".join(f"at most {float(r):.0%} mistakes: {share(c, 0)} answered" for r, c in s["coverages"].items())
    return (
        "<h2>If the model may keep silent</h2><div class=pair>"
        f"{plot}<div>{table(['Answered', 'Mistakes ↓'], [risks])}<p>Area under the curve (AURC) {escape(interval(s['aurc'], 3))}; the best order of these "
        f"mistakes would reach {number(s['aurc_best'], 3)}, a random one {number(s['aurc_random'], 3)}.</p><p class=note>{escape(kept)}.</p></div></div>"
    )


def conformal_section(facts: Facts) -> str:
    """Return what sets of classes promise and hold, by site, patient and class."""
    conformal = facts["conformal"]
    promised = 1 - conformal["alpha"]
    rows = [
        f"<tr><td>{escape(r['name'])}{size(r)}</td><td>{escape(r['method'])}<small>{escape(r['calibration'])}</small></td>{_coverage(r)}"
        f"<td>{share(r['worst_subject'])}</td><td>{share(r['short_subjects'], 0)}</td><td>{_least(r)}</td><td>{number(r['set_size'])}</td></tr>"
        for r in conformal["folds"]
    ]
    head = ["Fold", "Sets", "Held the label", "Worst patient", "Patients short", "Worst class", "Mean set size"]
    return (
        f"<h2>Sets that promise to hold the label {promised:.0%} of the time</h2>{table(head, rows)}"
        '<p class="note">Conformal prediction; calibration and test share no patient. “Other folds”: as a new hospital would get it. “Own patients”: calibrated '
        "on the other patients of the same fold; what only this repairs is the gap between sites. One threshold for all classes (split) may fail a rare class; "
        "class-conditional sets cover each, and grow. The promise is for exchangeable windows; windows of one patient are not, so single patients fall short.</p>"
    )


def _coverage(row: Mapping[str, Any]) -> str:
    known = row["coverage"]
    if known["value"] is None:
        return plain_cell("–", known["reason"])
    below = f"{share(known['low'])} to {share(known['high'])}" if known["low"] is not None else known["reason"]
    return f"<td>{share(known['value'])}<small>{escape(below)}</small></td>"


def _least(row: Mapping[str, Any]) -> str:
    known = {name: value for name, value in row["by_class"].items() if value is not None}
    if not known:
        return "–"
    name = min(known, key=lambda c: known[c])
    return f"{share(known[name])}<small>{escape(name)}</small>"


def calibration_section(facts: Facts) -> str:
    """Return the reliability curve."""
    known = facts["models"][facts["main_model"]]["metrics"]
    return (
        f"<h2>Calibration</h2>{reliability_plot(facts['reliability'])}<p class=note>Expected calibration error {escape(interval(known['ece'], 3))}, 15 bins; "
        f"Brier score {escape(interval(known['brier'], 3))}. Bars are Wilson intervals over windows, too narrow where one patient gave many.</p>"
    )
