"""Facts of models: scores, differences, confusions, one vote a person, and the second data set."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from evaluation.audit.audit import BASELINES, CONTROL, unknown_subjects
from evaluation.measures.bootstrap import differences, draws, estimates, holm
from evaluation.measures.tallies import Tallies, tally
from evaluation.schemas.predictions import Predictions
from signals.tasks import Task

COMPARED = ("kl", "balanced_accuracy", "kappa", "auroc_macro")
"""Metrics that models are compared by; p-values are corrected over all of these comparisons together."""


def main_model(predictions: Predictions) -> str:
    """Return "encoder" if it spoke, else the first model that is no baseline, else the first."""
    others = [name for name in predictions.models if name not in BASELINES and CONTROL not in name]
    return "encoder" if "encoder" in others else (others or list(predictions.models))[0]


def with_chance(predictions: Predictions) -> Predictions:
    """Return the predictions and, as model "chance", equal probabilities for the main model's windows."""
    if "chance" in predictions.models:
        return predictions
    chance = predictions.of(main_model(predictions)).assign(model="chance")
    chance[[f"prob_{name}" for name in predictions.classes]] = 1.0 / len(predictions.classes)
    return dataclasses.replace(predictions, frame=pd.concat([predictions.frame, chance], ignore_index=True))


def ordered(scored: Predictions, model: str) -> list[str]:
    """Return the models, the main one first, baselines last."""
    rest = [name for name in scored.models if name != model]
    return [model, *sorted(rest, key=lambda name: (name in BASELINES, name == "chance"))]


def data_facts(rows: pd.DataFrame, classes: tuple[str, ...]) -> dict[str, Any]:
    """Return how many windows, recordings, subjects and sites there are, and of which classes."""
    counts, subjects = rows["label"].value_counts(), rows.groupby("label")["subject_id"].nunique()
    return {
        "n_windows": len(rows),
        "n_recordings": rows["recording_id"].nunique(),
        "n_subjects": rows["subject_id"].nunique(),
        "n_sites": rows["site_id"].nunique(),
        "class_windows": {name: int(counts.get(name, 0)) for name in classes},
        "class_subjects": {name: int(subjects.get(name, 0)) for name in classes},
    }


def difference_facts(
    tallied: Mapping[str, Tallies], drawn: Mapping[str, Mapping[str, np.ndarray]], model: str
) -> list[dict[str, Any]]:
    """Return the main model against each other one by each compared metric, p-values corrected together."""
    table: list[dict[str, Any]] = []
    for other in tallied:
        if other == model:
            continue
        try:
            found = differences((tallied[model], drawn[model]), (tallied[other], drawn[other]))
        except ValueError as error:
            table.append({"first": model, "second": other, "metric": None, "p_value": math.nan, "reason": str(error)})
            continue
        table += [
            {"first": model, "second": other, "metric": metric, **dataclasses.asdict(found[metric])}
            for metric in COMPARED
            if metric in found
        ]
    corrected = holm(np.array([row["p_value"] for row in table], dtype=np.float64))
    return [{**row, "p_holm": float(p)} for row, p in zip(table, corrected, strict=True)]


def confusion_facts(tallies: Tallies, grave: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Return counts (rows the label), row shares, and the grave confusions with how often they happened."""
    counts = tallies.confusion.sum(axis=0)
    index = {name: i for i, name in enumerate(tallies.classes)}
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.full(counts.shape, np.nan), where=totals > 0)
    return {
        "classes": tallies.classes,
        "counts": counts,
        "row_shares": shares,
        "grave": [
            {
                "true": true,
                "predicted": predicted,
                "n_windows": counts[index[true], index[predicted]],
                "share_of_true": shares[index[true], index[predicted]],
                "reason": "" if totals[index[true], 0] > 0 else "the class does not occur among the labels",
            }
            for true, predicted in grave
        ],
    }


def subject_facts(scored: Predictions, models: Sequence[str], *, n_boot: int, seed: int) -> dict[str, Any]:
    """Return metrics with one vote a person (mean probability over windows), where a person has one label."""
    labels = scored.of(models[0]).groupby("subject_id")["label"].nunique()
    if (labels > 1).any():
        return {"models": {}, "reason": "subjects have windows of several classes"}
    columns = [f"{kind}_{name}" for kind in ("prob", "target") for name in scored.classes]
    people: dict[str, Any] = {}
    for model in models:
        grouped = scored.of(model).groupby("subject_id")
        frame = grouped[columns].mean().assign(label=grouped["label"].first()).reset_index()
        tallies = tally(frame.assign(window_key=frame["subject_id"]), scored.classes)
        known = estimates(tallies, draws(tallies, n_boot=n_boot, seed=seed))
        people[model] = {"metrics": known, "counts": tallies.confusion.sum(axis=0)}
    return {"models": people, "reason": ""}


def external_facts(external: Predictions, task: Task, *, n_boot: int, seed: int) -> dict[str, Any]:
    """Return the main model's metrics on a second file; where subjects are unknown, each recording is a cluster."""
    scored = with_chance(external)
    model = main_model(scored)
    unknown = unknown_subjects(scored, scored.of(model))
    found = {}
    for name in ordered(scored, model):
        rows = scored.of(name)
        nameless = unknown_subjects(scored, rows)
        clusters = np.where(nameless, "segment " + rows["recording_id"].astype(str), rows["subject_id"].astype(str))
        found[name] = tally(rows.assign(subject_id=clusters), scored.classes, grave=task.grave)
    return {
        "main_model": model,
        "data": data_facts(scored.of(model), scored.classes),
        "n_unknown": int(unknown.sum()),
        "n_clusters": found[model].n_subjects,
        "models": {name: {"metrics": estimates(t, draws(t, n_boot=n_boot, seed=seed))} for name, t in found.items()},
        "confusion": confusion_facts(found[model], task.grave),
    }
