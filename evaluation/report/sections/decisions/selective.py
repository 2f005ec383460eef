"""Selective prediction: the error rate when only the most confident windows are answered."""

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.measures.selective import selective
from evaluation.report.context import Context
from evaluation.report.drawing.blocks import Block, Heading, Pair, Text
from evaluation.report.drawing.plots import band_plot
from evaluation.report.drawing.tables import Row, Table, estimate, share, words
from evaluation.report.drawing.wording import Facts, interval
from evaluation.report.sections.section import CLINICAL, Section
from signals.pages.svg import number


def facts(context: Context) -> Mapping[str, Any]:
    """Return the risk-coverage curve of the main model."""
    return {"selective": selective(context.rows, context.classes, n_boot=context.n_boot, seed=context.seed)}


def render(facts: Facts) -> Sequence[Block]:
    """Return the risk-coverage curve and the risk at fixed coverages."""
    known = facts["selective"]
    rows = tuple(
        Row(cells=(words(f"Most confident {float(coverage):.0%}"), estimate(entry)))
        for coverage, entry in known["risks"].items()
    )
    limited = tuple(
        Row(cells=(words(f"at most {row['allowed']:.0%}"), share(row["answered"], 0), estimate(row["risk"])))
        for row in known["limited"]
    )
    nested = all(row["nested"] for row in known["limited"])
    new = "a new fold’s windows" if facts["chosen_on"] == "folds" else "new patients’ windows"
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
        Heading("Abstention"),
        Table(name="abstention", columns=("Error rate aimed at", "Answered ↑", "Error rate ↓"), rows=limited),
        Text(
            f"The confidence below which the model abstains was chosen on the other {facts['chosen_on']}, so both columns are what {new} give."
            if nested
            else "The confidence was chosen on these very windows: there is nothing to leave out, and the numbers are optimistic.",
            "note",
        ),
    ]


SECTION = Section(name="selective", title="Selective prediction", part=CLINICAL, facts=facts, render=render)
