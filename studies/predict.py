"""Predictions of saved models: `python -m studies.predict --model DIR [DIR ...] --shards DIR --output F.parquet`.

Several models are members of an ensemble: each has its rows, and "mean" has those of their mean, with its uncertainty.
`--dropout-samples N` runs a single model N times with dropout left on, and reports the uncertainty of that.
"""

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evaluation.schemas.predictions import MEAN, Predictions, write_predictions
from model.saved import TaskModel, model_name
from signals.bundles.calibration import Uncertainty, decompose
from signals.command_line import Parser
from signals.files import file_sha256
from studies.engine.rows import label_meta, prediction_rows, window_rows
from training.command import run_main
from training.corpus.corpus import Corpus
from training.corpus.labelled import Labelled, labelled, task_named
from training.fitting.inference import load_on_device, predict, predict_samples
from training.provenance import pretraining_of

PROG = "studies.predict"


def predict_shards(
    folders: Sequence[Path], shards: Path, output: Path, *, dropout_samples: int = 0, command_line: str
) -> None:
    """Write predictions on every labelled window.

    Raises ValueError where channels, labels or the models' tasks do not fit each other.
    """
    models = [load_on_device(folder) for folder in folders]
    opened = Corpus.open(shards)
    _check(models, folders, opened)
    data = labelled(opened, task_named(models[0].config.task))
    if dropout_samples and len(models) > 1:
        raise ValueError(f"dropout_samples={dropout_samples} is for one model; {len(models)} are an ensemble already")
    windows = window_rows(data, np.arange(len(data.windows)))
    predicted = {name: predict(model, opened, data.windows)[0] for name, model in _named(models).items()}
    doubts: dict[str, Uncertainty] = {}
    if len(models) > 1:
        doubts[MEAN] = decompose(np.stack(list(predicted.values())))
        predicted[MEAN] = np.mean(list(predicted.values()), axis=0)
    elif dropout_samples:
        name = next(iter(predicted))
        drawn = predict_samples(models[0], opened, data.windows, n_samples=dropout_samples, seed=0)
        doubts[name], predicted[name] = decompose(drawn), drawn.mean(axis=0)
    rows = [
        prediction_rows(windows, probabilities, data.task.classes, model=name, fold="test",
                        **(doubts[name].columns() if name in doubts else {}))
        for name, probabilities in predicted.items()
    ]  # fmt: skip
    meta = {
        **_meta(models, data, command_line),
        "dropout_samples": dropout_samples,
        "models_sha256": [file_sha256(folder / "model.safetensors") for folder in folders],
    }
    frame = pd.concat(rows, ignore_index=True)
    write_predictions(output, Predictions(frame=frame, task=data.task.name, classes=data.task.classes, meta=meta))


def _check(models: Sequence[TaskModel], folders: Sequence[Path], shards: Corpus) -> None:
    first = models[0]
    for folder, model in zip(folders, models, strict=True):
        if shards.manifest.modality != model.modality:
            raise ValueError(
                f"{shards.names} holds {shards.manifest.modality.name} windows, {folder} reads {model.modality.name}"
            )
        if (model.config.task, list(model.config.classes)) != (first.config.task, list(first.config.classes)):
            raise ValueError(
                f"{folder} was made for task {model.config.task!r}, {folders[0]} for {first.config.task!r}"
            )


def _named(models: Sequence[TaskModel]) -> dict[str, TaskModel]:
    """Return models by name; one that was met before gets a number."""
    named: dict[str, TaskModel] = {}
    for model in models:
        name, number = model_name(model), 2
        while name in named:
            name, number = f"{model_name(model)}-{number}", number + 1
        named[name] = model
    return named


def _meta(models: Sequence[TaskModel], data: Labelled, command_line: str) -> dict[str, Any]:
    provenances = [model.config.provenance for model in models]
    trained = sorted({subject for one in provenances for subject in one["train_subjects"]})
    subjects = sorted(set(data.subjects.tolist()))
    fold = {
        "name": "test",
        "train_subjects": trained,
        "test_subjects": subjects,
        "train_recordings": _recordings(provenances),
        "test_recordings": sorted(set(data.recordings.tolist())),
    }
    return {
        "grouping": "apart",
        "folds": [fold],
        "manifest_digest": data.shards.manifest.digest,
        **label_meta(data),
        **pretraining_meta_of(provenances),
        "train_salt_id": "+".join(sorted({str(one.get("salt_id") or "") for one in provenances})),
        "train_overlap": len({*trained} & {*subjects}),
        "recipe": provenances[0]["recipe"] if len(models) == 1 else [one["recipe"] for one in provenances],
        "command": command_line,
    }


def _recordings(provenances: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the recordings that the members were trained on; none where one of them does not list its own."""
    lists = [one.get("train_recordings") or () for one in provenances]
    return sorted({recording for one in lists for recording in one}) if all(lists) else []


def pretraining_meta_of(provenances: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the members together were pretrained on, and whether they were."""
    pretraining = pretraining_of(provenances)
    subjects = pretraining["pretrain_subjects"]
    return {"encoder": "unknown" if subjects is None else "pretrained" if subjects else "random", **pretraining}


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = Parser(prog=PROG, description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, nargs="+", required=True, help="folders of fine-tuned models")
    parser.add_argument("--shards", type=Path, required=True, help="shard set with labels")
    parser.add_argument("--output", type=Path, required=True, help="predictions file to write")
    parser.add_argument("--dropout-samples", type=int, default=0, help="answers of one model with dropout left on")
    given = parser.parse_args(arguments)
    command_line = f"python -m {PROG} {shlex.join(arguments)}"
    run_main(
        PROG,
        lambda: predict_shards(
            given.model, given.shards, given.output, dropout_samples=given.dropout_samples, command_line=command_line
        ),
    )


if __name__ == "__main__":
    main()
