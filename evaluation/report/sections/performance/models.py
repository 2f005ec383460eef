"""Models compared: every metric of every model, and the main model's paired difference from each of the others."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evaluation.measures.bootstrap import differences, estimates, holm
from evaluation.measures.within import within_folds
from evaluation.report.context import Context
from evaluation.report.drawing.blocks import Block, Heading, Text
from evaluation.report.drawing.tables import Cell, Row, Table, estimate, words
from evaluation.report.drawing.wording import MODEL_NOTES, NAMES, Facts, headings, p_text
from evaluation.report.sections.section import Section

COMPARED = ("kl", "balanced_accuracy", "kappa", "auroc_macro")
"""Metrics that models are compared by; p-values are corrected over all of these comparisons together."""
_FIRST_TABLE = 5


def facts(context: Context) -> Mapping[str, Any]:
    """Return every model's metrics with intervals, and the paired differences."""
    return {
        "models": {
            name: {
                "metrics": estimates(tallies, context.drawn[name])
                | within_folds(context.scored.of(name), context.classes, n_boot=context.n_boot, seed=context.seed)
            }
            for name, tallies in context.tallied.items()
        },
        "differences": _differences(context),
    }


def _differences(context: Context) -> list[dict[str, Any]]:
    model, rows = context.model, list[dict[str, Any]]()
    ours = (context.tallied[model], context.drawn[model])
    for second in _compared(context):
        pair = {"first": model, "second": second}
        try:
            known = differences(ours, (context.tallied[second], context.drawn[second]))
        except ValueError as error:
            rows.append({**pair, "metric": None, "p_value": math.nan, "at_floor": False, "reason": str(error)})
            continue
        rows += [{**pair, "metric": m, **dataclasses.asdict(known[m])} for m in COMPARED if m in known]
    corrected = holm(np.array([row["p_value"] for row in rows], dtype=np.float64))
    return [{**row, "p_holm": float(p)} for row, p in zip(rows, corrected, strict=True)]


def _compared(context: Context) -> list[str]:
    """Return the models to compare with: "chance" only where the file has no prior, which is the same comparison."""
    rest = list(context.tallied)[1:]
    return [name for name in rest if name != "chance" or "prior" not in rest]


def render(facts: Facts) -> Sequence[Block]:
    """Return all models side by side, and their paired differences."""
    wanted = [m for m in NAMES if not m.startswith("grave") or facts["task"]["grave"]]
    return [
        _table(facts, "models", wanted[:_FIRST_TABLE]),
        _table(facts, "models-more", wanted[_FIRST_TABLE:]),
        Text(
            f"↑ higher is better, ↓ lower is better. Intervals: t intervals on the metric’s own scale, standard errors from "
            f"{facts['bootstrap']['n_boot']:,} resamples of subjects with all their windows. The ECE is debiased. AUROC within folds is the mean over folds, each of which is a model of its own; the other AUROC puts the scores of all folds on one scale. Where probabilities tie, each tied class counts in equal shares.",
            "note",
        ),
        Heading("Paired differences"),
        *_paired(facts),
    ]


def _table(facts: Facts, name: str, metrics: Sequence[str]) -> Table:
    rows = [
        Row(
            cells=(words(model, MODEL_NOTES.get(model, "")), *(estimate(entry["metrics"][m]) for m in metrics)),
            main=model == facts["main_model"],
        )
        for model, entry in facts["models"].items()
    ]
    return Table(name=name, columns=("Model", *headings(metrics)), rows=tuple(rows))


def _paired(facts: Facts) -> list[Block]:
    if not facts["differences"]:
        return [Text("There is nothing to compare.")]
    rows = tuple(Row(cells=_difference(row)) for row in facts["differences"])
    return [
        Table(name="differences", columns=("Difference", "Metric", "Value", "p", "p (Holm)"), rows=rows),
        Text(
            "Both models on the same resamples; p is two-sided and corrected for all comparisons of this table (Holm). “≤” is the least that "
            f"{facts['bootstrap']['n_boot']:,} resamples can show.",
            "note",
        ),
    ]


def _difference(row: Mapping[str, Any]) -> tuple[Cell, ...]:
    pair = words(f"{row['first']} − {row['second']}")
    if not row["metric"]:
        return pair, words("–", row["reason"]), words("–"), words("–"), words("–")
    return (
        pair,
        words(NAMES[row["metric"]]),
        estimate(row),
        words(p_text(row["p_value"], at_floor=row["at_floor"])),
        words(p_text(row["p_holm"], at_floor=row["at_floor"])),
    )


def caveats(facts: Facts) -> Sequence[str]:
    """Return what the intervals of this section do not cover."""
    return (
        "Where no patient had an error, the interval is exact over patients (Clopper-Pearson): how rare an error may be that was not seen.",
        "A resample in which a class is missing averages recall over the classes that it has.",
    )


SECTION = Section(name="models", title="Models compared", facts=facts, render=render, caveats=caveats)
