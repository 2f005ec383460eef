"""Every number of the report, as one dictionary for JSON: the page is made from it alone."""

import dataclasses
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd

from evaluation.audit.audit import audit
from evaluation.audit.findings import verdict
from evaluation.domain.gap import domain_gap
from evaluation.domain.geometry import geometry
from evaluation.measures.alarms import alarms
from evaluation.measures.bootstrap import LEVEL, draws, estimates
from evaluation.measures.calibration import reliability
from evaluation.measures.conformal import ALPHA, coverage
from evaluation.measures.reconstruction import score_reconstruction
from evaluation.measures.selective import selective
from evaluation.measures.sites import SITE_METRICS, across_sites, site_rows
from evaluation.measures.stress import stress_curves
from evaluation.measures.tallies import Tallies, tally
from evaluation.measures.transfer import transfer_table
from evaluation.report.facts_models import (
    confusion_facts,
    data_facts,
    difference_facts,
    external_facts,
    main_model,
    ordered,
    subject_facts,
    with_chance,
)
from evaluation.schemas.embeddings import Embeddings
from evaluation.schemas.predictions import Predictions
from signals.tasks import TASKS, Task

SCHEMA_VERSION = 2
_HISTORY_POINTS = 200


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What a report is made from; only the predictions must be there."""

    predictions: Predictions
    reconstruction: pd.DataFrame | None = None
    history: Sequence[Mapping[str, Any]] | None = None
    """Lines of a training log."""
    external: Predictions | None = None
    embeddings: Sequence[Embeddings] = ()
    stress: Predictions | None = None
    transfer: Predictions | None = None
    reference: str = ""
    """Model of the transfer file that others are compared to; its first one without."""
    provenance: Mapping[str, Any] = field(default_factory=dict)


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


def facts_from(sources: Sources, *, n_boot: int = 2000, seed: int = 0) -> dict[str, Any]:
    """Return all numbers of the report; the same input and seed give the same facts.

    What is undefined is None with a `reason` beside it.
    """
    scored = with_chance(sources.predictions)
    model = main_model(scored)
    task = TASKS.get(scored.task) or Task(name=scored.task, classes=scored.classes, window_s=math.nan)
    return plain(
        {
            "schema_version": SCHEMA_VERSION,
            "task": {**dataclasses.asdict(task), "classes": scored.classes},
            "main_model": model,
            "grouping": scored.meta.get("grouping", "unknown"),
            "data": data_facts(scored.of(model), scored.classes),
            "bootstrap": {"n_boot": n_boot, "seed": seed, "level": LEVEL},
            **_scores(scored, task, model, n_boot=n_boot, seed=seed),
            **_trust(scored.of(model), scored.classes, task, n_boot=n_boot, seed=seed),
            **_besides(sources, task, n_boot=n_boot, seed=seed),
            "meta": {k: v for k, v in scored.meta.items() if k not in ("folds", "pretrain_subjects")},
            "n_pretrain_subjects": len(scored.meta.get("pretrain_subjects") or ()),
            "versions": _versions(),
            "provenance": dict(sources.provenance),
        }
    )


def _scores(scored: Predictions, task: Task, model: str, *, n_boot: int, seed: int) -> dict[str, Any]:
    """Return what each model reaches, and the audit."""
    tallied = {name: tally(scored.of(name), scored.classes, grave=task.grave) for name in ordered(scored, model)}
    drawn = {name: draws(tallies, n_boot=n_boot, seed=seed) for name, tallies in tallied.items()}
    findings = audit(scored, model=model, n_boot=n_boot, seed=seed)
    sites = {name: site_rows(scored.of(name), scored.classes, n_boot=n_boot, seed=seed) for name in _shown(tallied)}
    return {
        "audit": {"verdict": verdict(findings), "findings": findings},
        "models": {name: {"metrics": estimates(tallied[name], drawn[name])} for name in tallied},
        "differences": difference_facts(tallied, drawn, model),
        "confusion": confusion_facts(tallied[model], task.grave),
        "reliability": reliability(tallied[model]),
        "sites": sites,
        "across_sites": {
            name: {metric: across_sites(table, metric) for metric in SITE_METRICS} for name, table in sites.items()
        },
        "folds": site_rows(scored.of(model), scored.classes, by="fold", n_boot=n_boot, seed=seed),
        "subjects": subject_facts(scored, list(tallied), n_boot=n_boot, seed=seed),
    }


def _trust(rows: pd.DataFrame, classes: tuple[str, ...], task: Task, *, n_boot: int, seed: int) -> dict[str, Any]:
    """Return how far the main model's single answers can be relied on."""
    known = math.isfinite(task.window_s)
    return {
        "conformal": {"alpha": ALPHA, "folds": coverage(rows, classes, n_boot=n_boot, seed=seed)},
        "selective": selective(rows, classes, n_boot=n_boot, seed=seed),
        "alarms": alarms(rows, classes, window_s=task.window_s, n_boot=n_boot, seed=seed) if known else [],
    }


def _besides(sources: Sources, task: Task, *, n_boot: int, seed: int) -> dict[str, Any]:
    """Return what other files tell; None where there is none."""
    transfer = None
    if sources.transfer is not None:
        reference = sources.reference or sources.transfer.models[0].split("#")[0]
        rows, compared = transfer_table(sources.transfer, reference=reference, n_boot=n_boot, seed=seed)
        transfer = {"reference": reference, "rows": rows, "differences": compared}
    reconstruction, history = sources.reconstruction, sources.history
    return {
        "external": None
        if sources.external is None
        else external_facts(sources.external, task, n_boot=n_boot, seed=seed),
        "reconstruction": None
        if reconstruction is None
        else score_reconstruction(reconstruction, n_boot=n_boot, seed=seed),
        "history": None if history is None else history_facts(history),
        "embeddings": [
            {"meta": e.meta, "gap": domain_gap(e, seed=seed), "geometry": geometry(e, seed=seed)}
            for e in sources.embeddings
        ],
        "stress": [] if sources.stress is None else stress_curves(sources.stress, n_boot=n_boot, seed=seed),
        "transfer": transfer,
    }


def _shown(tallied: Mapping[str, Tallies]) -> list[str]:
    return [name for name in tallied if name != "chance"]


def history_facts(history: Sequence[Mapping[str, Any]]) -> dict[str, list[list[float]]]:
    """Return (step, value) points, at most 200 a curve, for every logged number whose name speaks of a loss."""
    curves: dict[str, list[list[float]]] = {}
    for i, line in enumerate(history):
        for name, value in line.items():
            if "loss" in name and isinstance(value, (int, float)) and math.isfinite(value):
                curves.setdefault(name, []).append([float(line.get("step", i)), float(value)])
    return {name: points[:: max(1, math.ceil(len(points) / _HISTORY_POINTS))] for name, points in curves.items()}


def _versions() -> dict[str, str]:
    packages = ("numpy", "pandas", "pyarrow", "scikit-learn", "scipy")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}
