"""make bench-serving: every form of the six-class model: size, memory, speed, and how good it still is.

    python -m benchmarks serving [--demo DIR] [--size small|tiny|demo] [--bundle PATH ...] [--rounds N]

DIR is the output of `cerebeam demo`, made if it is not there. Quality is measured on synthetic patients and sites of
another seed; INT8 ranges come from the demo's shards. An encoder of --size is trained on them first; "demo" takes the
demo's own, pretrained one. --bundle adds others of the same task: pruned, distilled.
"""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import figure, machine, module
from signals.bundles.bundle import load_bundle
from signals.bundles.calibration import tempered
from signals.bundles.inputs import windows_of_shards
from signals.tasks import SIX_CLASS
from signals.window import Window

HELD_OUT_SEED = 2_026
METHODS, TORCH_FORMS = ("static", "dynamic"), ("eager", "compiled", "int8")
DEMO = "demo"
"""In place of a size: the demo's own encoder."""
Predict = Callable[[Sequence[Window]], np.ndarray]


def prepare(demo: Path, work: Path, subjects_per_site: int) -> None:
    """Make what is missing: the demo, held-out shards."""
    if not (demo / "checkpoints" / "final" / "config.json").is_file():
        module("cerebeam.demo", "--output", demo)
    if not (work / "held-out" / "_COMPLETED").is_file():
        corpus = work / "corpus"
        shutil.rmtree(corpus, ignore_errors=True)
        shutil.rmtree(work / "held-out", ignore_errors=True)
        module("synthetic.synthesize", "--output", corpus, "--seed", str(HELD_OUT_SEED),
               "--subjects-per-site", str(subjects_per_site))  # fmt: skip
        module("pipelines.preprocess", "--input", corpus, "--labels", corpus / "labels.csv", "--output",
               work / "held-out", "--salt", "bench", "--profile", "six-class", "--site-from", "folder")  # fmt: skip


def trained(demo: Path, work: Path, size: str, recipe: str, epochs: int) -> Path:
    """Return the folder of an encoder of a size with its head, trained on the demo's shards from random weights.

    One that is there is kept. recipe: "scratch" trains everything, "probe" the head alone.
    """
    from model.encoder_config import sized
    from training.fitting.fit import random_encoder

    folder = work / size
    if not (folder / "config.json").is_file():
        random_encoder(sized(size), seed=0)[0].save_pretrained(work / f"{size}-encoder")
        module("training.finetune", "--recipe", recipe, "--shards", demo / "shards" / "six-class", "--task",
               "six-class", "--encoder", work / f"{size}-encoder", "--output", folder, "--schedule.epochs",
               str(epochs))  # fmt: skip
    return folder


def export(model: Path, shards: Path, work: Path, methods: Sequence[str]) -> None:
    """Write the model's bundles, in float and in INT8, anew."""
    for name in ("onnx", *(f"int8-{method}" for method in METHODS)):
        shutil.rmtree(work / name, ignore_errors=True)
    module("model.export", "--model", model, "--shards", shards, work / "held-out", "--output", work / "onnx")
    for method in methods:
        command = ["--ranges", shards, "--evaluate", work / "held-out", "--method", method]
        quantise(work / "onnx", *command, "--output", work / f"int8-{method}")


def quantise(*args: str | Path) -> None:
    """Run the command; that the gate says no (code 2) is a result, printed by itself."""
    command = [sys.executable, "-m", "serving.deploy.quantise", *(str(arg) for arg in args)]
    if (code := subprocess.run(command, check=False).returncode) not in (0, 2):
        sys.exit(f"serving.deploy.quantise failed with status {code}")


