"""Performance by fold: each fold is a separately trained model."""

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.report.context import Context
from evaluation.report.drawing.blocks import Block, Text
from evaluation.report.drawing.tables import Row, Table, estimate, words
from evaluation.report.drawing.wording import Facts, headings, size
from evaluation.report.sections.section import Section
from evaluation.scenarios.sites import site_rows

_METRICS = ("balanced_accuracy", "kl", "auroc_macro")


def facts(context: Context) -> Mapping[str, Any]:
    """Return the main model's metrics in each fold."""
    return {
        "folds": site_rows(context.rows, context.classes, by="fold", n_boot=context.n_boot, seed=context.seed),
    }


def render(facts: Facts) -> Sequence[Block]:
    """Return the table of folds; nothing where each fold is a site, as that table is there already."""
    names = [row["name"] for row in facts["folds"]]
    if names == [row["name"] for row in facts["sites"][facts["main_model"]]]:
        return []
    rows = tuple(
        Row(cells=(words(row["name"], size(row)), *(estimate(row["metrics"][m]) for m in _METRICS)))
        for row in facts["folds"]
    )
    return [
        Text("Each fold is a separately trained model."),
        Table(name="folds", columns=("Fold", *headings(_METRICS)), rows=rows),
    ]


SECTION = Section(name="folds", title="Performance by fold", facts=facts, render=render)
