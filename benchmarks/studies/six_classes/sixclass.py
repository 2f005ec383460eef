"""make bench-sixclass: every model of the six-class task on synthetic sites that it was not trained on.

    python -m benchmarks.studies.six_classes.sixclass [--output DIR] [--encoder DIR]

A corpus of 4 synthetic sites, 64 subjects each, 3 segments a subject: many subjects, since a subject has few classes
and a network would rather learn who it is than what it shows. The encoder is pretrained on the same recordings by the
demo's recipe, or given. Then one site is left out at a time: encoder with a head, ResNet1D-GRU, EfficientNet on the
window's own power, and what is made of their out-of-fold answers, plain mean and stack. Balanced accuracy, F1, KL, ECE
before and after a temperature from other sites, fitted to votes and to the majority label, processor time a segment,
the paired difference of the stack to each member, and the error rate of the surer half.

Two processes run side by side. What is finished is kept: the same command goes on with the step, model and fold that
is next. The full EfficientNet-B3 is timed on some steps.
"""

import argparse
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.harness import figure, machine, module
from evaluation.measures.bootstrap import differences, draws
from evaluation.measures.calibration import fit_temperature
from evaluation.measures.metrics import balanced_accuracy, expected_calibration_error, weighted_f1
from evaluation.measures.selective import mistakes
from evaluation.measures.tallies import Tallies, tally
from evaluation.measures.uncertainty import half_errors
from evaluation.schemas.predictions import Predictions, probabilities, read_predictions
from signals.bundles.calibration import UNCERTAINTY_COLUMNS, tempered
from studies.calibrate import FitTo, temperature_targets

RECIPES = {"encoder": "probe", "resnet_gru": "resnet_gru", "efficientnet": "efficientnet_scalogram"}
"""Figure name and recipe of each member."""
SEED, SUBJECTS_PER_SITE, SEGMENTS_PER_SUBJECT = 7, 64, 3
_N_BOOT = 2000
_B3_STEPS, _B3_BATCH = 3, 8

Command = tuple[str | Path, ...]


def side_by_side(*lanes: Sequence[Command]) -> None:
    """Run modules of the project, those of a lane one after the other."""

    def run(lane: Sequence[Command]) -> None:
        for name, *args in lane:
            module(str(name), *args)

    with ThreadPoolExecutor(len(lanes)) as pool:
        list(pool.map(run, lanes))


def prepare(output: Path) -> None:
    """Make the corpus and its two sets of shards."""
    corpus = output / "corpus"
    if not (corpus / "labels.csv").is_file():
        sizes = ("--subjects-per-site", str(SUBJECTS_PER_SITE), "--segments-per-subject", str(SEGMENTS_PER_SUBJECT))
        module("synthetic.synthesize", "--output", corpus, "--seed", str(SEED), "--jobs", "2", *sizes)
    lanes: list[list[Command]] = []
    for name, more in (("pretrain", ()), ("six-class", ("--profile", "six-class"))):
        if not (output / "shards" / name / "_COMPLETED").is_file():
            lanes.append([("pipelines.preprocess", "--input", corpus, "--labels", corpus / "labels.csv",
                           "--output", output / "shards" / name, "--salt", "cerebeam-bench",
                           "--site-from", "folder", *more)])  # fmt: skip
    if lanes:
        side_by_side(*lanes)


def pretrain(output: Path) -> Path:
    """Return the folder of an encoder pretrained by the demo's recipe, two processes."""
    encoder = output / "pretrain" / "encoder"
    if not (encoder / "config.json").is_file():
        module("torch.distributed.run", "--nproc_per_node=2", "--standalone", "-m", "training.pretrain", "--recipe",
               "eeg_tiny", "--shards", output / "shards" / "pretrain", "--output", output / "pretrain")  # fmt: skip
    return encoder


def train(output: Path, encoder: Path) -> Path:
    """Cross-validate, EfficientNet beside the two others, and stack; returns the predictions of all."""
    files = {name: output / f"{name}.parquet" for name in RECIPES}
    todo = {
        name: ("studies.crossval", "--shards", output / "shards" / "six-class", "--task", "six-class", "--encoder",
               encoder, "--group", "site", "--recipes", RECIPES[name], "--output", files[name])
        for name in RECIPES if not files[name].is_file()
    }  # fmt: skip
    lanes = ([todo[name] for name in lane if name in todo] for lane in (("efficientnet",), ("resnet_gru", "encoder")))
    if todo:
        side_by_side(*filter(None, lanes))
    stacked = output / "stacked.parquet"
    module("studies.stack", "--predictions", *files.values(), "--output", stacked, "--save", output / "stacker")
    return stacked


def after_others(frame: pd.DataFrame, classes: tuple[str, ...], fit_to: FitTo) -> pd.DataFrame:
    """Return rows tempered, each site by what the other sites say."""
    prob, target = probabilities(frame, classes), temperature_targets(frame, classes, fit_to)
    folds = frame["fold"].to_numpy(dtype=str)
    result = np.empty_like(prob)
    for fold in np.unique(folds):
        tested = folds == fold
        result[tested] = tempered(prob[tested], fit_temperature(prob[~tested], target[~tested]))
    return frame.assign(**{f"prob_{name}": result[:, k] for k, name in enumerate(classes)})


def ece(tallies: Tallies) -> float:
    """Return the expected calibration error."""
    return float(expected_calibration_error(tallies.bins.sum(axis=0)))


def mean_kl(tallies: Tallies) -> float:
    """Return the mean KL to the votes."""
    return float(tallies.sums[:, 1].sum() / tallies.sums[:, 0].sum())