def predictors(bundles: Sequence[Path], model_dir: Path, torch_forms: Sequence[str]) -> dict[str, Predict]:
    """Return how each form predicts class probabilities; torch's get the first bundle's temperature too."""
    from model.bench import probabilities
    from model.bundling.graphs import load_exportable
    from model.bundling.int8 import int8_model
    from serving import runtime

    model, temperature = load_exportable(model_dir), load_bundle(bundles[0]).calibration.temperature
    networks = {"eager": model.network} | ({"int8": int8_model(model.network)} if "int8" in torch_forms else {})

    def predict(network: Any, windows: Sequence[Window]) -> np.ndarray:
        return tempered(probabilities(model, network, windows), temperature)

    forms: dict[str, Predict] = {f"torch {name}": partial(predict, network) for name, network in networks.items()}
    return forms | {path.name: partial(runtime.probabilities, load_bundle(path)) for path in bundles}


def quality(forms: dict[str, Predict], shards: Path) -> dict[str, dict[str, float]]:
    """Return balanced accuracy, KL, ECE and agreement with torch eager of each form on labelled windows."""
    from evaluation.measures.metrics import (
        N_BINS,
        balanced_accuracy,
        confidence_bins,
        confusion_matrix,
        expected_calibration_error,
        kl_rows,
        predicted_shares,
    )
    from training.corpus.labelled import target_of

    targets, probabilities_of = [], {name: [] for name in forms}  # type: ignore[var-annotated]
    for window in windows_of_shards([shards]):
        target = target_of(window.label, window.votes, SIX_CLASS)
        if target is None:
            continue
        targets.append(target)
        for name, predict in forms.items():
            probabilities_of[name].append(predict([window])[0])
    target, measured = np.stack(targets), {}
    reference = np.stack(probabilities_of["torch eager"]).argmax(axis=1)
    for name, rows in probabilities_of.items():
        prob = np.stack(rows)
        shares, true = predicted_shares(prob), target.argmax(axis=1)
        right = shares[np.arange(len(true)), true]
        bins = confidence_bins(prob)
        stacked = np.stack([np.bincount(bins, weights=w, minlength=N_BINS) for w in (None, prob.max(axis=1), right)], 1)
        measured[name] = {
            "balanced_accuracy": float(balanced_accuracy(confusion_matrix(true, shares))),
            "kl": float(kl_rows(target, prob).mean()),
            "ece": float(expected_calibration_error(stacked)),
            "agreement": float((prob.argmax(axis=1) == reference).mean()),
        }
    print(f"quality on {len(target)} windows of seed {HELD_OUT_SEED}")
    return measured


def table(speed: dict[str, dict], good: dict[str, dict[str, float]]) -> None:  # type: ignore[type-arg]
    """Print one row a form, as Markdown."""
    print("| form | MB | peak MB | p50 ms | p95 ms | p99 ms | segment ms | windows/s | first answer s | bal. acc. | KL"
          " | ECE | agreement |\n|---|" + "---|" * 12)  # fmt: skip
    for name, one in speed.items():
        p50, p95, p99 = np.percentile(one["latency_ms"], [50, 95, 99])
        rate = one["batch_size"] / np.median(one["batch_s"])
        # A compiled network computes what the eager one does.
        q = good["torch eager" if name == "torch compiled" else name]
        print(f"| {name} | {one['n_bytes'] / 1e6:.2f} | {one['peak_mb']:.0f} | {p50:.1f} | {p95:.1f} | {p99:.1f} | "
              f"{np.median(one['segment_ms']):.1f} | {rate:.1f} | {one['first_answer_s']:.2f} | "
              f"{q['balanced_accuracy']:.3f} | {q['kl']:.3f} | {q['ece']:.3f} | {q['agreement']:.3f} |")  # fmt: skip


