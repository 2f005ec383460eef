"""Performance per patient: one prediction per patient, where each patient has one label."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evaluation.measures.bootstrap import draws, estimates
from evaluation.measures.tallies import tally
from evaluation.report.context import Context
from evaluation.report.drawing.blocks import Block, Text
from evaluation.report.drawing.plots import strip_plot
from evaluation.report.drawing.tables import Row, Table, estimate, words
from evaluation.report.drawing.wording import Facts, headings, plural
from evaluation.report.sections.section import CLINICAL, Section

_METRICS = ("balanced_accuracy", "auroc_macro", "kappa", "brier")


def facts(context: Context) -> Mapping[str, Any]:
    """Return metrics with one prediction per patient: the mean probability over the patient's windows."""
    labels = context.rows.groupby("subject_id")["label"].nunique()
    each = _each(context)
    if (labels > 1).any():
        return {"subjects": {"models": {}, "reason": "subjects have windows of several classes", "each": each}}
    columns = [f"{kind}_{name}" for kind in ("prob", "target") for name in context.classes]
    models: dict[str, Any] = {}
    for model in context.tallied:
        grouped = context.scored.of(model).groupby("subject_id")
        frame = grouped[columns].mean().assign(label=grouped["label"].first()).reset_index()
        tallies = tally(frame.assign(window_key=frame["subject_id"]), context.classes)
        known = estimates(tallies, draws(tallies, n_boot=context.n_boot, seed=context.seed))
        models[model] = {"metrics": known, "counts": tallies.confusion.sum(axis=0)}
    return {"subjects": {"models": models, "reason": "", "each": each}}


def _each(context: Context) -> list[dict[str, Any]]:
    """Return one row per patient, poorest first: site, windows, and the share of them that is right."""
    frame, tallies = context.rows, context.tallied[context.model]
    site = frame.groupby(frame["subject_id"].astype(str))["site_id"].first()
    rows = [
        {"site": str(site[name]), "n_windows": int(counts.sum()), "accuracy": float(np.trace(counts) / counts.sum())}
        for name, counts in zip(tallies.subjects, tallies.confusion, strict=True)
    ]
    return sorted(rows, key=lambda row: (row["accuracy"], row["site"]))


def render(facts: Facts) -> Sequence[Block]:
    """Return a dot per patient and, where patients have one label each, the table of one prediction per patient."""
    each = facts["subjects"]["each"]
    sites = sorted({row["site"] for row in each})
    poor = [row for row in each if row["accuracy"] < 0.5]
    blocks: list[Block] = [
        strip_plot(
            {name: [row["accuracy"] for row in each if row["site"] == name] for name in sites},
            name="patients",
            title="Share of each patient’s windows that is right",
            y_label="share of windows right",
            reference=(1 / len(facts["task"]["classes"]), "chance"),
        ),
        Text(
            f"One dot per patient. Of {plural(len(each), 'patient')}, {len(poor):,} had fewer than half of their windows right; "
            f"the poorest had {each[0]['accuracy']:.0%} of {each[0]['n_windows']:,}.",
            "note",
        ),
    ]
    return blocks + _one_prediction(facts)


def _one_prediction(facts: Facts) -> list[Block]:
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
            f"a subject’s windows ({plural(facts['data']['n_subjects'], 'subject')})."
        ),
        Table(name="patients", columns=("Model", *headings(_METRICS)), rows=rows),
    ]


SECTION = Section(name="patients", title="Performance per patient", part=CLINICAL, facts=facts, render=render)
