"""What the sections of a report compute from: the files that were read, and the main model's predictions, tallied once."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from evaluation.audit.audit import BASELINES, CONTROL
from evaluation.audit.companions import Companions
from evaluation.measures.bootstrap import draws
from evaluation.measures.tallies import Tallies, tally
from evaluation.report.calibrated import Calibrated, calibrated
from evaluation.schemas.embeddings import Embeddings
from evaluation.schemas.predictions import Predictions
from signals.tasks import TASKS, Task


@dataclass(frozen=True, kw_only=True)
class Sources:
    """The files of a report; only the predictions are required."""

    predictions: Predictions
    reconstruction: pd.DataFrame | None = None
    history: Sequence[Mapping[str, Any]] | None = None
    """Lines of a training log."""
    external: Predictions | None = None
    embeddings: Sequence[Embeddings] = ()
    stress: Predictions | None = None
    transfer: Predictions | None = None
    manifest: Mapping[str, Any] | None = None
    """Manifest of the pipeline that made the windows."""
    calibration: Mapping[str, Any] | None = None
    """Content of calibration.json."""
    reference: str = ""
    """Model of the transfer file that others are compared with; its first one if empty."""
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def companions(self) -> Companions:
        """The files beside the predictions, for the audit."""
        return Companions(
            external=self.external,
            transfer=self.transfer,
            stress=self.stress,
            embeddings=self.embeddings,
            calibration=self.calibration,
        )


@dataclass(frozen=True, kw_only=True)
class Context:
    """One report's sources, task and main model, with every model's tallies and resamples."""

    sources: Sources
    scored: Predictions
    """The predictions, with the model "chance" added, and the main one calibrated where a calibration was given."""
    task: Task
    model: str
    """The model that the report is about."""
    calibrated: Calibrated | None
    """How the main model's probabilities in `scored` were calibrated; None where they are as the file gives them."""
    n_boot: int
    seed: int
    tallied: Mapping[str, Tallies] = field(repr=False)
    """Every model's tallies, the main one first, baselines last."""
    drawn: Mapping[str, Mapping[str, np.ndarray]] = field(repr=False)
    """Every model's metrics on the same resamples of subjects."""

    @property
    def rows(self) -> pd.DataFrame:
        """Rows of the main model."""
        return self.scored.of(self.model)

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes of the task, in the order of the file."""
        return self.scored.classes


def context_of(sources: Sources, *, n_boot: int, seed: int, model: str = "") -> Context:
    """Return the context of a report about `model`, or about `main_model`; raises ValueError for an unknown one."""
    if model and model not in sources.predictions.models:
        raise ValueError(
            f"model {model!r} is not in the predictions, which have {', '.join(sources.predictions.models)}"
        )
    scored = with_chance(sources.predictions)
    model = model or main_model(scored)
    applied = None if sources.calibration is None else calibrated(scored, sources.calibration, model=model)
    scored = scored if applied is None else applied.predictions
    task = TASKS.get(scored.task) or Task(name=scored.task, classes=scored.classes, window_s=math.nan)
    tallied = {name: tally(scored.of(name), scored.classes, grave=task.grave) for name in ordered(scored, model)}
    return Context(
        sources=sources,
        scored=scored,
        task=task,
        model=model,
        calibrated=applied,
        n_boot=n_boot,
        seed=seed,
        tallied=tallied,
        drawn={name: draws(tallies, n_boot=n_boot, seed=seed) for name, tallies in tallied.items()},
    )


def main_model(predictions: Predictions) -> str:
    """Return "encoder" if the file has it, else the first model that is no baseline, else the first."""
    trained = [name for name in predictions.models if name not in BASELINES and CONTROL not in name]
    return "encoder" if "encoder" in trained else (trained or list(predictions.models))[0]


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


def cohort(rows: pd.DataFrame, classes: tuple[str, ...]) -> dict[str, Any]:
    """Return how many windows, recordings, subjects and sites one model's rows have, and of which classes."""
    counts, subjects = rows["label"].value_counts(), rows.groupby("label")["subject_id"].nunique()
    return {
        "n_windows": len(rows),
        "n_recordings": rows["recording_id"].nunique(),
        "n_subjects": rows["subject_id"].nunique(),
        "n_sites": rows["site_id"].nunique(),
        "class_windows": {name: int(counts.get(name, 0)) for name in classes},
        "class_subjects": {name: int(subjects.get(name, 0)) for name in classes},
    }
