"""Sensitivity at a fixed false-alarm rate."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.operating.alarms import HOUR, alarms
from evaluation.report.context import Context
from evaluation.report.drawing.blocks import Block, Text
from evaluation.report.drawing.tables import Cell, Row, Table, words
from evaluation.report.drawing.tables import estimate as estimate_cell
from evaluation.report.drawing.wording import Facts
from evaluation.report.sections.section import CLINICAL, Section
from signals.pages.svg import number


def facts(context: Context) -> Mapping[str, Any]:
    """Return the sensitivity at each allowed rate, for the classes that an alarm may name."""
    task = context.task
    if not math.isfinite(task.window_s):
        return {"alarms": []}
    span = task.label_span_s or (0.0, task.window_s)
    rows = alarms(
        context.rows, context.classes, of=task.findings, span_s=span, n_boot=context.n_boot, seed=context.seed
    )
    return {"alarms": rows}


def render(facts: Facts) -> Sequence[Block]:
    """Return one row per class, and two columns per allowed rate: sensitivity, and the rate that happened."""
    rows = facts["alarms"]
    if not rows:
        return []
    in_time = rows[0]["unit"] == HOUR
    allowed = sorted({row["allowed"] for row in rows})
    columns = [f"{noun} at {_rate(rate, in_time)}" for rate in allowed for noun in ("Sensitivity", "False alarms")]
    by_class = {row["name"]: {r["allowed"]: r for r in rows if r["name"] == row["name"]} for row in rows}
    body = tuple(
        Row(
            cells=(
                words(name, _amount(known[allowed[0]], in_time)),
                *(cell for rate in allowed for cell in _cells(known[rate])),
            )
        )
        for name, known in by_class.items()
    )
    return [Table(name="alarms", columns=("Class", *columns), rows=body), Text(_note(facts, in_time), "note")]


def _cells(row: Mapping[str, Any]) -> tuple[Cell, Cell]:
    return estimate_cell(row["sensitivity"], 2), estimate_cell(row["false_rate"], 3)


def _rate(allowed: float, in_time: bool) -> str:
    if not in_time:
        return f"{allowed:.0%} of windows"
    return f"{allowed * 24:g} per day" if allowed < 0.5 else f"{allowed:g} per hour"


def _amount(row: Mapping[str, Any], in_time: bool) -> str:
    if in_time:
        return f"{row['n_events']:,} events in {number(row['amount'], 1)} h"
    return f"{row['n_events']:,} windows, {row['amount']:,.0f} of different classes"


def _note(facts: Facts, in_time: bool) -> str:
    threshold = (
        f"Each threshold was chosen on the other {facts['chosen_on']} as the lowest that keeps the rate there; what happened stands beside it."
        if facts["data"]["n_subjects"] > 1
        else "The thresholds were chosen on these very windows: the numbers are optimistic."
    )
    if not in_time:
        return (
            "Share of the class’s windows above the threshold, and false alarms per window of different classes. The file has no "
            f"onsets, so nothing is stated per hour, and windows are counted one by one. {threshold}"
        )
    return (
        "Windows above the threshold are merged into alarms, and false alarms are per hour of recording, scored event by event with the "
        f"tolerances of SzCORE (30 s before, 60 s after, events closer than 90 s are one). {threshold}"
    )


SECTION = Section(
    name="alarms", title="Sensitivity at a fixed false-alarm rate", part=CLINICAL, facts=facts, render=render
)
