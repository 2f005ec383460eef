"""ROC and precision-recall curves, and one operating point: sensitivity, specificity and predictive values."""

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.operating.curves import SENSITIVITY, class_curves
from evaluation.report.context import Context
from evaluation.report.drawing.blocks import Block, Pair, Text
from evaluation.report.drawing.plots import square_plot
from evaluation.report.drawing.tables import Row, Table, estimate, share, words
from evaluation.report.drawing.wording import Facts
from evaluation.report.sections.section import CLINICAL, Section

_COLUMNS = ("Class", "Share of windows", "Sensitivity ↑", "Specificity ↑", "PPV ↑", "NPV ↑")


def facts(context: Context) -> Mapping[str, Any]:
    """Return curves and operating point of the task's findings, or of all classes where it has none."""
    of = context.task.findings or context.classes
    rows = class_curves(context.rows, context.classes, of=of, n_boot=context.n_boot, seed=context.seed)
    return {"curves": {"sensitivity": SENSITIVITY, "classes": rows}}


def render(facts: Facts) -> Sequence[Block]:
    """Return the table of the operating point, and both figures."""
    curves = facts["curves"]
    known = curves["classes"]
    if not known:
        return []
    rows = tuple(
        Row(
            cells=(
                words(row["name"]),
                share(row["prevalence"]),
                *(estimate(row[key], 2) for key in ("sensitivity", "specificity", "ppv", "npv")),
            )
        )
        for row in known
    )
    chosen = (
        f"The threshold of each class was chosen on the other {facts['chosen_on']}, as the highest that reaches a sensitivity of {curves['sensitivity']:.0%} there."
        if all(row["nested"] for row in known)
        else "The thresholds were chosen on these very windows, as there is nothing to leave out: the numbers are optimistic."
    )
    return [
        Table(name="operating-point", columns=_COLUMNS, rows=rows),
        Text(
            f"Each class against all others. {chosen} PPV and NPV, the positive and negative predictive values, hold for the share of the class "
            "among these windows; in a ward where it is rarer, PPV is lower.",
            "note",
        ),
        Pair(
            (
                square_plot(
                    {row["name"]: row["roc"] for row in known},
                    name="roc",
                    title="ROC curves",
                    x_label="1 − specificity",
                    y_label="sensitivity",
                    diagonal=True,
                ),
                square_plot(
                    {row["name"]: row["pr"] for row in known},
                    name="precision-recall",
                    title="Precision-recall curves",
                    x_label="sensitivity (recall)",
                    y_label="PPV (precision)",
                ),
            )
        ),
    ]


SECTION = Section(
    name="operating-point", title="ROC curves and operating point", part=CLINICAL, facts=facts, render=render
)
