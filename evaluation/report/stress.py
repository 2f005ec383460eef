"""How a disturbed input lowers the score, and the transfer table."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from evaluation.report.plots import band_plot
from evaluation.report.text import NAMES, Facts, cell, head, p_text
from signals.pages.page import table
from signals.pages.svg import number

_TABLED = ("balanced_accuracy", "auroc_macro", "kappa", "kl")


def stress_section(facts: Facts) -> str:
    """Return a curve a stress, all models in it, and what each keeps."""
    curves = facts["stress"]
    if not curves:
        return ""
    stresses = list(dict.fromkeys(curve["stress"] for curve in curves))
    plots = "".join(_stress_plot([c for c in curves if c["stress"] == s], s, facts) for s in stresses)
    refused = sum(level["n_refused"] for curve in curves for level in curve["levels"])
    told = f" {refused:,} disturbed windows were refused by the preparation and are left out." if refused else ""
    rows = [
        f"<tr><td>{escape(c['stress'])}</td><td>{escape(c['model'])}</td>{cell(c['retained']['balanced_accuracy'], 2)}"
        f"{cell(c['retained']['auroc_macro'], 2)}<td>{escape(_worst(c))}</td></tr>"
        for c in curves
    ]
    return (
        "<h2>When the input gets worse</h2><p>Windows were disturbed on purpose and prepared as the server prepares them. What is kept is the area under "
        f"the share of the score above chance: 1 is no loss, 0 is guessing.{told}</p>"
        f"{table(['Stress', 'Model', 'Kept, balanced accuracy', 'Kept, AUROC', 'Lowest balanced accuracy'], rows)}<div class=pair>{plots}</div>"
    )


def _stress_plot(curves: Sequence[Mapping[str, Any]], stress: str, facts: Facts) -> str:
    chance = 1 / len(facts["task"]["classes"])
    lines = {}
    for curve in curves:
        known = [(level["level"], level["metrics"]["balanced_accuracy"]) for level in curve["levels"]]
        lines[curve["model"]] = [(x, e["value"], e["low"], e["high"]) for x, e in known if e["value"] is not None]
    names = {level["level"]: level["name"] for curve in curves for level in curve["levels"]}
    unit = curves[0]["unit"]
    kinds = None if unit else names
    return band_plot(
        {name: line for name, line in lines.items() if line}, title=f"{stress}: balanced accuracy",
        x_label=unit or "kind", names=kinds, reference=(chance, "chance"),
    )  # fmt: skip


def _worst(curve: Mapping[str, Any]) -> str:
    known = [level for level in curve["levels"] if level["metrics"]["balanced_accuracy"]["value"] is not None]
    if not known:
        return "undefined"
    worst = min(known, key=lambda level: level["metrics"]["balanced_accuracy"]["value"])
    return f"{number(worst['metrics']['balanced_accuracy']['value'])} at {worst['name']}"


def transfer_section(facts: Facts) -> str:
    """Return ways of using the encoder and baselines side by side, seeds apart from patients."""
    transfer = facts["transfer"]
    if transfer is None:
        return ""
    rows = []
    for row in transfer["rows"]:
        seeds = f"{row['n_seeds']} seed{'s' if row['n_seeds'] != 1 else ''}"
        spread = row["seed_sd"]["balanced_accuracy"]
        mark = " class=main" if row["model"] == transfer["reference"] else ""
        rows.append(
            f"<tr{mark}><td>{escape(row['model'])}<small>{seeds}</small></td>"
            + "".join(cell(row["metrics"][m]) for m in _TABLED)
            + f"<td>{number(spread, 3)}</td></tr>"
        )
    gaps = [
        f"<tr><td>{escape(d['model'])}</td><td>{NAMES[d['metric']]}</td>{cell(d)}<td>{p_text(d['p_value']).removeprefix('= ')}</td>"
        f"<td>{p_text(d['p_holm']).removeprefix('= ')}</td></tr>"
        for d in transfer["differences"]
    ]
    reference = escape(transfer["reference"])
    return (
        "<h2>What pretraining is worth</h2><p>The same windows and folds for every way of using the encoder and for each tuned baseline. Brackets: patients "
        "resampled, means over seeds; the last column is the spread between seeds alone.</p>"
        f"{table(['Way', *head(_TABLED), 'SD over seeds'], rows)}<h3>Difference to {reference}</h3>"
        f"{table(['Way', 'Metric', 'Difference', 'p', 'p (Holm)'], gaps)}"
        '<p class="note">Paired on the same resamples of patients; p two-sided, corrected over this table (Holm).</p>'
    )
