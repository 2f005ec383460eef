"""make bench-ablations: what graph, contrast, spectra, positions and sample masks are worth, on the same small budget.

    python -m benchmarks.studies.ablations [--output DIR] [--shards DIR] [--seeds N] [--steps N] [--jobs N]

Each variant is pretrained with the same steps and batches on the same people, with several seeds (weights, order, crops
and masks); all fill in the same hidden samples of the same held-out people, masked in samples whatever they were
trained on, and start from the line across the gap, so that the rest is the network's own. All are evaluated by one
probe: closed against open eyes, each person left out (benchmarks.studies.probes). Finished runs are not repeated.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.harness import figure, machine
from benchmarks.studies.pretraining import long_gaps
from benchmarks.studies.probes import N_BOOT, PENALTY, across_people, eyes
from benchmarks.studies.real import UNSEEN_SITE, prepared, real_folder
from evaluation.measures.metrics import auroc
from evaluation.scenarios.reconstruction import read_reconstruction, score_reconstruction
from studies.baselines.candidates import linear
from studies.engine.bench import Bench, Method
from studies.engine.parts import Parts
from studies.engine.study import Design, run_study
from training.corpus.corpus import Corpus

VARIANTS: dict[str, tuple[str, ...]] = {
    "full": (),
    "without graph": ("--model.no-graph",),
    "without contrastive": ("--objective.contrastive", "0"),
    "without spectra": ("--objective.spectral", "0"),
    "without positions": ("--model.no-positions",),
    "masks on patches": ("--objective.mask-unit", "patches"),
}
BUDGET = (
    "--model.dim", "48", "--model.depth", "2", "--model.stem-dim", "48", "--optim.batch", "8", "--data.crop-s", "5",
    "--schedule.warmup-steps", "20", "--regularise.ema-decay", "0.98", "--track.evaluate-windows", "48",
    "--objective.filling", "line", "--track.keep", "1", "--track.save-every", "100000",
)  # fmt: skip


def train(folder: Path, shards: Path, variant: str, seed: int, steps: int) -> Path:
    """Pretrain one variant with one seed, unless it is there; returns its folder."""
    output = folder / f"{variant.replace(' ', '-')}-{seed}"
    if not (output / "reconstruction.parquet").is_file():
        command = [
            sys.executable, "-m", "training.pretrain", "--recipe", "eeg_small_cpu", "--shards", shards,
            "--exclude-sites", UNSEEN_SITE, "--output", output, "--seed", str(seed),
            "--schedule.steps", str(steps), *BUDGET, *VARIANTS[variant],
        ]  # fmt: skip
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{variant}, seed {seed}: {done.stderr[-2000:]}")
        print(f"  {variant}, seed {seed}: done", flush=True)
    return output


def reconstruction(run: Path) -> tuple[float, float]:
    """Return correlation and squared error of the model on gaps of 60 ms and more."""
    scores = score_reconstruction(read_reconstruction(run / "reconstruction.parquet"), n_boot=N_BOOT, seed=0)
    score = long_gaps(scores)["model"]
    return score.r.value, score.mse.value


def probe(runs: dict[str, list[Path]], shards: Corpus, real: Path) -> dict[str, list[float]]:
    """Return the AUROC of closed against open eyes on people left out, by variant and seed: one study of all."""
    question = across_people(eyes(shards, real), "")
    models = {name: Method(fit=linear(name), candidates=({"penalty": PENALTY},), about="linear probe") for name in runs}
    encoders = {name: [run / "encoder" for run in each] for name, each in runs.items()}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(question.data, None, Path(folder) / "logs", variants=encoders)
        n_seeds = len(next(iter(runs.values())))
        design = Design(bench=bench, folds=question.folds, models=models, parts=Parts(Path(folder), {}), seeds=n_seeds)
        frame = run_study(design)
    closed = question.data.task.classes[1]
    of_model = {name: float(auroc(rows[f"prob_{closed}"].to_numpy(), (rows["label"] == closed).to_numpy()))
                for name, rows in frame.groupby("model")}  # fmt: skip
    return {name: [of_model[row_name] for row_name in design.row_names(name).values()] for name in runs}


def main() -> None:
    """Train, fill in, probe, and print one table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("bench-output/ablations"))
    parser.add_argument("--shards", type=Path, help="real recordings, profile pretrain")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    real = real_folder()
    if real is None:
        parser.error("the probe needs labels.csv of real recordings: set CEREBEAM_REAL_DATA")
    shards = args.shards or prepared(real, args.output / "shards", profile="pretrain")
    print(machine(), f"{args.steps} steps", flush=True)
    wanted = [(variant, seed) for seed in range(args.seeds) for variant in VARIANTS]
    with ThreadPoolExecutor(args.jobs) as pool:
        runs = list(pool.map(lambda one: train(args.output, shards, *one, args.steps), wanted))
    opened = Corpus.open(shards)
    folders = dict(zip(wanted, runs, strict=True))
    eyes_of = probe({v: [folders[v, seed] for seed in range(args.seeds)] for v in VARIANTS}, opened, real)
    found = {(v, seed): (*reconstruction(run), eyes_of[v][seed]) for (v, seed), run in folders.items()}
    print("| variant | r, 60-500 ms | squared error, 60-500 ms | AUROC, eyes |\n|---|---|---|---|")
    for variant in VARIANTS:
        columns = list(zip(*(found[variant, seed] for seed in range(args.seeds)), strict=True))
        spread = [
            f"{statistics.mean(c):.3f} ± {statistics.stdev(c) if len(c) > 1 else float('nan'):.3f}" for c in columns
        ]
        print(f"| {variant} | {' | '.join(spread)} |")
        key = variant.replace(" ", "_")
        figure(f"ablation_{key}_recon_r", statistics.mean(columns[0]), "r")
        figure(f"ablation_{key}_eyes_auroc", statistics.mean(columns[2]), "auroc")


if __name__ == "__main__":
    main()
