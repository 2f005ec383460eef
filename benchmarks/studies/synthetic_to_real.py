"""make bench-synthetic-to-real: six classes on real intensive-care segments, from synthetic labels alone.

    python -m benchmarks synthetic-to-real [--parts study reader leave-one-out] [--output DIR] [--segments N]
        [--held-out N] [--network] [--reader-network] [--reader-member DIR ...]

Real recordings of CEREBEAM_REAL_DATA are prepared without labels; all but the test site become backgrounds and the
encoder's pretraining. Models learn from generators, are chosen on other generators, and then predict once the
24 real segments, whose subjects are unknown, so that segments are what is resampled. The reader is a bundle that reads
the files as a server does, fifty seconds and their middle ten. Last, with real labels: leave-one-out over the same 24
on frozen embeddings, which is weak evidence (four segments a class).
"""

import argparse
import csv
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.harness import figure, machine, module
from benchmarks.studies.real import CARDS
from evaluation.measures.metrics import balanced_accuracy, confusion_matrix, kl_rows, predicted_shares
from evaluation.schemas.predictions import probabilities, read_predictions, targets
from signals.readers.memory import recording_of_array
from signals.recording.recording import Recording
from signals.tasks import SIX_CLASS

PARTS = ("study", "reader", "leave-one-out")
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
LATER = ("sample3", "sample4")
"""Segments that are reported apart, by the last part of their files' names: the second half of each class."""


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
    """Print every model's predictions of the real segments."""
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


@dataclass(frozen=True)
class Read:
    """What the reader answers for files with labels."""

    files: tuple[str, ...]
    true: np.ndarray
    """Class of each, shape (n,)."""
    probabilities: np.ndarray
    """Of the middle ten seconds, float64, shape (n, n_classes)."""
    sets: np.ndarray
    """bool, same shape: prediction sets."""
    abstains: np.ndarray
    """bool, shape (n,)."""


def read_files(bundle_dir: Path, root: Path, *, middle_s: float | None = None) -> Read:
    """Return the reader's answers to the judged files, or to the middle `middle_s` seconds of each."""
    from serving.bundle import load_bundle
    from signals.sites.opening import open_source

    bundle, card = load_bundle(bundle_dir), str(CARDS / f"{JUDGED}.yaml")
    with (root / "labels.csv").open(encoding="utf-8") as file:
        rows = sorted((row["file"], row["label"]) for row in csv.DictReader(file) if row["site"] == JUDGED)
    classes, answers = list(bundle.classes), []
    for name, _ in rows:
        recording = open_source(str(root / JUDGED / name), site_card=card).recording
        if middle_s is not None:
            recording = cut(recording, middle_s)
        (answer,) = bundle.predict(recording).answers
        answers.append(answer)
    below = bundle.calibration.abstain_below or 0.0
    return Read(
        files=tuple(name for name, _ in rows), true=np.array([classes.index(label) for _, label in rows]),
        probabilities=np.array([[a.class_probabilities[name] for name in classes] for a in answers]),
        sets=np.array([[name in (a.prediction_set or ()) for name in classes] for a in answers]),
        abstains=np.array([a.confidence < below for a in answers]),
    )  # fmt: skip


def cut(recording: Recording, seconds: float) -> Recording:
    """Return the middle of a recording of one segment, in memory."""
    n_times, rate = recording.n_times(0, 0), recording.sfreqs[0]
    start, n = (n_times - round(seconds * rate)) // 2, round(seconds * rate)
    x = recording.read(range(len(recording.ch_names)), segment=0, start=start, stop=start + n)
    return recording_of_array(x, ch_names=recording.ch_names, sfreq=rate)


