"""make bench-sixclass: every model of the six-class task on synthetic sites that it was not trained on.

    python -m benchmarks.sixclass [--output DIR] [--demo DIR]

Leave one site out: encoder with a head, ResNet1D-GRU, EfficientNet on regional spectrograms, and what is made of their
out-of-fold answers, plain mean and stack. Balanced accuracy, F1, KL, ECE before and after a temperature from other
sites, processor time a segment, and the error rate of the surer half. `--demo` takes the folder of an earlier
`cerebeam demo`; without it one is made. EfficientNet is the small one, which two cores can train; the full B3 is
timed on one batch.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.harness import figure, machine, module
from evaluation.calibration import fit_temperature, tempered
from evaluation.metrics import balanced_accuracy, expected_calibration_error, weighted_f1
from evaluation.predictions import Predictions, probabilities, read_predictions, targets
from evaluation.selective import mistakes
from evaluation.tallies import Tallies, tally
from evaluation.uncertainty import COLUMNS, half_errors

RECIPES = {"encoder": "probe", "resnet_gru": "resnet_gru", "efficientnet": "efficientnet_small"}
"""Figure name and recipe of each member."""


def train(output: Path, demo: Path) -> Path:
    """Cross-validate and stack; returns the predictions of members, mean and stack."""
    shards, encoder = demo / "shards" / "six-class", demo / "checkpoints" / "pretrain" / "encoder"
    oof, stacked = output / "oof.parquet", output / "stacked.parquet"
    if not oof.exists():
        module("training.crossval", "--shards", shards, "--task", "six-class", "--encoder", encoder, "--group", "site",
               "--recipes", *RECIPES.values(), "--output", oof)  # fmt: skip
    module("training.stack", "--predictions", oof, "--output", stacked, "--save", output / "stacker")
    return stacked


def after_others(frame: pd.DataFrame, classes: tuple[str, ...]) -> pd.DataFrame:
    """Return rows tempered, each site by what the other sites say."""
    prob, target = probabilities(frame, classes), targets(frame, classes)
    folds = frame["fold"].to_numpy(dtype=str)
    result = np.empty_like(prob)
    for fold in np.unique(folds):
        asked = folds == fold
        result[asked] = tempered(prob[asked], fit_temperature(prob[~asked], target[~asked]))
    return frame.assign(**{f"prob_{name}": result[:, k] for k, name in enumerate(classes)})


def ece(tallies: Tallies) -> float:
    """Return the expected calibration error."""
    return float(expected_calibration_error(tallies.bins.sum(axis=0)))


def tell(predictions: Predictions) -> None:
    """Print the table and the figures."""
    classes, times = predictions.classes, predictions.meta["models"]
    names = {**{recipe: name for name, recipe in RECIPES.items()}, "mean": "mean", "stack": "ensemble"}
    print(f"  {'model':<14}{'balanced':>10}{'F1':>8}{'KL':>8}{'ECE':>8}{'after':>8}{'KL after':>10}{'ms/segment':>12}")
    for model, name in names.items():
        frame = predictions.of(model)
        before, later = tally(frame, classes), tally(after_others(frame, classes), classes)
        confusion = before.confusion.sum(axis=0)
        kl, kl_after = (t.sums[:, 1].sum() / t.sums[:, 0].sum() for t in (before, later))
        score, f1 = float(balanced_accuracy(confusion)), float(weighted_f1(confusion))
        ms = times[model]["ask_cpu_ms_per_window"] if model in times else float("nan")
        print(f"  {name:<14}{score:>10.3f}{f1:>8.3f}{kl:>8.3f}{ece(before):>8.3f}{ece(later):>8.3f}", end="")
        print(f"{kl_after:>10.3f}{ms:>12.1f}")
        figure(f"synthetic_{name}_balanced_accuracy", score, "share")
        figure(f"synthetic_{name}_f1", f1, "share")
        figure(f"synthetic_{name}_kl", kl, "nats")
        if model in times:
            figure(f"synthetic_{name}_segment_ms", ms, "ms")
        if model == "stack":
            figure("ece_before", ece(before), "share")
            figure("ece_after", ece(later), "share")
            sure(frame, classes)


def sure(frame: pd.DataFrame, classes: tuple[str, ...]) -> None:
    """Print the error rates of the ensemble's surer and less sure half, by each kind of uncertainty."""
    true_index = frame["label"].map({name: k for k, name in enumerate(classes)}).to_numpy(dtype=np.int64)
    _, wrong = mistakes(probabilities(frame, classes), true_index)
    for column in COLUMNS:
        certain, uncertain = half_errors(frame[column].to_numpy(), wrong)
        print(f"  errors by {column:<24} surer half {certain:.3f}, other half {uncertain:.3f}")
        if column == COLUMNS[0]:
            figure("certain_half_error", certain, "share")
            figure("uncertain_half_error", uncertain, "share")


def full_width() -> None:
    """Time EfficientNet-B3 itself, trained and asked, on spectrograms of ten minutes; one core."""
    import torch

    from model.networks import NetworkShape
    from model.supervised import NETWORKS

    torch.set_num_threads(1)
    shape = NetworkShape(n_chans=19, sfreq=256.0, n_classes=6, span_s=(20.0, 30.0), window_s=50.0)
    network = NETWORKS["efficientnet_b3"](shape, dropout=0.3)
    x = torch.randn(8, 4, 100, 300)
    began = time.process_time()
    network.train()(x)[0].sum().backward()
    trained = time.process_time()
    with torch.no_grad():
        network.eval()(x)
    figure("efficientnet_b3_parameters", sum(p.numel() for p in network.parameters()) / 1e6, "million")
    figure("efficientnet_b3_train_segment_ms", 1e3 * (trained - began) / len(x), "ms")
    figure("efficientnet_b3_segment_ms", 1e3 * (time.process_time() - trained) / len(x), "ms")


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("bench-output/sixclass"))
    parser.add_argument("--demo", type=Path, help="folder of an earlier cerebeam demo")
    args = parser.parse_args()
    print(machine())
    demo = args.demo or args.output / "demo"
    if not (demo / "shards" / "six-class").is_dir():
        module("cerebeam.demo", "--output", demo)
    tell(read_predictions(train(args.output, demo)))
    full_width()


if __name__ == "__main__":
    main()
