"""Calibration: whether a stated probability is the frequency it claims."""

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.measures.calibration import reliability
from evaluation.report.context import Context
from evaluation.report.drawing.blocks import Block, Text
from evaluation.report.drawing.figures import reliability_plot
from evaluation.report.drawing.wording import Facts, interval
from evaluation.report.sections.section import Section
from signals.pages.svg import number


def facts(context: Context) -> Mapping[str, Any]:
    """Return the reliability curve of the main model."""
    return {"reliability": reliability(context.tallied[context.model])}


def render(facts: Facts) -> Sequence[Block]:
    """Return the reliability diagram with ECE and Brier score."""
    known = facts["models"][facts["main_model"]]["metrics"]
    return [
        reliability_plot(facts["reliability"], name="reliability"),
        Text(
            f"Expected calibration error {interval(known['ece'], 3)}, debiased (counted: {number(known['ece_plugin']['value'], 3)}), 15 bins; Brier score {interval(known['brier'], 3)}. "
            "Bars are Wilson intervals over windows, too narrow where one patient gave many.",
            "note",
        ),
    ]


SECTION = Section(name="calibration", title="Calibration", facts=facts, render=render)
