"""Predictions of a pattern reader: `python -m studies.pattern_predict --reader DIR --shards DIR --output F.parquet`.

Labelled windows only, as `studies.predict` does; `evaluation.report` reads the file.
"""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from evaluation.schemas.predictions import Predictions, write_predictions
from model.patterns.reader import PatternReader
from signals.command_line import Parser
from signals.modality import EEG_1020
from signals.tasks import SIX_CLASS
from studies.baselines.patterns import pattern_table
from studies.engine.rows import label_meta, prediction_rows, window_rows
from training.command import run_main
from training.corpus.corpus import Corpus
from training.corpus.labelled import labelled

PROG = "cerebeam pattern-predict"


def predict_shards(reader_dir: Path, shards: Path, output: Path, *, command_line: str) -> None:
    """Write the reader's predictions on every labelled window; raises ValueError where channels or features differ."""
    reader, opened = PatternReader.load(reader_dir), Corpus.open(shards)
    if opened.manifest.modality.ch_names != EEG_1020.ch_names:
        raise ValueError(f"{shards} holds {opened.manifest.modality.name} windows, the reader reads {EEG_1020.name}")
    data = labelled(opened, SIX_CLASS)
    names, values = pattern_table(opened, data.windows)
    if names != reader.names:
        raise ValueError(f"{reader_dir} was made with other features than this code has: fit it again")
    rows = prediction_rows(
        window_rows(data, np.arange(len(data.windows))), reader.of_features(values), SIX_CLASS.classes,
        model="pattern-reader", fold="test",
    )  # fmt: skip
    fold = {
        "name": "test", "train_subjects": [], "test_subjects": sorted(set(data.subjects.tolist())),
        "train_recordings": [], "test_recordings": sorted({opened.entries[i].recording_id for i in data.windows}),
    }  # fmt: skip
    meta = {
        "grouping": "apart", "folds": [fold], "manifest_digest": opened.manifest.digest, "pretrain_subjects": [],
        "train_overlap": 0, "recipe": dict(reader.about), "command": command_line, **label_meta(data),
    }  # fmt: skip
    write_predictions(output, Predictions(frame=rows, task=SIX_CLASS.name, classes=SIX_CLASS.classes, meta=meta))


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = Parser(prog=PROG, description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--reader", type=Path, required=True, help="folder that studies.synthetic_to_real left")
    parser.add_argument("--shards", type=Path, required=True, help="shard set with labels, profile six-class")
    parser.add_argument("--output", type=Path, required=True, help="predictions file to write")
    given = parser.parse_args(arguments)
    command_line = f"{PROG} {shlex.join(arguments)}"
    run_main(PROG, lambda: predict_shards(given.reader, given.shards, given.output, command_line=command_line))


if __name__ == "__main__":
    main()
