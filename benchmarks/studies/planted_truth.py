"""make bench-planted-truth: what the encoder learns of planted truth, against ResNet1D-GRU on the same stream.

    python -m benchmarks planted-truth [--seeds 3] [--steps N] [--output DIR] [--small]

Each seed trains the recipe `eeg_truth_cpu` and its control (`model.pretraining.trunks`): the same windows in the same
order, the same patterns laid over them, the same heads. The encoder learns at the rate of that recipe, the control at
that of the recipe `resnet_gru`. Windows of 20 s come from the real recordings below CEREBEAM_REAL_DATA, without the
six-class site, or from a synthetic corpus where there are none. Both are scored on the segments of families that no
pattern comes from, over all seeds, beside what knows nothing; differences are paired over segments. Not scored: phases
and findings, of which held-out segments hold no truth. What is finished is kept.
"""

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import figure, machine, module, same_settings
from benchmarks.studies.pretraining import pretrain
from benchmarks.studies.real import prepared, real_folder
from model.pretraining.trunks import Trunk
from signals.patterns.bank import PATTERNS_FILE, SEGMENTS_FILE, Bank, HeldOut, read_arrays
from training.objectives.planting.comparison import N_BOOT, Comparison, compare
from training.objectives.planting.evaluation import TRUTH_FILE, read_answers
from training.recipes import finetuning, pretraining

RECIPE = "eeg_truth_cpu"
NAMES: dict[Trunk, str] = {"encoder": "encoder", "resnet-gru": "control_resnet_gru"}
"""Trunks and the names of their figures."""
UNITS = {"discharge_auroc": "auroc", "rate_error_octaves": "octaves", "votes_kl": "nats", "balanced_accuracy": "share"}
WINDOWS = {"window_s": "20", "hop_s": "20", "h_freq": "50"}
"""Of the profile `pretrain`: as long as the recipe's crops."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is drawn."""

    patterns: int = 3000
    held_out: int = 8
    """Segments of each class and held-out family."""
    subjects_per_site: int = 8
    """Of the synthetic corpus."""
    segments_per_subject: int = 6


SMALL = Sizes(patterns=48, held_out=1, subjects_per_site=2, segments_per_subject=2)


def recordings(output: Path, real: Path | None, sizes: Sizes) -> Path:
    """Return shards of windows to lay patterns over, made now unless they are there."""
    shards, settings = output / "shards", [f"{name}={value}" for name, value in WINDOWS.items()]
    if real is not None:
        return prepared(real, shards, profile="pretrain", settings=settings)
    print("no real recordings below CEREBEAM_REAL_DATA: patterns are laid over a synthetic corpus", flush=True)
    if not (shards / "_COMPLETED").is_file():
        module(
            "synthetic.synthesize", "--output", output / "corpus", "--subjects-per-site", str(sizes.subjects_per_site),
            "--segments-per-subject", str(sizes.segments_per_subject),
        )  # fmt: skip
        module(
            "pipelines.preprocess", "--input", output / "corpus", "--profile", "pretrain", "--salt", "synthetic",
            "--output", shards, "--site-from", "folder", *(part for one in settings for part in ("--set", one)),
        )  # fmt: skip
    return shards


def bank_of(output: Path, sizes: Sizes) -> Path:
    """Return a bank of patterns and of held-out segments, made now unless it is there."""
    bank = output / "bank"
    if not (bank / SEGMENTS_FILE).is_file():
        module("synthetic.bank", "--output", bank, "--patterns", str(sizes.patterns), "--held-out",
               str(sizes.held_out), "--jobs", "1")  # fmt: skip
    return bank


def run_folder(output: Path, trunk: Trunk, seed: int) -> Path:
    """Return the folder of one run."""
    return output / f"{NAMES[trunk]}-{seed}"


def learn(output: Path, shards: Path, bank: Path, trunk: Trunk, seed: int, more: list[str]) -> None:
    """Train one trunk with one seed, unless it is scored already; an interrupted run goes on."""
    folder = run_folder(output, trunk, seed)
    if (folder / TRUTH_FILE).is_file():
        return
    rates: dict[Trunk, float] = {
        "encoder": pretraining.RECIPES[RECIPE]().optim.learning_rate,
        "resnet-gru": finetuning.RECIPES["resnet_gru"]().optim.learning_rate,
    }
    pretrain(
        [shards], folder, recipe=RECIPE, processes=1,
        more=["--bank", str(bank), "--model.trunk", trunk, "--seed", str(seed), "--optim.learning-rate",
              str(rates[trunk]), *more],
    )  # fmt: skip


def report(output: Path, bank: Path, *, seeds: int, n_boot: int = N_BOOT) -> list[Comparison]:
    """Print every measure of both models, of what knows nothing, and the encoder less the control; return them."""
    patterns, held_out = read_arrays(bank / PATTERNS_FILE, Bank)[0], read_arrays(bank / SEGMENTS_FILE, HeldOut)[0]
    encoder, control = (
        [read_answers(run_folder(output, trunk, seed)) for seed in range(seeds)] for trunk in ("encoder", "resnet-gru")
    )
    found = compare(encoder, control, held_out, patterns, n_boot=n_boot)
    for one in found:
        unit = UNITS[one.measure]
        rows = {"encoder": one.first, "control_resnet_gru": one.second, "difference": one.difference}
        for name, estimate in rows.items():
            print(f"  {name} {one.measure}: {estimate} over {one.n_segments} segments and {seeds} seeds, standard"
                  f" deviation of seeds {estimate.seed_sd:.3f}")  # fmt: skip
            figure(f"planted_truth_{name}_{one.measure}", estimate.value, unit)
        figure(f"planted_truth_difference_{one.measure}_low", one.difference.low, unit)
        figure(f"planted_truth_difference_{one.measure}_high", one.difference.high, unit)
        figure(f"planted_truth_trivial_{one.measure}", one.trivial, unit)
    return found


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("bench-output/planted-truth"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="of each run; the recipe's without")
    parser.add_argument("--small", action="store_true", help="little data and tiny models, a few steps, to try it")
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    print(machine(), flush=True)
    same_settings(args.output, small=args.small, steps=args.steps)
    sizes = SMALL if args.small else Sizes()
    shards = recordings(args.output, None if args.small else real_folder(), sizes)
    bank = bank_of(args.output, sizes)
    more = ["--tiny"] if args.small else []
    if args.steps:
        more += ["--schedule.steps", str(args.steps)]
    for seed in range(args.seeds):
        for trunk in NAMES:
            learn(args.output, shards, bank, trunk, seed, more)
    report(args.output, bank, seeds=args.seeds)


if __name__ == "__main__":
    main()
