"""Every number of the report, as one dictionary for JSON: the page is made from it alone."""

import dataclasses
import math
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd

from evaluation.audit import BASELINES, audit, unknown_subjects
from evaluation.bootstrap import LEVEL, differences, draws, estimates, holm
from evaluation.calibration import reliability
from evaluation.conformal import ALPHA, coverage
from evaluation.findings import verdict
from evaluation.predictions import Predictions
from evaluation.reconstruction import score_reconstruction
from evaluation.sites import SITE_METRICS, across_sites, site_rows
from evaluation.tallies import Tallies, tally
from signals.tasks import TASKS, Task

SCHEMA_VERSION = 1
COMPARED = ("kl", "balanced_accuracy", "kappa", "auroc_macro")
"""Metrics that models are compared by; p-values are corrected over all of these comparisons together."""
_HISTORY_POINTS = 200


def plain(value: Any) -> Any:
    """Return dataclasses, arrays and tuples as JSON's own kinds; nan and infinity become None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def main_model(predictions: Predictions) -> str:
    """Return "encoder" if it spoke, else the first model that is no baseline, else the first."""
    others = [model for model in predictions.models if model not in BASELINES]
    return "encoder" if "encoder" in others else (others or list(predictions.models))[0]


def with_chance(predictions: Predictions) -> Predictions:
    """Return the predictions and, as model "chance", equal probabilities for the main model's windows."""
    if "chance" in predictions.models:
        return predictions
    chance = predictions.of(main_model(predictions)).assign(model="chance")
    chance[[f"prob_{name}" for name in predictions.classes]] = 1.0 / len(predictions.classes)
    return dataclasses.replace(predictions, frame=pd.concat([predictions.frame, chance], ignore_index=True))


def facts_from(
    predictions: Predictions,
    *,
    reconstruction: pd.DataFrame | None = None,
    history: Sequence[Mapping[str, Any]] | None = None,
    external: Predictions | None = None,
    extra: Mapping[str, Any] | None = None,
    n_boot: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Return all numbers of the report; the same input and seed give the same facts.

    `history` holds the lines of a training log, `extra` goes in as "provenance". What is undefined is None with a
    `reason` beside it.
    """
    scored = with_chance(predictions)
    model = main_model(scored)
    task = TASKS.get(scored.task) or Task(name=scored.task, classes=scored.classes, window_s=math.nan)
    rows = scored.of(model)
    tallied = {name: tally(scored.of(name), scored.classes, grave=task.grave) for name in _ordered(scored, model)}
    drawn = {name: draws(tallies, n_boot=n_boot, seed=seed) for name, tallies in tallied.items()}
    findings = audit(scored, model=model, n_boot=n_boot, seed=seed)
    sites = {name: site_rows(scored.of(name), scored.classes, n_boot=n_boot, seed=seed) for name in _shown(tallied)}
    return plain(
        {
            "schema_version": SCHEMA_VERSION,
            "task": {**dataclasses.asdict(task), "classes": scored.classes},
            "main_model": model,
            "grouping": scored.meta.get("grouping", "unknown"),
            "data": _data(rows, scored.classes),
            "bootstrap": {"n_boot": n_boot, "seed": seed, "level": LEVEL},
            "audit": {"verdict": verdict(findings), "findings": findings},
            "models": {name: {"metrics": estimates(tallied[name], drawn[name])} for name in tallied},
            "differences": _differences(tallied, drawn, model),
            "confusion": confusion_facts(tallied[model], task.grave),
            "reliability": reliability(tallied[model]),
            "conformal": {"alpha": ALPHA, "folds": coverage(rows, scored.classes, n_boot=n_boot, seed=seed)},
            "sites": sites,
            "across_sites": {
                name: {metric: across_sites(table, metric) for metric in SITE_METRICS} for name, table in sites.items()
            },
            "folds": site_rows(rows, scored.classes, by="fold", n_boot=n_boot, seed=seed),
            "subjects": subject_facts(scored, list(tallied), n_boot=n_boot, seed=seed),
            "external": None if external is None else external_facts(external, task, n_boot=n_boot, seed=seed),
            "reconstruction": None
            if reconstruction is None
            else score_reconstruction(reconstruction, n_boot=n_boot, seed=seed),
            "history": None if history is None else history_facts(history),
            "meta": {k: v for k, v in scored.meta.items() if k not in ("folds", "pretrain_subjects")},
            "n_pretrain_subjects": len(scored.meta.get("pretrain_subjects") or ()),
            "versions": _versions(),
            "provenance": dict(extra or {}),
        }
    )


def _ordered(scored: Predictions, model: str) -> list[str]:
    rest = [name for name in scored.models if name != model]
    return [model, *sorted(rest, key=lambda name: (name in BASELINES, name == "chance"))]


def _shown(tallied: Mapping[str, Tallies]) -> list[str]:
    return [name for name in tallied if name != "chance"]


def _data(rows: pd.DataFrame, classes: tuple[str, ...]) -> dict[str, Any]:
    counts, subjects = rows["label"].value_counts(), rows.groupby("label")["subject_id"].nunique()
    return {
        "n_windows": len(rows),
        "n_recordings": rows["recording_id"].nunique(),
        "n_subjects": rows["subject_id"].nunique(),
        "n_sites": rows["site_id"].nunique(),
        "class_windows": {name: int(counts.get(name, 0)) for name in classes},
        "class_subjects": {name: int(subjects.get(name, 0)) for name in classes},
    }


def _differences(
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
    for name in _ordered(scored, model):
        rows = scored.of(name)
        nameless = unknown_subjects(scored, rows)
        clusters = np.where(nameless, "segment " + rows["recording_id"].astype(str), rows["subject_id"].astype(str))
        found[name] = tally(rows.assign(subject_id=clusters), scored.classes, grave=task.grave)
    return {
        "main_model": model,
        "data": _data(scored.of(model), scored.classes),
        "n_unknown": int(unknown.sum()),
        "n_clusters": found[model].n_subjects,
        "models": {name: {"metrics": estimates(t, draws(t, n_boot=n_boot, seed=seed))} for name, t in found.items()},
        "confusion": confusion_facts(found[model], task.grave),
    }


def history_facts(history: Sequence[Mapping[str, Any]]) -> dict[str, list[list[float]]]:
    """Return (step, value) points, at most 200 a curve, for every logged number whose name speaks of a loss."""
    curves: dict[str, list[list[float]]] = {}
    for i, line in enumerate(history):
        for name, value in line.items():
            if "loss" in name and isinstance(value, (int, float)) and math.isfinite(value):
                curves.setdefault(name, []).append([float(line.get("step", i)), float(value)])
    return {name: points[:: max(1, math.ceil(len(points) / _HISTORY_POINTS))] for name, points in curves.items()}


def _versions() -> dict[str, str]:
    packages = ("numpy", "pandas", "pyarrow")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}
