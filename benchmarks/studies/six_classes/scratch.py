"""make bench-scratch: the encoder trained end to end from random weights beside ResNet1D-GRU, on synthetic segments.

    python -m benchmarks scratch [--output DIR] [--seeds N] [--jobs N] [--curve] [--small]

The corpus of `benchmarks.studies.six_classes.sixclass`: 768 segments of 256 subjects at four sites, one of which is
left out at a time. Both models have the same epochs, patience and augmentation, are trained in the same run, and are
never chosen by the left-out site. Figures are means over seeds; differences are paired, their intervals resample
subjects.
`--curve`: both from 8, 16, 32 and 64 subjects too; the table is of all 192 of three sites.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from benchmarks.harness import figure, machine, module
from benchmarks.studies.six_classes.sixclass import prepare
from evaluation.scenarios.transfer import TransferRow, transfer_table
from evaluation.schemas.predictions import Predictions, read_predictions
from training.recipes.finetuning import RECIPES

NAMES = {"scratch": "scratch_encoder", "resnet_gru": "scratch_control_resnet_gru"}
PEOPLE = (8, 16, 32, 64)
N_BOOT = 2000


def trained(output: Path, *, seeds: int, jobs: int, small: bool) -> Path:
    """Return the out-of-fold predictions of both models, made now unless they are there."""
    file = output / f"scratch-{'small-' if small else ''}{seeds}.parquet"
    if not file.is_file():
        module(
            "studies.crossval", "--shards", output / "shards" / "six-class", "--task", "six-class", "--no-encoder",
            "--group", "site", "--recipes", *NAMES, "--seeds", str(seeds), "--jobs", str(jobs), "--output", file,
            *(("--schedule.epochs", "1") if small else ()),
        )  # fmt: skip
    return file


def compare(file: Path) -> None:
    """Print both models and their paired difference."""
    predictions = read_predictions(file)
    rows, differences = transfer_table(predictions, reference="resnet_gru", n_boot=N_BOOT, seed=0)
    for row in rows:
        if row.model in NAMES:
            show(NAMES[row.model], row)
    for gap in differences:
        if gap.model == "scratch" and gap.metric in ("balanced_accuracy", "kl"):
            print(f"  encoder less ResNet1D-GRU, {gap.metric}: {gap.value:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]")
            figure(f"scratch_encoder_less_resnet_gru_{gap.metric}", gap.value, unit_of(gap.metric))


def show(name: str, row: TransferRow) -> None:
    """Print balanced accuracy and KL of one model, means over its seeds."""
    for metric in ("balanced_accuracy", "kl"):
        estimate = row.metrics[metric]
        spread = f"over {row.n_seeds} seeds, standard deviation {row.seed_sd[metric]:.3f}"
        print(f"  {name} {metric}: {estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}] {spread}")
        figure(f"synthetic_{name}_{metric}", estimate.value, unit_of(metric))


def pooled(frames: Sequence[pd.DataFrame], like: Predictions) -> Predictions:
    """Return the rows of several runs on the same windows as predictions of one task, for paired differences."""
    frame = pd.concat(frames, ignore_index=True).sort_values(["model", "window_key"], kind="stable")
    return Predictions(frame=frame, task=like.task, classes=like.classes, meta={})


def unit_of(metric: str) -> str:
    """Return the unit of a figure."""
    return "nats" if metric == "kl" else "share"


def curve(output: Path, *, seeds: int, jobs: int) -> None:
    """Print both models at every number of people."""
    file = output / f"scratch-curve-{seeds}.parquet"
    if not file.is_file():
        module(
            "studies.crossval", "--shards", output / "shards" / "six-class", "--task", "six-class", "--no-encoder",
            "--group", "site", "--recipes", *NAMES, "--subjects", *map(str, PEOPLE), "--seeds", str(seeds),
            "--jobs", str(jobs), "--output", file,
        )  # fmt: skip
    rows, _ = transfer_table(read_predictions(file), reference="prior", n_boot=N_BOOT, seed=0)
    for row in rows:
        model, _, people = row.model.partition("@")
        if people.isdigit():
            show(f"{NAMES[model]}_{people}_people", row)


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("bench-output/sixclass"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1, help="processes side by side")
    parser.add_argument("--curve", action="store_true", help="the label curve as well")
    parser.add_argument("--small", action="store_true", help="one epoch, to try it")
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    print(machine(), flush=True)
    prepare(args.output)
    recipe = RECIPES["scratch"]()
    n_trained = round(576 * (1 - recipe.data.validation_share)) * recipe.schedule.epochs
    print(f"  budget: at most {n_trained} windows seen a fold by either model, less where patience ends")
    compare(trained(args.output, seeds=args.seeds, jobs=args.jobs, small=args.small))
    if args.curve:
        curve(args.output, seeds=args.seeds, jobs=args.jobs)


if __name__ == "__main__":
    main()
