"""Performance by class: each class against all others."""

from collections.abc import Sequence

from evaluation.report.drawing.blocks import Block, Text
from evaluation.report.drawing.figures import dot_plot
from evaluation.report.drawing.tables import Row, Table, count, estimate, value, words
from evaluation.report.drawing.wording import Facts
from evaluation.report.sections.section import Section

_COLUMNS = ("Class", "Windows", "Subjects", "AUROC within folds", "AUPRC", "Recall", "Precision")


def render(facts: Facts) -> Sequence[Block]:
    """Return the table and the AUROC of each class."""
    known, data = facts["models"][facts["main_model"]]["metrics"], facts["data"]
    classes = facts["task"]["classes"]
    rows = tuple(
        Row(
            cells=(
                words(name),
                count(data["class_windows"][name]),
                count(data["class_subjects"][name]),
                estimate(known[f"auroc_within[{name}]"]),
                value(known[f"auprc[{name}]"]["value"]),
                estimate(known[f"recall[{name}]"]),
                estimate(known[f"precision[{name}]"]),
            )
        )
        for name in classes
    )
    return [
        Table(name="classes", columns=_COLUMNS, rows=rows),
        Text(
            "One class against all others; the AUROC is the mean over folds. The AUPRC of a useless model equals the class’s share of windows; it is not resampled.",
            "note",
        ),
        dot_plot(
            [(name, known[f"auroc_within[{name}]"]) for name in classes],
            name="auroc-by-class",
            title="AUROC of each class against the rest, within folds",
            reference=(0.5, "chance"),
        ),
    ]


SECTION = Section(name="classes", title="Performance by class", render=render)
