"""cerebeam score: a bundle's predictions of labelled windows, for `cerebeam report`.

    cerebeam score BUNDLE --shards DIR --output F.parquet

The windows are answered by the code that serves; their probabilities are the calibrated ones.
"""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from signals.command_line import Parser, new_file
from signals.json_output import add_json, print_json

PROG = "cerebeam score"
MODEL = "bundle"
"""The bundle's name in the predictions."""


def predictions_of(bundle_dir: Path, shards: Path, *, command_line: str) -> Any:
    """Return a bundle's predictions of every labelled window (`evaluation.schemas.predictions.Predictions`).

    Raises BundleError for no bundle with classes, ValueError for shards of another modality.
    """
    import numpy as np

    from evaluation.schemas.predictions import Predictions
    from serving.runtime import probabilities
    from signals.bundles.bundle import load_bundle
    from studies.engine.rows import label_meta, prediction_rows, window_rows
    from training.corpus.corpus import Corpus
    from training.corpus.labelled import labelled

    bundle, opened = load_bundle(bundle_dir), Corpus.open(shards)
    classes = bundle.classes
    assert bundle.task is not None  # or there were no classes
    if opened.manifest.modality.ch_names != bundle.modality.ch_names:
        raise ValueError(f"{shards} holds {opened.manifest.modality.name}, the bundle reads {bundle.modality.name}")
    data = labelled(opened, bundle.task)
    answered = [probabilities(bundle, [opened.window(int(number))])[0] for number in data.windows]
    frame = prediction_rows(
        window_rows(data, np.arange(len(data.windows))), np.stack(answered), classes, model=MODEL, fold="test"
    )
    fold = {
        "name": "test", "train_subjects": [], "test_subjects": sorted(set(data.subjects.tolist())),
        "train_recordings": [], "test_recordings": sorted({opened.entries[i].recording_id for i in data.windows}),
    }  # fmt: skip
    meta = {
        "grouping": "apart", "folds": [fold], "manifest_digest": opened.manifest.digest, "pretrain_subjects": [],
        "train_overlap": 0, "bundle": bundle.about["digest"], "command": command_line, **label_meta(data),
    }  # fmt: skip
    return Predictions(frame=frame, task=bundle.task.name, classes=classes, meta=meta)


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line; returns 0, or 2 with one line on standard error."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = Parser(prog=PROG, description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundle", type=Path, help="folder of a bundle with classes")
    parser.add_argument("--shards", type=Path, required=True, help="shard set with labels, of the bundle's modality")
    parser.add_argument("--output", type=new_file, required=True, help="predictions file to write")
    add_json(parser, "the file, and how many windows it has")
    args = parser.parse_args(arguments)
    from evaluation.schemas.predictions import write_predictions

    try:
        found = predictions_of(args.bundle, args.shards, command_line=f"{PROG} {shlex.join(arguments)}")
        write_predictions(args.output, found)
    except (ValueError, OSError) as error:
        print(f"{PROG}: {error}", file=sys.stderr)  # noqa: T201
        return 2
    if args.json:
        print_json({"output": args.output, "n_windows": len(found.frame)})
    else:
        print(f"{len(found.frame)} windows  {args.output}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
