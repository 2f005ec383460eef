"""Predictions on disk: the only thing that evaluation knows of a model.

A predictions file is Parquet with one row per window and model, and the task in its metadata:

    window_key, recording_id, subject_id, site_id, fold   text
    model                                                  text: name of the model ("encoder", "prior", ...)
    label                                                  text: the hard class, or the class of most votes
    n_votes (may be missing)                               float: expert votes on the window, 0 for a hard label
    target_<class>                                         float: the vote distribution (one-hot for hard labels)
    prob_<class>                                           float: the model's probabilities

Optional columns, each the same for every model of a window:

    content_hash, fingerprint      what is recognised of the window (evaluation.audit.fingerprint)
    start_s, hop_s                 float: onset of the window in its recording, and the time until the next one, seconds
    person_id                      text: an identity that is the same at every site, where the user allows one
    device, file_order, amplitude_uv, mains_db, noise_db
                                   what labels may be confounded with (evaluation.audit.confounds)

Metadata that reports rely on is described, with its defaults, in `evaluation.schemas.origin`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from evaluation.schemas.origin import Origin, origin_of
from evaluation.schemas.parquet import read_parquet, write_parquet
from signals.tasks import NO_CLASS, SEPARATOR, is_multilabel

ID_COLUMNS = ("window_key", "recording_id", "subject_id", "site_id", "fold", "model", "label")
TIME_COLUMNS = ("start_s", "hop_s")
MEAN, PRIOR = "mean", "prior"
"""Names of the mean of the other models of a file, and of what answers the training side's mean target."""


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Out-of-fold predictions of one or more models on one task."""

    frame: pd.DataFrame = field(repr=False)
    task: str
    classes: tuple[str, ...]
    meta: dict[str, Any] = field(default_factory=dict)
    """Entries of `evaluation.schemas.origin`, and config, seed and command of the writer."""

    @property
    def origin(self) -> Origin:
        """Where the predictions come from, as far as the metadata states it."""
        return origin_of(self.meta)

    def of(self, model: str) -> pd.DataFrame:
        """Return the rows of one model, in order of `window_key`."""
        rows = self.frame[self.frame["model"] == model]
        return rows.sort_values("window_key", kind="stable").reset_index(drop=True)

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models, in order of first appearance."""
        return tuple(dict.fromkeys(self.frame["model"]))


def targets(frame: pd.DataFrame, classes: tuple[str, ...]) -> np.ndarray:
    """Return target distributions, float64, shape (n_windows, n_classes)."""
    return frame[[f"target_{name}" for name in classes]].to_numpy(dtype=np.float64)


def probabilities(frame: pd.DataFrame, classes: tuple[str, ...]) -> np.ndarray:
    """Return predicted distributions, float64, shape (n_windows, n_classes)."""
    return frame[[f"prob_{name}" for name in classes]].to_numpy(dtype=np.float64)


def check(predictions: Predictions) -> None:
    """Raise ValueError where rows contradict the contract: columns, sums of probabilities, labels, repeated windows."""
    check_rows(predictions, columns=ID_COLUMNS, key=("model", "window_key"))
    origin_of(predictions.meta)
    check_times(predictions.frame)


def check_times(frame: pd.DataFrame) -> None:
    """Raise ValueError for windows that have an onset without a hop, or either of them undefined or not positive."""
    given = [name for name in TIME_COLUMNS if name in frame.columns]
    if len(given) == 1:
        raise ValueError(f"predictions have the column {given[0]}, but not both of {', '.join(TIME_COLUMNS)}")
    if given and not (np.isfinite(frame[given].to_numpy(dtype=np.float64)).all() and (frame["hop_s"] > 0).all()):
        raise ValueError("start_s and hop_s must be finite, and hop_s above 0")


def check_rows(predictions: Predictions, *, columns: Sequence[str], key: Sequence[str]) -> None:
    """Raise ValueError unless rows have `columns`, distributions, and known labels, and `key` is unique."""
    frame, classes = predictions.frame, predictions.classes
    wanted = [*columns, *(f"target_{c}" for c in classes), *(f"prob_{c}" for c in classes)]
    missing = [column for column in wanted if column not in frame.columns]
    if missing:
        raise ValueError(f"predictions are missing the columns {missing}")
    if frame.empty:
        raise ValueError("predictions hold no rows")
    empty = [column for column in columns if column in ID_COLUMNS and (frame[column] == "").any()]
    if unfilled := [column for column in columns if column in empty or frame[column].isna().any()]:
        raise ValueError(f"predictions have rows without a value in the columns {unfilled}")
    for name, values in (("prob", probabilities(frame, classes)), ("target", targets(frame, classes))):
        sums = values.sum(axis=1)
        off = (values > 1).any(axis=1) if is_multilabel(predictions.task) else np.abs(sums - 1.0) > 1e-4
        bad = ~np.isfinite(values).all(axis=1) | (values < 0).any(axis=1) | off
        if bad.any():
            row = frame.iloc[int(np.flatnonzero(bad)[0])]
            raise ValueError(
                f"{name}_* of window {row['window_key']} ({row['model']}) sums to {sums[bad][0]}, or has a "
                "negative or undefined entry: it is not a distribution, or not probabilities"
            )
    parts = {part for label in frame["label"] for part in label.split(SEPARATOR)}
    unknown = sorted((parts - {NO_CLASS} if is_multilabel(predictions.task) else set(frame["label"])) - set(classes))
    if unknown:
        raise ValueError(f"labels {unknown} are not classes of task {predictions.task!r} {list(classes)}")
    repeated = frame.duplicated(list(key))
    if repeated.any():
        row = frame[repeated].iloc[0]
        raise ValueError(f"window {row['window_key']} was predicted more than once by {row['model']}")


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write a predictions file atomically; raises ValueError for rows that contradict the contract."""
    check(predictions)
    write_rows(path, predictions, kind="predictions")


def write_rows(path: Path, predictions: Predictions, *, kind: str) -> None:
    """Write checked rows as a file of this kind."""
    table = pa.Table.from_pandas(predictions.frame, preserve_index=False)
    meta = {"task": predictions.task, "classes": list(predictions.classes), "meta": predictions.meta}
    write_parquet(path, table, kind=kind, meta=meta)


def read_predictions(path: Path) -> Predictions:
    """Read and check a predictions file; raises ValueError if it is not one."""
    predictions = read_rows(path, kind="predictions")
    check(predictions)
    return predictions


def read_rows(path: Path, *, kind: str) -> Predictions:
    """Read the rows of a file of this kind, unchecked."""
    table, meta = read_parquet(path, kind=kind)
    return Predictions(frame=table.to_pandas(), task=meta["task"], classes=tuple(meta["classes"]), meta=meta["meta"])
