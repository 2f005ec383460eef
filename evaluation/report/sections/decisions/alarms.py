"""Sensitivity at a fixed false-alarm rate."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.measures.alarms import alarms
from evaluation.report.context import Context
from evaluation.report.drawing.blocks import Block, Text
from evaluation.report.drawing.tables import Row, Table, estimate, words
from evaluation.report.drawing.wording import Facts
from evaluation.report.sections.section import Section
from signals.pages.svg import number


def facts(context: Context) -> Mapping[str, Any]:
    """Return the sensitivity at each allowed rate, for tasks whose windows have a known length."""
    window_s = context.task.window_s
    if not math.isfinite(window_s):
        return {"alarms": []}
    rows = alarms(context.rows, context.classes, window_s=window_s, n_boot=context.n_boot, seed=context.seed)
    return {"alarms": rows}


def render(facts: Facts) -> Sequence[Block]:
    """Return one row per class and one column per allowed rate."""
    alarms = facts["alarms"]
    if not alarms:
        return []
    rates = sorted({row["allowed_per_h"] for row in alarms})
    by_class = {
        name: {row["allowed_per_h"]: row for row in alarms if row["name"] == name} for name in facts["task"]["classes"]
    }
    rows = tuple(
        Row(
            cells=(
                words(name, f"{number(known[rates[0]]['hours'], 1)} h of other classes"),
                *(estimate(known[rate]["sensitivity"], 2) for rate in rates),
            )
        )
        for name, known in by_class.items()
    )
    return [
        Table(name="alarms", columns=("Class", *(f"{rate:g} per hour" for rate in rates)), rows=rows),
        Text(
            "Share of the class’s windows above the lowest threshold that keeps false alarms within the rate. Windows are counted one by one. "
            "The threshold was chosen on these very windows, so the numbers are optimistic; intervals hold it fixed.",
            "note",
        ),
    ]


SECTION = Section(name="alarms", title="Sensitivity at a fixed false-alarm rate", facts=facts, render=render)
