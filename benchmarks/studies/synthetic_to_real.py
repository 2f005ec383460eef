"""make bench-synthetic-to-real: six classes on real intensive-care segments, from synthetic labels alone.

    python -m benchmarks.studies.synthetic_to_real [--output DIR] [--segments N] [--held-out N] [--network]

Real recordings of CEREBEAM_REAL_DATA are prepared without labels; all but the test site become backgrounds and the
encoder's pretraining. Models learn from generators, are chosen on other generators, and then predict once the
24 real segments, whose subjects are unknown, so that segments are what is resampled. Last, with real labels:
leave-one-out over the same 24 on frozen embeddings, which is weak evidence (four segments a class).
"""

import argparse
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.harness import figure, machine, module
from benchmarks.studies.real import CARDS
from evaluation.measures.metrics import balanced_accuracy, confusion_matrix, kl_rows, predicted_shares
from evaluation.schemas.predictions import probabilities, read_predictions, targets
from signals.tasks import SIX_CLASS

JUDGED = "boston-iiic-sparcnet"
CARRIER_SITES = (
    "carried=albany-eegmmidb,kyiv-eegmat,tehran-adhd,bissau-emotiv",
    "unseen-sites=frankfurt-rest,sandiego-eeglab,leipzig-lemon,neonatal-stevenson",
    "faint-and-uneven=frankfurt-rest,sandiego-eeglab",
)
"""Whose recordings the generators' families lie on."""
N_BOOT = 5000
N_SEEDS = 3
"""Of random weights."""
PENALTY = 4.35
"""Of the leave-one-out regressions: C of 0.01 for 23 segments."""
MAIN = "reader"
"""The model that the command leaves behind; the figures are its."""


def measure(values: Callable[[np.ndarray], float], n: int, *, seed: int = 0) -> tuple[float, float, float]:
    """Return a measure of all rows and its 95% interval over rows drawn again; undefined resamples are left out."""
    rng = np.random.default_rng(seed)
    drawn = np.array([values(rng.integers(0, n, n)) for _ in range(N_BOOT)])
    low, high = np.quantile(drawn[np.isfinite(drawn)], [0.025, 0.975])
    return values(np.arange(n)), float(low), float(high)


def scores(true: np.ndarray, target: np.ndarray, predicted: np.ndarray) -> dict[str, tuple[float, float, float]]:
    """Return balanced accuracy and KL with intervals."""
    shares, kl = predicted_shares(predicted), kl_rows(target, predicted)
    return {
        "balanced accuracy": measure(
            lambda rows: float(balanced_accuracy(confusion_matrix(true[rows], shares[rows]))), len(true)
        ),
        "kl": measure(lambda rows: float(kl[rows].mean()), len(true)),
    }


def prepare(output: Path, root: Path) -> tuple[Path, Path]:
    """Prepare recordings without labels for carrying and pretraining, and the judged segments."""
    carriers, judged = output / "real-pretrain", output / "judged"
    sites = [folder for folder in sorted(root.iterdir()) if folder.is_dir() and folder.name != JUDGED]
    if not carriers.is_dir():
        module("pipelines.preprocess", "--input", *sites, "--profile", "pretrain", "--output", carriers,
               "--max-quarantined", "0.5", "--site-card", CARDS)  # fmt: skip
    if not judged.is_dir():
        module("pipelines.preprocess", "--input", root / JUDGED, "--labels", root / "labels.csv", "--profile",
               "six-class", "--output", judged, "--site-card", CARDS)  # fmt: skip
    return carriers, judged


def show(predictions: Path) -> None:
    """Print every model's predictions of the real segments, and the confusion matrix of the one left behind."""
    held = read_predictions(predictions)
    print(f"  {'real segments, zero real labels':<30}{'balanced accuracy':>24}{'KL':>24}")
    for model in held.models:
        frame = held.of(model)
        frame = frame[frame["fold"] == "test"]
        true = np.array([SIX_CLASS.classes.index(label) for label in frame["label"]])
        target, predicted = targets(frame, held.classes), probabilities(frame, held.classes)
        found = scores(true, target, predicted)
        print(
            f"  {model:<30}" + "".join(f"{f'{v:.3f} [{low:.3f}, {high:.3f}]':>24}" for v, low, high in found.values())
        )
        if model == MAIN:
            confusion, main = confusion_matrix(true, predicted_shares(predicted)), found
    print("  label, down; model, across: " + " ".join(SIX_CLASS.classes))
    for name, counts in zip(SIX_CLASS.classes, confusion, strict=True):
        print(f"  {name:<8}" + "".join(f"{count:6g}" for count in counts))
    figure("real_sixclass_balanced_accuracy", main["balanced accuracy"][0], "share")
    figure("real_sixclass_kl", main["kl"][0], "nats")


