"""Conformal prediction sets: what they promise and what they hold, by fold, patient and class."""

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.measures.conformal import ALPHA, coverage
from evaluation.report.context import Context
from evaluation.report.drawing.blocks import Block, Text
from evaluation.report.drawing.tables import Cell, Row, Table, estimate, share, value, words
from evaluation.report.drawing.wording import Facts, size
from evaluation.report.sections.section import Section

_COLUMNS = ("Fold", "Sets", "Coverage", "Worst patient", "Patients short", "Worst class", "Mean set size")


def facts(context: Context) -> Mapping[str, Any]:
    """Return coverage per fold, method and calibration."""
    rows = coverage(context.rows, context.classes, n_boot=context.n_boot, seed=context.seed)
    return {"conformal": {"alpha": ALPHA, "folds": rows}}


def render(facts: Facts) -> Sequence[Block]:
    """Return the table of coverage."""
    conformal = facts["conformal"]
    rows = tuple(
        Row(
            cells=(
                words(row["name"], size(row)),
                words(row["method"], row["calibration"]),
                estimate(row["coverage"], percent=True),
                share(row["worst_subject"]),
                share(
                    row["short_subjects"],
                    0,
                    below=f"{row['short_expected']:.0%} by chance" if row["short_expected"] else "",
                ),
                _worst_class(row),
                value(row["set_size"], 2),
            )
        )
        for row in conformal["folds"]
    )
    return [
        Text(
            f"Each window gets the set of classes that should hold its label {1 - conformal['alpha']:.0%} of the time."
        ),
        Table(name="conformal", columns=_COLUMNS, rows=rows),
        Text(
            f"Calibration and test share no patient. {_calibrations(facts)} One threshold for all classes (split) may fail a rare class; "
            "class-conditional sets cover each class, and grow. A patient is short when fewer windows hold the label than promised; by chance "
            "alone that happens to the share given below, since a patient has few windows.",
            "note",
        ),
    ]


def _calibrations(facts: Facts) -> str:
    """Return what the two calibrations stand for: folds that are sites are hospitals, others are not."""
    own = "“Own patients”: calibrated on the other patients of the same fold"
    if facts["grouping"] != "site":
        return f"“Other folds”: as patients of a new fold would get it. {own}."
    return f"“Other folds”: as a new hospital would get it. {own}; what only this repairs is the gap between sites."


def _worst_class(row: Mapping[str, Any]) -> Cell:
    known = {name: covered for name, covered in row["by_class"].items() if covered is not None}
    if not known:
        return words("–")
    name = min(known, key=lambda c: known[c])
    return share(known[name], below=name)


def caveats(facts: Facts) -> Sequence[str]:
    """Return what the promise of the sets rests on."""
    return (
        "Conformal sets promise coverage for exchangeable windows. Windows of one patient are not exchangeable, so single patients fall short.",
    )


SECTION = Section(name="conformal", title="Conformal prediction sets", facts=facts, render=render, caveats=caveats)
