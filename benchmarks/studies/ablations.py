"""make bench-ablations: what parts of the encoder are worth, by whole channels and by the six classes.

    python -m benchmarks ablations [--output DIR] [--seeds N] [--only channels|classes] [--steps N] [--segments N]
                                   [--jobs N]

`channels`: each variant is pretrained to fill whole channels of real recordings, as `python -m benchmarks encoder
--only channels` does but for fewer steps, and scored on the same people held out. `classes`: each is trained end to end
from random weights on simulated segments (a corpus of its own for each seed, the same for all variants) and answers the
corpus of `benchmarks.studies.sixclass`, which another generator made. Variants have the same steps, batches and rates;
differences from the whole encoder are paired, their intervals resample people. What is finished is kept.
"""

import argparse
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.benches.parts import encoder_channels
from benchmarks.harness import figure, machine, module
from benchmarks.studies.real import real_folder
from benchmarks.studies.scratch import unit_of
from benchmarks.studies.sixclass import prepare
from evaluation.scenarios.transfer import SEED_MARK, transfer_table
from evaluation.schemas.predictions import Predictions, read_predictions
from training.fitting.fit import random_encoder
from training.objectives.skill import read_skill
from training.recipes.pretraining import eeg_tiny

FULL = "full"
SWITCHES = {"without graph": "graph", "without covariance": "covariance", "without positions": "positions"}
"""Switches of the encoder that are turned off (`model.encoder_config`)."""
VARIANTS: dict[str, dict[str, Any]] = {
    FULL: {}, **{name: {switch: False} for name, switch in SWITCHES.items()}, "one block of three": {"depth": 1}
}  # fmt: skip
"""What each variant changes in the encoder's configuration."""
EPOCHS = 4
CORPUS_SEED = 200
_N_BOOT = 2000


def slug(variant: str) -> str:
    """Return a variant's name as a part of a file's."""
    return variant.replace(" ", "-")


def at_once(jobs: int, tasks: Sequence[Callable[[], object]]) -> None:
    """Run tasks in so many threads; the first one that fails ends the bench."""
    with ThreadPoolExecutor(jobs) as pool:
        for task in [pool.submit(task) for task in tasks]:
            task.result()


def channels(output: Path, *, seeds: int, steps: int, jobs: int) -> None:
    """Print the skill of each variant on whole channels, seed by seed."""
    sets = encoder_channels.shards(output)
    runs = {
        (variant, seed): encoder_channels.Run(output, steps, seed, switch)
        for seed in range(seeds)
        for variant, switch in {FULL: "", **SWITCHES}.items()
    }
    at_once(jobs, [lambda run=run: run.train(sets) for run in runs.values()])  # type: ignore[misc]
    print(f"  {steps} steps of {encoder_channels.BATCH} windows\n| variant | skill, each seed | mean |\n|---|---|---:|")
    for variant in (FULL, *SWITCHES):
        skills = [read_skill(runs[variant, seed].encoder).channels for seed in range(seeds)]
        print(f"| {variant} | {', '.join(f'{skill:+.3f}' for skill in skills)} | {np.mean(skills):+.3f} |")
        figure(f"ablation_{variant.replace(' ', '_')}_channel_skill", float(np.mean(skills)), "share")


def begin(folder: Path, variant: str, seed: int) -> Path:
    """Write a variant's random weights as an encoder that was not pretrained, and return its folder."""
    config = eeg_tiny().model.encoder
    for name, value in VARIANTS[variant].items():
        setattr(config, name, value)
    encoder, about = random_encoder(config, seed=seed)
    encoder.save_pretrained(folder)
    (folder / "pretrain_subjects.json").write_text(json.dumps(about))
    return folder


def learn(output: Path, variant: str, seed: int, corpus: Path) -> None:
    """Train one variant on simulated segments and predict the corpus, unless that is done."""
    folder = output / "ablations" / f"{slug(variant)}-{seed}"
    file = folder / "predictions.parquet"
    if file.is_file():
        return
    if not (folder / "model" / "model.safetensors").is_file():
        module("training.finetune", "--recipe", "scratch", "--shards", corpus, "--task", "six-class", "--encoder",
               begin(folder / "random", variant, seed), "--seed", str(seed), "--schedule.epochs", str(EPOCHS),
               "--schedule.patience", str(EPOCHS), "--output", folder / "model")  # fmt: skip
    module(
        "studies.predict", "--model", folder / "model", "--shards", output / "shards" / "six-class", "--output", file
    )


def classes(output: Path, *, seeds: int, segments: int, jobs: int) -> None:
    """Train all variants with all seeds, and print what each has less than the whole encoder."""
    prepare(output)
    corpora = [output / "ablations" / f"corpus-{segments}-{seed}" for seed in range(seeds)]
    for seed, corpus in enumerate(corpora):
        if not corpus.is_dir():
            module("synthetic.critical_corpus", "--output", corpus, "--segments", str(segments), "--held-out", "0",
                   "--seed", str(CORPUS_SEED + seed))  # fmt: skip
    at_once(jobs, [
        lambda variant=variant, seed=seed: learn(output, variant, seed, corpora[seed])  # type: ignore[misc]
        for seed in range(seeds) for variant in VARIANTS
    ])  # fmt: skip
    compare(collect(output, seeds=seeds))


def collect(output: Path, *, seeds: int) -> Predictions:
    """Return the predictions of all variants and seeds."""
    rows = []
    for variant in VARIANTS:
        for seed in range(seeds):
            read = read_predictions(output / "ablations" / f"{slug(variant)}-{seed}" / "predictions.parquet")
            rows.append(read.frame.assign(model=f"{variant}{SEED_MARK}{seed}"))
    frame = pd.concat(rows, ignore_index=True).sort_values(["model", "window_key"], kind="stable")
    return Predictions(frame=frame, task=read.task, classes=read.classes, meta={})


def compare(predictions: Predictions) -> None:
    """Print one table of all variants, each less the whole encoder."""
    rows, gaps = transfer_table(predictions, reference=FULL, n_boot=_N_BOOT, seed=0)
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
    if args.only == "channels" and real_folder() is None:
        parser.error("whole channels are filled on real recordings: set CEREBEAM_REAL_DATA")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    print(machine(), flush=True)
    if args.only != "classes" and real_folder() is not None:
        channels(args.output / "channels", seeds=args.seeds, steps=args.steps, jobs=args.jobs)
    if args.only != "channels":
        classes(args.output, seeds=args.seeds, segments=args.segments, jobs=args.jobs)


if __name__ == "__main__":
    main()
