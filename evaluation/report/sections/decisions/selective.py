"""Selective prediction: the error rate when only the most confident windows are answered."""

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.measures.selective import selective
from evaluation.report.context import Context
from evaluation.report.drawing.blocks import Block, Pair, Text
from evaluation.report.drawing.plots import band_plot
from evaluation.report.drawing.tables import Row, Table, estimate, words
from evaluation.report.drawing.wording import Facts, interval, percent
from evaluation.report.sections.section import Section
from signals.pages.svg import number


def facts(context: Context) -> Mapping[str, Any]:
    """Return the risk-coverage curve of the main model."""
    return {"selective": selective(context.rows, context.classes, n_boot=context.n_boot, seed=context.seed)}


def render(facts: Facts) -> Sequence[Block]:
    """Return the risk-coverage curve and the risk at fixed coverages."""
    known = facts["selective"]
    rows = tuple(
        Row(cells=(words(f"Most confident {float(share):.0%}"), estimate(entry)))
        for share, entry in known["risks"].items()
    )
    limits = "; ".join(
        f"at most {float(risk):.0%} errors: {percent(share, 0)} answered" for risk, share in known["coverages"].items()
    )
    figure = band_plot(
        {facts["main_model"]: known["curve"]},
        name="risk-coverage",
        title="Error rate among the most confident windows",
        x_label="share of windows answered",
        reference=(known["aurc_random"], "all answered"),
    )
    return [
        Pair((figure,)),
        Table(name="selective", columns=("Answered", "Error rate ↓"), rows=rows),
        Text(
            f"Area under the risk-coverage curve (AURC) {interval(known['aurc'], 3)}; the best order of these "
            f"errors would reach {number(known['aurc_best'], 3)}, a random one {number(known['aurc_random'], 3)}."
        ),
        Text(f"{limits}.", "note"),
    ]


SECTION = Section(name="selective", title="Selective prediction", facts=facts, render=render)