def print_table(predictions: Predictions) -> None:
    """Print the table and the figures."""
    classes, times = predictions.classes, predictions.meta["models"]
    names = {**{recipe: name for name, recipe in RECIPES.items()}, "mean": "mean", "stack": "ensemble"}
    print(f"  {'':<44}{'T to votes':>16}{'T to majority':>16}")
    print(f"  {'model':<12}{'balanced':>8}{'F1':>8}{'KL':>8}{'ECE':>8}{'ECE':>8}{'KL':>8}{'ECE':>8}{'KL':>8}{'ms':>8}")
    for model, name in {**names, "prior": "prior"}.items():
        frame = predictions.of(model)
        before = tally(frame, classes)
        votes, majority = (tally(after_others(frame, classes, kind), classes) for kind in ("votes", "majority"))
        confusion = before.confusion.sum(axis=0)
        score, f1 = float(balanced_accuracy(confusion)), float(weighted_f1(confusion))
        ms = times[model]["predict_cpu_ms_per_window"] if model in times else float("nan")
        row = [score, f1, mean_kl(before), ece(before), ece(votes), mean_kl(votes), ece(majority), mean_kl(majority)]
        print(f"  {name:<12}" + "".join(f"{value:>8.3f}" for value in row) + f"{ms:>8.1f}")
        figure(f"synthetic_{name}_balanced_accuracy", score, "share")
        figure(f"synthetic_{name}_f1", f1, "share")
        figure(f"synthetic_{name}_kl", mean_kl(before), "nats")
        if model in times:
            figure(f"synthetic_{name}_segment_ms", ms, "ms")
            figure(f"synthetic_{name}_fit_s", times[model]["fit_cpu_s"], "s")
        if model == "stack":
            figure("ece_before", ece(before), "share")
            figure("ece_after", ece(votes), "share")
            figure("ece_after_majority", ece(majority), "share")
            sure(frame, classes)
    compared(predictions, names)


def compared(predictions: Predictions, names: dict[str, str]) -> None:
    """Print what the stack gains on each other model, with 95% intervals over resampled subjects."""
    tallies = {model: tally(predictions.of(model), predictions.classes) for model in names}
    resampled = {model: draws(one, n_boot=_N_BOOT, seed=0) for model, one in tallies.items()}
    for model, name in names.items():
        if model == "stack":
            continue
        gaps = differences((tallies["stack"], resampled["stack"]), (tallies[model], resampled[model]))
        for metric in ("kl", "balanced_accuracy"):
            gap = gaps[metric]
            print(f"  ensemble less {name:<12} {metric:<18} {gap.value:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]")
            figure(f"ensemble_less_{name}_{metric}", gap.value, "nats" if metric == "kl" else "share")


def sure(frame: pd.DataFrame, classes: tuple[str, ...]) -> None:
    """Print the error rates of the ensemble's surer and less sure half, by each kind of uncertainty."""
    true_index = frame["label"].map({name: k for k, name in enumerate(classes)}).to_numpy(dtype=np.int64)
    _, wrong = mistakes(probabilities(frame, classes), true_index)
    for column in UNCERTAINTY_COLUMNS:
        certain, uncertain = half_errors(frame[column].to_numpy(), wrong)
        print(f"  errors by {column:<24} surer half {certain:.3f}, other half {uncertain:.3f}")
        if column == UNCERTAINTY_COLUMNS[0]:
            figure("certain_half_error", certain, "share")
            figure("uncertain_half_error", uncertain, "share")


def full_width() -> None:
    """Time EfficientNet-B3 itself, steps of training and asking, on spectrograms of ten minutes; one core."""
    import torch

    from model.supervised.networks import NetworkShape
    from model.supervised.supervised import NETWORKS

    torch.set_num_threads(1)
    shape = NetworkShape(n_chans=19, sfreq=256.0, n_classes=6, span_s=(20.0, 30.0), window_s=50.0)
    network = NETWORKS["efficientnet_b3"](shape, dropout=0.3)
    optimizer = torch.optim.AdamW(network.parameters())
    x = torch.randn(_B3_BATCH, 4, 100, 300)
    network.train()
    began = time.process_time()
    for _ in range(_B3_STEPS):
        optimizer.zero_grad()
        network(x)[0].logsumexp(-1).sum().backward()
        optimizer.step()
    trained = time.process_time()
    with torch.no_grad():
        network.eval()(x)
    figure("efficientnet_b3_parameters", sum(p.numel() for p in network.parameters()) / 1e6, "million")
    figure("efficientnet_b3_train_segment_ms", 1e3 * (trained - began) / _B3_STEPS / _B3_BATCH, "ms")
    figure("efficientnet_b3_segment_ms", 1e3 * (time.process_time() - trained) / _B3_BATCH, "ms")


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("bench-output/sixclass"))
    parser.add_argument("--encoder", type=Path, help="folder of a pretrained encoder instead of one made here")
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    print(machine(), flush=True)
    began = time.perf_counter()
    prepare(args.output)
    prepared = time.perf_counter()
    encoder = args.encoder or pretrain(args.output)
    pretrained = time.perf_counter()
    predictions = read_predictions(train(args.output, encoder))
    ended = time.perf_counter()
    spent = (prepared - began, pretrained - prepared, ended - pretrained)
    print("  shards {:.0f} s, pretraining {:.0f} s, models {:.0f} s".format(*spent))
    print_table(predictions)
    full_width()
    figure("sixclass_minutes", (time.perf_counter() - began) / 60, "min")


if __name__ == "__main__":
    main()
