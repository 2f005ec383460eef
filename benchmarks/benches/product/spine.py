"""make bench: the figures of the whole way; each ends as a line "figure <name> <value> <unit>".

    python -m benchmarks spine [--output DIR] [--only demo|memory|real]

`memory` prepares a generated 8 h, 32-channel, 500 Hz EDF (922 MB); `real` applies the six-class model of the demo,
which has seen synthetic sites only, to real intensive-care segments under CEREBEAM_REAL_DATA, if they are there.
"""

import argparse
import json
import os
import shutil
from pathlib import Path

import pandas as pd

from benchmarks.harness import figure, machine, module
from benchmarks.studies.real import CARDS


def demo(output: Path) -> None:
    """The demo, per stage; what the pretraining's reconstruction is worth."""
    module("cerebeam.demo", "--output", output / "demo")
    seconds = json.loads((output / "demo" / "demo.json").read_text())["seconds"]
    for name, value in seconds.items():
        print(f"  {name:<14}{value:7.1f} s")
    figure("demo_seconds", sum(seconds.values()), "s")
    rows = pd.read_parquet(output / "demo" / "checkpoints" / "pretrain" / "reconstruction.parquet")
    error = rows[rows["band"] == "all"].groupby("method")[["sum_squared_error", "n_samples"]].sum()
    mse = error["sum_squared_error"] / error["n_samples"]
    figure("recon_vs_interpolation", mse["model"] / mse["linear"], "error_ratio")
    figure("recon_vs_mean", mse["model"] / mse["mean"], "error_ratio")


def memory(output: Path) -> None:
    """Peak memory of the pipeline on a recording far larger than it may hold."""
    from synthetic.recordings.long_recording import long_recording

    path = output / "long" / "ward" / "night.edf"
    path.parent.mkdir(parents=True)
    long_recording(path, hours=8, n_chans=32, sfreq=500, seed=1)
    size_mb = path.stat().st_size / 1e6
    seconds, peak_mb = module("pipelines.preprocess", "--input", path, "--output", output / "long" / "shards")
    print(f"  {size_mb:.0f} MB of EDF, 8 h, 32 channels, 500 Hz: {seconds:.1f} s on one worker")
    figure("pipeline_peak_mb", peak_mb, "MB")
    figure("pipeline_hours_per_minute", 8 / seconds * 60, "EEG-hours/min")
    path.unlink()


def real(output: Path) -> None:
    """The six-class model trained on synthetic sites only, on real segments: whatever comes out."""
    root = Path(os.environ.get("CEREBEAM_REAL_DATA", "")) / "real"
    segments = root / "boston-iiic-sparcnet"
    if not segments.is_dir():
        print("  CEREBEAM_REAL_DATA has no real/boston-iiic-sparcnet: not measured")
        return
    shards, predictions = output / "real" / "shards", output / "real" / "predictions.parquet"
    module(
        "pipelines.preprocess", "--input", segments, "--labels", root / "labels.csv", "--profile", "six-class",
        "--output", shards, "--site-card", CARDS,
    )  # fmt: skip
    checkpoints = output / "demo" / "checkpoints"
    module("studies.predict", "--model", checkpoints / "final", "--shards", shards, "--output", predictions)
    module(
        "evaluation.report", checkpoints / "predictions.parquet", "--external", predictions,
        "--reconstruction", checkpoints / "pretrain" / "reconstruction.parquet", "--output", output / "report",
    )  # fmt: skip
    external = json.loads((output / "report" / "facts.json").read_text())["external"]
    confusion, metrics = external["confusion"], external["models"]["encoder"]["metrics"]
    print("  label, down; model, across: " + " ".join(confusion["classes"]))
    for name, counts in zip(confusion["classes"], confusion["counts"], strict=True):
        print(f"  {name:<8}" + "".join(f"{count:6g}" for count in counts))
    for name in ("balanced_accuracy", "kl", "auroc_macro"):
        row = metrics[name]
        print(f"  {name} {row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}], segments resampled")
    figure("demo_real_sixclass_balanced_accuracy", metrics["balanced_accuracy"]["value"], "share")


PARTS = {"demo": demo, "memory": memory, "real": real}


def main() -> None:
    """Run all parts, or one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("bench-output"))
    parser.add_argument("--only", choices=sorted(PARTS))
    args = parser.parse_args()
    print(machine())
    for name in [args.only] if args.only else PARTS:
        folder = {"memory": "long"}.get(name, name)
        shutil.rmtree(args.output / folder, ignore_errors=True)
        args.output.mkdir(exist_ok=True)
        print(f"== {name}", flush=True)
        PARTS[name](args.output)


if __name__ == "__main__":
    main()
