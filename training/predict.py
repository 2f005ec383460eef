"""Predictions of a saved model: `python -m training.predict --model DIR --shards DIR --output F.parquet`."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from evaluation.predictions import Predictions, write_predictions
from model.classifier import Classifier
from signals.command_line import Parser
from training.command import check_model_dir, run_main
from training.data import Shards
from training.fit import predict
from training.labelled import labelled, task_named
from training.loso import prediction_rows, window_rows


def predict_shards(model: Path, shards: Path, output: Path, *, told: str) -> None:
    """Write the model's predictions on every labelled window; raises ValueError where channels or labels do not fit."""
    classifier = Classifier.from_pretrained(check_model_dir(model), local_files_only=True)
    opened = Shards(shards)
    if opened.manifest.modality != classifier.modality:
        raise ValueError(
            f"{shards} holds {opened.manifest.modality.name} windows, the model reads {classifier.modality.name}"
        )
    data = labelled(opened, task_named(classifier.config.task))
    probabilities, _ = predict(classifier, opened, data.windows)
    provenance = classifier.config.provenance
    trained, asked = set(provenance["train_subjects"]), set(data.subjects.tolist())
    recordings = sorted({opened.entries[i].recording_id for i in data.windows})
    fold = {
        "name": "test",
        "train_subjects": sorted(trained),
        "test_subjects": sorted(asked),
        "train_recordings": [],
        "test_recordings": recordings,
    }
    meta = {
        "grouping": "apart",
        "folds": [fold],
        "manifest_digest": opened.manifest.digest,
        "pretrain_subjects": provenance["pretrain_subjects"],
        "train_overlap": len(trained & asked),
        "recipe": provenance["recipe"],
        "command": told,
    }
    windows = window_rows(data, np.arange(len(data.windows)))
    rows = prediction_rows(windows, probabilities, data.task.classes, model="encoder", fold="test")
    write_predictions(output, Predictions(frame=rows, task=data.task.name, classes=data.task.classes, meta=meta))


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    prog = "training.predict"
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = Parser(prog=prog, description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder of a fine-tuned model")
    parser.add_argument("--shards", type=Path, required=True, help="shard set with labels")
    parser.add_argument("--output", type=Path, required=True, help="predictions file to write")
    given = parser.parse_args(arguments)
    told = f"python -m {prog} {shlex.join(arguments)}"
    run_main(prog, lambda: predict_shards(given.model, given.shards, given.output, told=told))


if __name__ == "__main__":
    main()
