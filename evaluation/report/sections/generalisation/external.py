"""External validation: the same model on a second data set."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evaluation.audit.audit import unknown_subjects
from evaluation.audit.exposure import overlap
from evaluation.measures.bootstrap import draws, estimates
from evaluation.measures.tallies import tally
from evaluation.report.calibrated import shipped
from evaluation.report.context import Context, cohort, main_model, ordered, with_chance
from evaluation.report.drawing.blocks import Block, Text
from evaluation.report.drawing.tables import Row, Table, estimate, words
from evaluation.report.drawing.wording import Facts, headings, interval, plural
from evaluation.report.sections.performance.confusion import confusion_facts, matrix_blocks
from evaluation.report.sections.section import CLINICAL, Section

_METRICS = ("balanced_accuracy", "kl", "kappa", "auroc_macro", "accuracy")


def facts(context: Context) -> Mapping[str, Any]:
    """Return all models' metrics on the second file; where subjects are unknown, each recording is a cluster."""
    external = context.sources.external
    if external is None:
        return {"external": None}
    scored = with_chance(external)
    rows = external.of(external.models[0])
    shared = overlap(rows, external.origin, context.rows, context.scored.origin)
    model = main_model(scored)
    if context.calibrated is not None:
        scored = shipped(scored, context.sources.calibration, model=context.model)
    tallied = {}
    for name in ordered(scored, model):
        rows = scored.of(name)
        unknown = unknown_subjects(scored, rows)
        clusters = np.where(unknown, "segment " + rows["recording_id"].astype(str), rows["subject_id"].astype(str))
        tallied[name] = tally(rows.assign(subject_id=clusters), scored.classes, grave=context.task.grave)
    drawn = {name: draws(tallies, n_boot=context.n_boot, seed=context.seed) for name, tallies in tallied.items()}
    return {
        "external": {
            "main_model": model,
            "overlap": shared,
            "data": cohort(scored.of(model), scored.classes),
            "n_unknown": int(unknown_subjects(scored, scored.of(model)).sum()),
            "n_clusters": tallied[model].n_subjects,
            "models": {name: {"metrics": estimates(tallies, drawn[name])} for name, tallies in tallied.items()},
            "confusion": confusion_facts(tallied[model], context.task.grave),
        }
    }


def render(facts: Facts) -> Sequence[Block]:
    """Return the table and the confusion matrix of the second data set."""
    external = facts["external"]
    if external is None:
        return []
    known, data = external["models"], external["data"]
    rows = tuple(
        Row(
            cells=(words(name), *(estimate(entry["metrics"][m]) for m in _METRICS)),
            main=name == external["main_model"],
        )
        for name, entry in known.items()
    )
    unknown = ""
    if external["n_unknown"]:
        unknown = (
            f" The patients behind {external['n_unknown']:,} of these windows are not known, so each recording is resampled as if it were another "
            "patient: if a patient gave several, the intervals are too narrow."
        )
    return [
        Text(
            f"The model as it is, applied to {plural(data['n_windows'], 'window')} {_independence(external['overlap'])}: "
            f"balanced accuracy **{interval(known[external['main_model']]['metrics']['balanced_accuracy'])}**, "
            f"where guessing gives {1 / len(facts['task']['classes']):.2f}.{unknown}"
        ),
        Table(name="external", columns=("Model", *headings(_METRICS)), rows=rows),
        *matrix_blocks(external["confusion"], name="external-confusion-matrix"),
    ]


def _independence(shared: Mapping[str, Any]) -> str:
    """Return what the windows of the second data set have to do with training, in words."""
    if shared["n_shared_windows"]:
        return (
            f"of which **{shared['n_shared_windows']:,} took part** in training, model choice or pretraining "
            f"({plural(shared['n_subjects'], 'subject')}, {plural(shared['n_recordings'], 'recording')}), so this is no external validation"
        )
    if shared["complete"]:
        return "that took no part in training, model choice or pretraining, by subject, recording and samples"
    return "of which none is in the predictions above; the file does not list who its model was trained on, so an overlap cannot be excluded"


SECTION = Section(name="external", title="External validation", part=CLINICAL, facts=facts, render=render)
