"""make bench-ablations: what parts of the encoder are worth, by whole channels and by the six classes.

    python -m benchmarks ablations [--output DIR] [--seeds N] [--only channels|classes] [--steps N] [--segments N]
                                   [--jobs N]

`channels`: each variant is pretrained to fill whole channels of real recordings, as `python -m benchmarks encoder
--only channels` does but for fewer steps, and scored on the same people held out. `classes`: each is trained end to end
from random weights on simulated segments (a corpus of its own for each seed, the same for all variants) and answers the
corpus of `benchmarks.studies.six_classes.sixclass`, which another generator made. Variants have the same steps, batches
and rates; differences from the whole encoder are paired, their intervals resample people. What is finished is kept.
"""

import argparse
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.benches.parts import encoder_channels
from benchmarks.harness import figure, machine, module
from benchmarks.studies.real import real_folder
from benchmarks.studies.six_classes.scratch import N_BOOT, pooled, unit_of
from benchmarks.studies.six_classes.sixclass import prepare
from evaluation.scenarios.transfer import SEED_MARK, transfer_table
from evaluation.schemas.predictions import Predictions, read_predictions
from training.fitting.fit import random_encoder
from training.objectives.skill import read_skill
from training.provenance import SUBJECTS_FILE
from training.recipes.pretraining import eeg_tiny
from training.recipes.sections import changed

FULL = "full"
SWITCHES = {"without graph": "graph", "without covariance": "covariance", "without positions": "positions"}
"""Switches of the encoder that are turned off (`model.encoder_config`)."""
VARIANTS: dict[str, dict[str, Any]] = {
    FULL: {}, **{name: {switch: False} for name, switch in SWITCHES.items()}, "one block of three": {"depth": 1}
}  # fmt: skip
"""What each variant changes in the encoder's configuration."""
EPOCHS = 4
CORPUS_SEED = 200


def slug(variant: str) -> str:
    """Return a variant's name as a part of a file's."""
    return variant.replace(" ", "-")


def channels(output: Path, *, seeds: int, steps: int, jobs: int) -> None:
    """Print the skill of each variant on whole channels, seed by seed."""
    sets = encoder_channels.shards(output)
    runs = {
        (variant, seed): encoder_channels.Run(output, steps, seed, switch)
        for seed in range(seeds)
        for variant, switch in {FULL: "", **SWITCHES}.items()
    }
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(lambda run: run.train(sets), runs.values()))
    print(f"  {steps} steps of {encoder_channels.BATCH} windows")
    print("| variant | skill of each seed, 95% over people | mean |\n|---|---|---:|")
    for variant in (FULL, *SWITCHES):
        skills = [read_skill(runs[variant, seed].encoder) for seed in range(seeds)]
        mean = float(np.mean([skill.channels for skill in skills]))
        each = (s.shown("channels") for s in skills)
        print(f"| {variant} | {', '.join(each)} | {mean:+.3f} |")
        figure(f"ablation_{variant.replace(' ', '_')}_channel_skill", mean, "share")


def begin(folder: Path, variant: str, seed: int) -> Path:
    """Write a variant's random weights as an encoder that was not pretrained, and return its folder."""
    encoder, about = random_encoder(changed(eeg_tiny(), model=VARIANTS[variant]).model.encoder, seed=seed)
    encoder.save_pretrained(folder)
    (folder / SUBJECTS_FILE).write_text(json.dumps(about))
    return folder


def predicted(output: Path, variant: str, seed: int) -> Path:
    """Return the file of a variant's predictions."""
    return output / f"{slug(variant)}-{seed}" / "predictions.parquet"


def learn(output: Path, variant: str, seed: int, *, corpus: Path, sites: Path) -> None:
    """Train one variant on simulated segments and predict the sites, unless that is done."""
    file = predicted(output, variant, seed)
    folder = file.parent
    if file.is_file():
        return
    if not (folder / "model" / "model.safetensors").is_file():
        module("training.finetune", "--recipe", "scratch", "--shards", corpus, "--task", "six-class", "--encoder",
               begin(folder / "random", variant, seed), "--seed", str(seed), "--schedule.epochs", str(EPOCHS),
               "--schedule.patience", str(EPOCHS), "--output", folder / "model")  # fmt: skip
    module("studies.predict", "--model", folder / "model", "--shards", sites, "--output", file)


def classes(output: Path, *, seeds: int, segments: int, jobs: int) -> None:
    """Train all variants with all seeds, and print what each has less than the whole encoder."""
    prepare(output)
    sites, output = output / "shards" / "six-class", output / "ablations" / f"segments-{segments}"
    corpora = [output / f"corpus-{seed}" for seed in range(seeds)]
    for seed, corpus in enumerate(corpora):
        if not (corpus / "_COMPLETED").is_file():
            module("synthetic.critical_corpus", "--output", corpus, "--segments", str(segments), "--held-out", "0",
                   "--seed", str(CORPUS_SEED + seed))  # fmt: skip
    runs = [(variant, seed) for seed in range(seeds) for variant in VARIANTS]
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(lambda run: learn(output, *run, corpus=corpora[run[1]], sites=sites), runs))
    compare(collect(output, seeds=seeds))


def collect(output: Path, *, seeds: int) -> Predictions:
    """Return the predictions of all variants and seeds."""
    rows = []
    for variant in VARIANTS:
        for seed in range(seeds):
            read = read_predictions(predicted(output, variant, seed))
            rows.append(read.frame.assign(model=f"{variant}{SEED_MARK}{seed}"))
    return pooled(rows, read)


def compare(predictions: Predictions) -> None:
    """Print one table of all variants, each less the whole encoder."""
    rows, gaps = transfer_table(predictions, reference=FULL, n_boot=N_BOOT, seed=0)
    less = {(gap.model, gap.metric): f"{gap.value:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]" for gap in gaps}
    print("| variant | balanced accuracy | less full | KL | less full |\n|---|---:|---:|---:|---:|")
    for row in sorted(rows, key=lambda row: list(VARIANTS).index(row.model)):
        cells = []
        for metric in ("balanced_accuracy", "kl"):
            cells += [f"{row.metrics[metric].value:.3f}", less.get((row.model, metric), "")]
            figure(f"ablation_{row.model.replace(' ', '_')}_{metric}", row.metrics[metric].value, unit_of(metric))
        print(f"| {row.model} | {' | '.join(cells)} |")


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("bench-output/sixclass"))
    parser.add_argument("--only", choices=("channels", "classes"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=encoder_channels.FULL_STEPS // 3, help="of whole channels")
    parser.add_argument("--segments", type=int, default=480, help="simulated segments of a seed")
    parser.add_argument("--jobs", type=int, default=2, help="processes side by side")
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    print(machine(), flush=True)
    if args.only != "classes" and real_folder() is None:
        print("  channels: no real recordings; set CEREBEAM_REAL_DATA")
    elif args.only != "classes":
        channels(args.output / "channels", seeds=args.seeds, steps=args.steps, jobs=args.jobs)
    if args.only != "channels":
        classes(args.output, seeds=args.seeds, segments=args.segments, jobs=args.jobs)


if __name__ == "__main__":
    main()