def show_read(read: Read, *, word: str) -> None:
    """Print the reader's scores on real files, all and the later ones apart; `word` goes into the figures' names."""
    later = np.array([name.rsplit("_", 1)[1].removesuffix(".mat") in LATER for name in read.files])
    for name, rows in (("", np.ones_like(later)), ("_samples_1_2", ~later), ("_samples_3_4", later)):
        true, predicted = read.true[rows], read.probabilities[rows]
        for what, (value, low, high) in scores(true, np.eye(len(SIX_CLASS.classes))[true], predicted).items():
            print(f"  reader{word}{name}: {what} {value:.3f} [{low:.3f}, {high:.3f}], {rows.sum()} segments")
            figure(f"real_sixclass_{what.replace(' ', '_')}{word}{name}", value, "nats" if what == "kl" else "share")
    print("  label, down; reader, across: " + " ".join(SIX_CLASS.classes))
    for name, counts in zip(
        SIX_CLASS.classes, confusion_matrix(read.true, predicted_shares(read.probabilities)), strict=True
    ):
        print(f"  {name:<8}" + "".join(f"{count:6g}" for count in counts))
    figure(f"real_sixclass_set_coverage{word}", float(read.sets[np.arange(len(read.true)), read.true].mean()), "share")
    figure(f"real_sixclass_set_size{word}", float(read.sets.sum(axis=1).mean()), "classes")
    wrong = read.probabilities.argmax(axis=1) != read.true
    figure(f"real_sixclass_answered{word}", float((~read.abstains).mean()), "share")
    if (~read.abstains).any():
        figure(f"real_sixclass_answered_wrong{word}", float(wrong[~read.abstains].mean()), "share")


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
    parser.add_argument("--reader-network", action="store_true", help="train one as a member of the reader's too")
    parser.add_argument(
        "--reader-member", type=Path, nargs="+", default=[], help="saved models that join the reader's members"
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="all of them")
    args = parser.parse_args()
    print(machine())
    root = Path(os.environ.get("CEREBEAM_REAL_DATA", "")) / "real"
    if not (root / JUDGED).is_dir():
        print(f"  CEREBEAM_REAL_DATA has no real/{JUDGED}: not measured")
        return
    args.output.mkdir(parents=True, exist_ok=True)
    corpus, pretraining = args.output / "corpus", args.output / "pretraining"
    for name in ("corpus", "pretraining", "study", "reader", "network"):
        shutil.rmtree(args.output / name, ignore_errors=True)
    carriers, judged = prepare(args.output, root)
    module("synthetic.critical_corpus", "--output", corpus, "--carriers", carriers,
           "--carrier-sites", *CARRIER_SITES, "--segments", str(args.segments),
           "--held-out", str(args.held_out))  # fmt: skip
    if "study" in args.parts or "leave-one-out" in args.parts:
        module("training.pretrain", "--recipe", "eeg_small_cpu", "--shards", carriers, "--output", pretraining)
    if "study" in args.parts:
        study(args, corpus, pretraining / "encoder", judged)
    if "reader" in args.parts:
        reader(args, corpus, root)
    if "leave-one-out" in args.parts:
        leave_one_out(judged, pretraining / "encoder")


def study(args: argparse.Namespace, corpus: Path, encoder: Path, judged: Path) -> None:
    """Compare models that learnt from the corpus alone, on real segments."""
    members = ("--members", *_members()) if args.network else ()
    output = args.output / "study"
    module("studies.synthetic_to_real", "--corpus", corpus, "--encoder", encoder, "--test", judged,
           "--output", output, *members)  # fmt: skip
    show(output / "predictions.parquet")


def reader(args: argparse.Namespace, corpus: Path, root: Path) -> None:
    """Build the shipped reader from the corpus and read real segments with it, whole and their middle ten seconds."""
    output = args.output / "reader"
    trained = ("--train-network", args.output / "network") if args.reader_network else ()
    saved = ("--network", *args.reader_member) if args.reader_member else ()
    module("studies.six_class_reader", "--corpus", corpus, "--output", output, *trained, *saved)
    show_read(read_files(output, root), word="")
    show_read(read_files(output, root, middle_s=10.0), word="_ten_seconds")


def _members() -> tuple[str, ...]:
    from studies.synthetic_to_real import MEMBERS

    return tuple(MEMBERS)


if __name__ == "__main__":
    main()
