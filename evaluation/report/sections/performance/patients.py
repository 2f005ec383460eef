"""Performance per patient: one prediction per patient, where each patient has one label."""

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.measures.bootstrap import draws, estimates
from evaluation.measures.tallies import tally
from evaluation.report.context import Context
from evaluation.report.drawing.blocks import Block, Text
from evaluation.report.drawing.tables import Row, Table, estimate, words
from evaluation.report.drawing.wording import Facts, headings
from evaluation.report.sections.section import Section

_METRICS = ("balanced_accuracy", "auroc_macro", "kappa", "brier")


def facts(context: Context) -> Mapping[str, Any]:
    """Return metrics with one prediction per patient: the mean probability over the patient's windows."""
    labels = context.rows.groupby("subject_id")["label"].nunique()
    if (labels > 1).any():
        return {"subjects": {"models": {}, "reason": "subjects have windows of several classes"}}
    columns = [f"{kind}_{name}" for kind in ("prob", "target") for name in context.classes]
    models: dict[str, Any] = {}
    for model in context.tallied:
        grouped = context.scored.of(model).groupby("subject_id")
        frame = grouped[columns].mean().assign(label=grouped["label"].first()).reset_index()
        tallies = tally(frame.assign(window_key=frame["subject_id"]), context.classes)
        known = estimates(tallies, draws(tallies, n_boot=context.n_boot, seed=context.seed))
        models[model] = {"metrics": known, "counts": tallies.confusion.sum(axis=0)}
    return {"subjects": {"models": models, "reason": ""}}


def render(facts: Facts) -> Sequence[Block]:
    """Return the table, where patients have one label each."""
    models = facts["subjects"]["models"]
    if not models:
        return []
    rows = tuple(
        Row(
            cells=(words(name), *(estimate(entry["metrics"][m]) for m in _METRICS)),
            main=name == facts["main_model"],
        )
        for name, entry in models.items()
    )
    return [
        Text(
            "Every subject belongs to one class, so each counts once here: probabilities are averaged over "
            f"a subject’s windows ({facts['data']['n_subjects']} subjects)."
        ),
        Table(name="patients", columns=("Model", *headings(_METRICS)), rows=rows),
    ]


SECTION = Section(name="patients", title="Performance per patient", facts=facts, render=render)
