"""Calibrated probabilities of the main model, as the shipped one gives them: of each fold by what the others fitted."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from evaluation.measures.calibration import cross_temperatures
from evaluation.schemas.predictions import Predictions, probabilities, targets
from signals.bundles.calibration import tempered

_PATIENT_FOLDS = 5


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """Predictions with one model's probabilities calibrated, and the temperatures that did it."""

    predictions: Predictions
    temperatures: tuple[float, ...]
    """Fitted on the other folds, or on other patients where there is one fold; in rising order, each once."""
    by: str
    """"folds" or "patients": what was left out."""
    raw: pd.DataFrame = field(repr=False)
    """The model's rows before, in order of window_key."""


def calibrated(predictions: Predictions, calibration: Mapping[str, Any], *, model: str) -> Calibrated | None:
    """Return predictions whose `model` is calibrated on what each fold did not see; None where that cannot be.

    The temperature that is shipped was fitted on these very windows, so it would make them look better than the windows
    of a new patient: each fold gets that of the others. None where the calibration is of another model, or there is
    only one patient.
    """
    fitted = calibration.get("fitted_on") or {}
    if fitted.get("model", model) != model:
        return None
    raw = predictions.of(model)
    by = "folds" if raw["fold"].nunique() > 1 else "patients"
    groups = raw["fold" if by == "folds" else "subject_id"].to_numpy(dtype=str)
    n_groups = len(np.unique(groups))
    if n_groups < 2:
        return None
    prob = probabilities(raw, predictions.classes)
    found = cross_temperatures(
        prob, _fitted_to(raw, predictions.classes, calibration), groups,
        n_folds=n_groups if by == "folds" else _PATIENT_FOLDS, seed=0,
    )  # fmt: skip
    changed = np.stack([tempered(row, float(t)) for row, t in zip(prob, found, strict=True)])
    rest = predictions.frame[predictions.frame["model"] != model]
    frame = pd.concat([with_probabilities(raw, changed, predictions.classes), rest], ignore_index=True)
    return Calibrated(
        predictions=dataclasses.replace(predictions, frame=frame),
        temperatures=tuple(float(t) for t in np.unique(found)),
        by=by,
        raw=raw,
    )


def shipped(predictions: Predictions, calibration: Mapping[str, Any] | None, *, model: str) -> Predictions:
    """Return another file's predictions with `model` divided by the temperature that is shipped, if it holds it."""
    if calibration is None or model not in predictions.models:
        return predictions
    rows = predictions.of(model)
    prob = tempered(probabilities(rows, predictions.classes), float(calibration.get("temperature") or 1.0))
    rest = predictions.frame[predictions.frame["model"] != model]
    frame = pd.concat([with_probabilities(rows, prob, predictions.classes), rest], ignore_index=True)
    return dataclasses.replace(predictions, frame=frame)


def with_probabilities(rows: pd.DataFrame, prob: np.ndarray, classes: tuple[str, ...]) -> pd.DataFrame:
    """Return rows with other probabilities, shape (n_windows, n_classes)."""
    return rows.assign(**{f"prob_{name}": prob[:, k] for k, name in enumerate(classes)})


def _fitted_to(rows: pd.DataFrame, classes: tuple[str, ...], calibration: Mapping[str, Any]) -> np.ndarray:
    if calibration.get("fitted_to", "votes") == "votes":
        return targets(rows, classes)
    return np.eye(len(classes))[rows["label"].map({name: k for k, name in enumerate(classes)}).to_numpy(dtype=np.int64)]