def leave_one_out(judged: Path, encoder: Path) -> None:
    """Print leave-one-out over the real segments on frozen embeddings, log spectra and pattern features."""
    from studies.baselines.candidates import METHODS
    from studies.engine.bench import Bench
    from studies.engine.parts import Parts
    from studies.engine.study import Design, run_study
    from training.corpus.corpus import Corpus
    from training.corpus.labelled import labelled
    from training.corpus.splits import Fold

    data = labelled(Corpus.open(judged), SIX_CLASS)
    rows = np.arange(len(data.windows))
    folds = [Fold(name=f"segment{n}", train=np.delete(rows, n), test=rows[n : n + 1]) for n in rows]
    ways = {
        "pretrained embeddings": "linear-probe/pretrained", "random embeddings": "linear-probe/random",
        "log spectra": "log-spectra/logistic", "pattern features": "patterns/logistic",
    }  # fmt: skip
    models = {way: replace(METHODS[name], candidates=({"penalty": PENALTY},)) for way, name in ways.items()}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(data, encoder, Path(folder) / "logs")
        design = Design(bench=bench, folds=folds, models=models, parts=Parts(Path(folder), {}), seeds=N_SEEDS)
        frame = run_study(design)
    print("  with real labels: leave-one-out over the same segments (subjects unknown: one may be on both sides)")
    for model, held in frame.groupby("model", sort=False):
        held = held.set_index("window_key").loc[[data.shards.entries[i].key for i in data.windows]].reset_index()
        predicted = probabilities(held, SIX_CLASS.classes)
        found = scores(data.labels, data.targets.astype(np.float64), predicted)
        print(
            f"  {model:<30}" + "".join(f"{f'{v:.3f} [{low:.3f}, {high:.3f}]':>24}" for v, low, high in found.values())
        )
        name = str(model).replace(" ", "_").replace("#", "_")
        figure(f"real_sixclass_loo_{name}", found["balanced accuracy"][0], "share")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("bench-output/synthetic-to-real"))
    parser.add_argument("--segments", type=int, default=480, help="of each family that models learn from")
    parser.add_argument("--held-out", type=int, default=150, help="of each family that they are chosen on")
    parser.add_argument("--network", action="store_true", help="train ResNet1D-GRU too (about 20 minutes more)")
    args = parser.parse_args()
    print(machine())
    root = Path(os.environ.get("CEREBEAM_REAL_DATA", "")) / "real"
    if not (root / JUDGED).is_dir():
        print(f"  CEREBEAM_REAL_DATA has no real/{JUDGED}: not measured")
        return
    args.output.mkdir(parents=True, exist_ok=True)
    corpus, pretraining, study = (args.output / name for name in ("corpus", "pretraining", "study"))
    for folder in (corpus, pretraining, study):
        shutil.rmtree(folder, ignore_errors=True)
    carriers, judged = prepare(args.output, root)
    module("synthetic.critical_corpus", "--output", corpus, "--carriers", carriers,
           "--carrier-sites", *CARRIER_SITES, "--segments", str(args.segments),
           "--held-out", str(args.held_out))  # fmt: skip
    module("training.pretrain", "--recipe", "eeg_small_cpu", "--shards", carriers, "--output", pretraining)
    encoder = pretraining / "encoder"
    members = ("--members", *_members()) if args.network else ()
    module("studies.synthetic_to_real", "--corpus", corpus, "--encoder", encoder, "--test", judged,
           "--output", study, *members)  # fmt: skip
    show(study / "predictions.parquet")
    leave_one_out(judged, encoder)


def _members() -> tuple[str, ...]:
    from studies.synthetic_to_real import MEMBERS

    return tuple(MEMBERS)


if __name__ == "__main__":
    main()
