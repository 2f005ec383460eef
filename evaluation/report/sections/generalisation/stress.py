"""Robustness: how a disturbed input lowers the score."""

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.report.context import Context
from evaluation.report.drawing.blocks import Block, Pair, Text
from evaluation.report.drawing.figures import Figure
from evaluation.report.drawing.plots import band_plot
from evaluation.report.drawing.tables import Cell, Row, Table, estimate, value, words
from evaluation.report.drawing.wording import Facts
from evaluation.report.sections.section import Section
from evaluation.scenarios.stress import stress_curves

_COLUMNS = (
    "Disturbance",
    "Model",
    "Balanced accuracy kept ↑",
    "Kept, windows answered throughout ↑",
    "AUROC kept ↑",
    "Lowest balanced accuracy ↑",
    "Most refused",
)


def facts(context: Context) -> Mapping[str, Any]:
    """Return a curve per model and disturbance."""
    stress = context.sources.stress
    return {"stress": [] if stress is None else stress_curves(stress, n_boot=context.n_boot, seed=context.seed)}


def render(facts: Facts) -> Sequence[Block]:
    """Return a figure per disturbance with all models in it, and what each model keeps."""
    curves = facts["stress"]
    if not curves:
        return []
    names = list(dict.fromkeys(curve["stress"] for curve in curves))
    figures = [_figure([c for c in curves if c["stress"] == name], name, facts) for name in names]
    rows = tuple(
        Row(
            cells=(
                words(c["stress"]),
                words(c["model"]),
                estimate(c["retained"]["balanced_accuracy"], 2),
                estimate(c["retained_common"]["balanced_accuracy"], 2),
                estimate(c["retained"]["auroc_macro"], 2),
                _lowest(c),
                _refused(c),
            )
        )
        for c in curves
    )
    return [
        Text(
            "Windows were disturbed on purpose and prepared as the server prepares them. What is kept is the area under "
            f"the share of the score above chance: 1 is no loss, 0 is guessing.{_refusals(curves)}"
        ),
        Table(name="robustness", columns=_COLUMNS, rows=rows),
        Pair(tuple(figures)),
    ]


def _refusals(curves: Sequence[Mapping[str, Any]]) -> str:
    """Return how many windows preparation refused, and which levels it refused altogether."""
    n_refused = sum(level["n_refused"] for curve in curves for level in curve["levels"])
    if not n_refused:
        return " Preparation refused none of the disturbed windows."
    lost = {f"{c['stress']}, {v['name']}" for c in curves for v in c["levels"] if not v["n_windows"]}
    whole = f" Refused altogether: **{'; '.join(sorted(lost))}**." if lost else ""
    return f" Preparation refused {n_refused:,} disturbed windows; each counts as a guess.{whole}"


def _refused(curve: Mapping[str, Any]) -> Cell:
    worst = max(curve["levels"], key=lambda level: level["n_refused"])
    if not worst["n_refused"]:
        return words("none")
    total = worst["n_windows"] + worst["n_refused"]
    return words(f"{worst['n_refused']:,} of {total:,}", f"at {worst['name']}")


def _figure(curves: Sequence[Mapping[str, Any]], name: str, facts: Facts) -> Figure:
    lines = {}
    for curve in curves:
        known = [(level["level"], level["metrics"]["balanced_accuracy"]) for level in curve["levels"]]
        lines[curve["model"]] = [(x, e["value"], e["low"], e["high"]) for x, e in known if e["value"] is not None]
    names = {level["level"]: level["name"] for curve in curves for level in curve["levels"]}
    unit = curves[0]["unit"]
    return band_plot(
        {model: line for model, line in lines.items() if line},
        name=f"robustness-{name.replace(' ', '-')}",
        title=f"{name}: balanced accuracy",
        x_label=unit or "kind",
        names=None if unit else names,
        reference=(1 / len(facts["task"]["classes"]), "chance"),
    )


def _lowest(curve: Mapping[str, Any]) -> Cell:
    known = [level for level in curve["levels"] if level["metrics"]["balanced_accuracy"]["value"] is not None]
    if not known:
        return words("undefined")
    worst = min(known, key=lambda level: level["metrics"]["balanced_accuracy"]["value"])
    return value(worst["metrics"]["balanced_accuracy"]["value"], 2, below=f"at {worst['name']}")


SECTION = Section(name="robustness", title="Robustness to degraded input", facts=facts, render=render)
