"""make bench-simulated: what simulated labels are worth as a start, for the encoder and for ResNet1D-GRU.

    python -m benchmarks simulated [--output DIR] [--seeds N] [--segments N] [--beside NAME ...] [--small]

Each seed has segments of its own, drawn from the families to learn from on simulated backgrounds
(`synthetic.critical_corpus`); both models are trained on them. Then both answer the corpus of
`benchmarks.studies.six_classes.sixclass`, which another generator made: as they are, and after going on from there on
three of its sites, answering the fourth, at 0.3 of the rate. With `python -m benchmarks scratch --output DIR` run
before, models of random weights stand beside them. `--beside efficientnet_b3` trains the full network on the segments
of seed 0 too, and lets it answer as it is. Differences are paired, their intervals resample subjects. What is finished
is kept.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import figure, machine, module, same_settings
from benchmarks.studies.six_classes.scratch import N_BOOT, NAMES, pooled, unit_of
from benchmarks.studies.six_classes.sixclass import prepare, side_by_side
from evaluation.scenarios.transfer import SEED_MARK, transfer_table
from evaluation.schemas.predictions import Predictions, read_predictions
from training.recipes.finetuning import RECIPES

EPOCHS, EPOCHS_ON = 4, 4
SLOWER = 0.3
"""Rate of going on, as a share of the recipe's: what recipes take for a second stage."""
CORPUS_SEED = 100
CONTROL = "resnet_gru"
BESIDE = {"efficientnet_b3": "control_efficientnet_b3"}
"""Networks that need a GPU, or an hour of a core; seed 0 alone, as they are alone."""


def seed_folder(output: Path, seed: int) -> Path:
    """Return the folder of one seed."""
    return output / "simulated" / f"seed{seed}"


def learn(output: Path, seed: int, *, segments: int, epochs: int, beside: Sequence[str] = ()) -> None:
    """Draw a seed's segments and train both models on them, and those beside."""
    folder = seed_folder(output, seed)
    same_settings(folder, segments=segments, epochs=epochs)
    if not (folder / "corpus" / "_COMPLETED").is_file():
        module("synthetic.critical_corpus", "--output", folder / "corpus", "--segments", str(segments),
               "--held-out", "0", "--seed", str(CORPUS_SEED + seed))  # fmt: skip
    lanes = [
        [("training.finetune", "--recipe", name, "--shards", folder / "corpus", "--task", "six-class", "--no-encoder",
          "--seed", str(seed), "--schedule.epochs", str(epochs), "--schedule.patience", str(epochs), "--output",
          folder / name)]
        for name in (*NAMES, *beside) if not (folder / name / "model.safetensors").is_file()
    ]  # fmt: skip
    if lanes:
        side_by_side(*lanes)


def answer(output: Path, seed: int, *, epochs: int, beside: Sequence[str] = ()) -> None:
    """Predict the corpus with all models as they are, and with both after going on without a site."""
    folder, shards = seed_folder(output, seed), output / "shards" / "six-class"
    lanes = []
    for name in (*NAMES, *beside):
        as_is, on = files(output, seed, name)
        rate = str(SLOWER * RECIPES[name]().optim.learning_rate)
        lanes.append(
            [("studies.predict", "--model", folder / name, "--shards", shards, "--output", as_is)]
            * (not as_is.is_file())
            + [("studies.crossval", "--shards", shards, "--task", "six-class", "--group", "site", "--recipes", name,
                "--start-from", folder / name, "--seed", str(seed), "--optim.learning-rate", rate, "--schedule.epochs",
                str(epochs), "--schedule.patience", str(epochs), "--output", on)]
            * (name in NAMES and not on.is_file())
        )  # fmt: skip
    side_by_side(*filter(None, lanes))


def files(output: Path, seed: int, name: str) -> tuple[Path, Path]:
    """Return the predictions of a model as it is, and after going on."""
    folder = seed_folder(output, seed)
    return folder / f"{name}-as-is.parquet", folder / f"{name}-on" / "predictions.parquet"


def collect(output: Path, *, seeds: int, beside: Sequence[str] = ()) -> Predictions:
    """Return the rows of all, models of random weights too where they were made."""
    rows = [read_predictions(files(output, 0, name)[0]).frame.assign(model=f"as-is/{BESIDE[name]}{SEED_MARK}0")
            for name in beside]  # fmt: skip
    for seed in range(seeds):
        for name in NAMES:
            for kind, file in zip(("as-is", "on"), files(output, seed, name), strict=True):
                frame = read_predictions(file).frame
                frame = frame[frame["model"] != "prior"]
                rows.append(frame.assign(model=f"{kind}/{NAMES[name]}{SEED_MARK}{seed}"))
    first = read_predictions(files(output, 0, CONTROL)[1])
    rows.append(first.of("prior"))
    scratch = output / f"scratch-{seeds}.parquet"
    if scratch.is_file():
        frame = read_predictions(scratch).frame
        ways = frame["model"].str.split(SEED_MARK).str
        for name, ours in NAMES.items():
            rows += [frame[ways[0] == name].assign(model="random/" + ours + SEED_MARK + ways[-1][ways[0] == name])]
    return pooled(rows, first)


def compare(predictions: Predictions) -> None:
    """Print all models, and each less the ResNet1D-GRU that started as it did."""
    for kind in sorted({model.split("/")[0] for model in predictions.models} - {"prior"}):
        rows, gaps = transfer_table(predictions, reference=f"{kind}/{NAMES[CONTROL]}", n_boot=N_BOOT, seed=0)
        for row in rows:
            if row.model.startswith(kind) or (row.model == "prior" and kind == "as-is"):
                for metric in ("balanced_accuracy", "kl"):
                    one = row.metrics[metric]
                    print(f"  {row.model} {metric}: {one.value:.3f} [{one.low:.3f}, {one.high:.3f}] over {row.n_seeds}"
                          f" seeds, standard deviation {row.seed_sd[metric]:.3f}")  # fmt: skip
                    figure(f"simulated_{row.model.replace('/', '_')}_{metric}", one.value, unit_of(metric))
        for gap in gaps:
            if gap.metric in ("balanced_accuracy", "kl") and gap.model.endswith(("encoder", *BESIDE)):
                print(f"  {gap.model} less {gap.reference}, {gap.metric}: {gap.value:+.3f} [{gap.low:+.3f},"
                      f" {gap.high:+.3f}]")  # fmt: skip


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("bench-output/sixclass"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--segments", type=int, default=6000, help="simulated segments of a seed")
    parser.add_argument(
        "--beside", nargs="+", choices=BESIDE, default=(), help="networks to train beside, seed 0 alone"
    )
    parser.add_argument("--small", action="store_true", help="one epoch each, to try it")
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    print(machine(), flush=True)
    prepare(args.output)
    for seed in range(args.seeds):
        beside = () if seed else args.beside
        learn(args.output, seed, segments=args.segments, epochs=1 if args.small else EPOCHS, beside=beside)
        answer(args.output, seed, epochs=1 if args.small else EPOCHS_ON, beside=beside)
    compare(collect(args.output, seeds=args.seeds, beside=args.beside))


if __name__ == "__main__":
    main()