def figures(work: Path, speed: dict[str, dict]) -> None:  # type: ignore[type-arg]
    """Print what a program reads; a form that was not shipped has none."""

    def p50(name: str, what: str = "latency_ms") -> float:
        return float(np.median(speed[name][what]))

    parity = load_bundle(work / "onnx").about["parity"]
    figure("onnx_max_probability_difference", parity["max_probability_difference"], "probability")
    figure("onnx_parity_windows", parity["n_windows"], "windows")
    figure("onnx_speedup", p50("torch eager") / p50("onnx"), "x")
    figure("onnx_speedup_segment", p50("torch eager", "segment_ms") / p50("onnx", "segment_ms"), "x")
    figure("memory_saved", 1 - speed["onnx"]["peak_mb"] / speed["torch eager"]["peak_mb"], "share")
    figure("segment_ms_cpu", p50("onnx", "segment_ms"), "ms")
    for name in (form for form in speed if not form.startswith(("onnx", "int8", "torch"))):
        figure(f"segment_ms_cpu_{name.replace('-', '_')}", p50(name, "segment_ms"), "ms")
    for form in (f"int8-{method}" for method in METHODS):
        if form not in speed:
            print(f"{form} was not shipped, or not tried")
            continue
        gate, word = load_bundle(work / form).about["quantisation"], "" if form == "int8-static" else "_dynamic"
        figure(f"int8_size_ratio{word}", gate["size_ratio"], "x")
        accuracy_kept = gate["balanced_accuracy_int8"] / gate["balanced_accuracy_fp32"]
        figure(f"int8_accuracy_kept{word}", accuracy_kept, "share")
        figure(f"int8_decisions_changed{word}", 1 - gate["agreement"], "share")
        figure(f"int8_batch_dependence{word}", batch_dependence(work / form, work / "held-out"), "probability")
        figure(f"int8_speedup{word}", p50("torch eager") / p50(form), "x")
        figure(f"segment_ms_int8{word}", p50(form, "segment_ms"), "ms")


def batch_dependence(bundle_dir: Path, shards: Path, *, n_windows: int = 16) -> float:
    """Return the largest difference of a probability between a window alone and among others."""
    from serving.runtime import probabilities

    bundle, windows = load_bundle(bundle_dir), list(windows_of_shards([shards], n_windows=n_windows))
    alone = np.concatenate([probabilities(bundle, [window]) for window in windows])
    return float(np.abs(alone - probabilities(bundle, windows)).max())


def main() -> None:
    """Prepare, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--demo", type=Path, default=Path("demo-output"), help="output of cerebeam demo")
    parser.add_argument("--work", type=Path, default=Path("bench-output/serving"), help="folder for what is made here")
    parser.add_argument("--bundle", type=Path, nargs="+", default=[], help="further bundles of the same task")
    parser.add_argument("--subjects-per-site", type=int, default=8, help="held-out synthetic patients")
    parser.add_argument("--size", choices=("small", "tiny", DEMO), default="small", help="of the encoder")
    parser.add_argument("--epochs", type=int, default=3, help="most passes over the demo's shards in training it")
    parser.add_argument("--recipe", choices=("scratch", "probe"), default="scratch", help="all of it, or its head")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS, help="of INT8")
    parser.add_argument("--torch-forms", nargs="+", choices=TORCH_FORMS, default=TORCH_FORMS, help="besides eager")
    parser.add_argument("--rounds", type=int, default=20)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    prepare(args.demo, args.work, args.subjects_per_site)
    model = args.demo / "checkpoints" / "final"
    if args.size != DEMO:
        model = trained(args.demo, args.work, args.size, args.recipe, args.epochs)
    export(model, args.demo / "shards" / "six-class", args.work, args.methods)
    exported = [args.work / name for name in ("onnx", *(f"int8-{method}" for method in METHODS))]
    bundles = [path for path in (*exported, *args.bundle) if path.is_dir()]
    forms = [name for name in TORCH_FORMS if name == "eager" or name in args.torch_forms]
    (args.work / "f.json").unlink(missing_ok=True)
    module("cerebeam.bench", *bundles, "--model", model, "--rounds", str(args.rounds), "--output", args.work / "f.json",
           "--torch-forms", *forms)  # fmt: skip
    speed = {one["form"]: one for one in json.loads((args.work / "f.json").read_text(encoding="utf-8"))["forms"]}
    print(machine())
    table(speed, quality(predictors(bundles, model, forms), args.work / "held-out"))
    figures(args.work, speed)


if __name__ == "__main__":
    main()
