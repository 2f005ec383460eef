"""Value of pretraining: ways of using the encoder, and tuned baselines, on the same windows."""

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.report.context import Context
from evaluation.report.drawing.blocks import Block, Heading, Text
from evaluation.report.drawing.tables import Row, Table, estimate, value, words
from evaluation.report.drawing.wording import NAMES, Facts, headings, p_text, plural
from evaluation.report.sections.section import Section
from evaluation.scenarios.transfer import TRANSFER_METRICS, transfer_table

_METRICS = ("balanced_accuracy", "auroc_macro", "kappa", "kl")
assert set(_METRICS) == set(TRANSFER_METRICS)


def facts(context: Context) -> Mapping[str, Any]:
    """Return one row per way, and each way's paired difference from the reference."""
    transfer = context.sources.transfer
    if transfer is None:
        return {"transfer": None}
    reference = context.sources.reference or transfer.models[0].split("#")[0]
    rows, compared = transfer_table(transfer, reference=reference, n_boot=context.n_boot, seed=context.seed)
    return {"transfer": {"reference": reference, "rows": rows, "differences": compared}}


def render(facts: Facts) -> Sequence[Block]:
    """Return all ways side by side, the spread over seeds apart from the intervals over patients."""
    transfer = facts["transfer"]
    if transfer is None:
        return []
    rows = tuple(
        Row(
            cells=(
                words(row["model"], plural(row["n_seeds"], "seed")),
                *(estimate(row["metrics"][m]) for m in _METRICS),
                value(row["seed_sd"]["balanced_accuracy"]),
            ),
            main=row["model"] == transfer["reference"],
        )
        for row in transfer["rows"]
    )
    gaps = tuple(
        Row(
            cells=(
                words(d["model"]),
                words(NAMES[d["metric"]]),
                estimate(d),
                words(p_text(d["p_value"], at_floor=d["at_floor"])),
                words(p_text(d["p_holm"], at_floor=d["at_floor"])),
            )
        )
        for d in transfer["differences"]
    )
    return [
        Text(
            "The same windows and folds for every way of using the encoder and for each tuned baseline. Brackets: patients "
            "resampled, means over seeds; the last column is the spread between seeds alone."
        ),
        Table(name="transfer", columns=("Way", *headings(_METRICS), "SD over seeds"), rows=rows),
        Heading(f"Difference from {transfer['reference']}"),
        Table(name="transfer-differences", columns=("Way", "Metric", "Difference", "p", "p (Holm)"), rows=gaps),
        Text(
            "Paired on the same resamples of patients; p is two-sided and corrected over this table (Holm).",
            "note",
        ),
    ]


SECTION = Section(name="transfer", title="Value of pretraining", facts=facts, render=render)
