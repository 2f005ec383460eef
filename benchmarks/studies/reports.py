"""make bench-reports: the whole evidence, as pages: the synthetic sites, and each task that real recordings allow.

    python -m benchmarks.studies.reports [--output DIR] [--demo DIR] [--only synthetic|real] [--full]

`--demo` takes the folder of an earlier `cerebeam demo`; without it one is made. `--full` puts the fine-tuned
encoders and the networks into the transfer tables too, which takes hours on two cores. Real recordings are looked
for under CEREBEAM_REAL_DATA. The encoder is the demo's in all of them: pretrained on synthetic recordings only.
"""

import argparse
import json
import os
import time
from pathlib import Path

from benchmarks.harness import figure, machine, module
from benchmarks.studies.real import CARDS
from evaluation.report.__main__ import AUDIT_FAILED_EXIT

TASKS = ("epilepsy", "adhd", "rest-or-task")
"""What real/labels.csv allows: eyes closed and rest before arithmetic are there of one person each."""
QUICK = ("prior", "linear-probe/random", "linear-probe/pretrained", "head/pretrained", "band-power/logistic")
SEEDS = 2


def synthetic(output: Path, demo: Path, *, full: bool) -> None:
    """Embeddings, stress, transfer table and page of the demo's sites."""
    folder, shards, checkpoints = output / "synthetic", demo / "shards" / "six-class", demo / "checkpoints"
    encoder = checkpoints / "pretrain" / "encoder"
    embeddings = embed(folder, shards, encoder)
    timed("stress", "studies.stress", "--model", *sorted((checkpoints / "folds").glob("*/")), "--shards", shards,
          "--input", demo / "corpus", "--recordings-per-site", "4", "--output", folder / "stress.parquet")  # fmt: skip
    transfer(folder, shards, "six-class", encoder, group="site", full=full)
    page(
        folder, checkpoints / "predictions.parquet", shards, embeddings,
        "--reconstruction", checkpoints / "pretrain" / "reconstruction.parquet",
        "--history", checkpoints / "pretrain" / "metrics.jsonl", "--pipeline", shards / "manifest.json",
        "--stress", folder / "stress.parquet",
    )  # fmt: skip


def real(output: Path, demo: Path, *, full: bool) -> None:
    """The same for each task that the labels of real recordings allow; patients are left out in four groups."""
    root = Path(os.environ.get("CEREBEAM_REAL_DATA", "")) / "real"
    if not root.is_dir():
        print("  CEREBEAM_REAL_DATA has no folder real: not measured")
        return
    encoder, shards = demo / "checkpoints" / "pretrain" / "encoder", output / "real" / "shards"
    sites = [root / name for name in ("bissau-emotiv", "tehran-adhd", "albany-eegmmidb", "kyiv-eegmat")]
    timed("prepare", "pipelines.preprocess", "--input", *sites, "--labels", root / "labels.csv", "--output", shards,
          "--overwrite", "--site-card", CARDS)  # fmt: skip
    embeddings = embed(output / "real", shards, encoder)
    for task in TASKS:
        folder = output / task
        predictions = folder / "predictions.parquet"
        timed(task, "studies.loso", "--shards", shards, "--task", task, "--encoder", encoder, "--group", "subject",
              "--output", predictions)  # fmt: skip
        transfer(folder, shards, task, encoder, group="subject", full=full)
        page(folder, predictions, shards, embeddings, "--pipeline", shards / "manifest.json")


def embed(folder: Path, shards: Path, encoder: Path) -> list[Path]:
    """Write embeddings of the pretrained encoder, of random weights, and of the stored features."""
    ways = {"pretrained": ("--encoder", encoder), "random": ("--no-encoder",), "features": ("--features",)}
    paths = [folder / f"embeddings-{name}.parquet" for name in ways]
    for path, way in zip(paths, ways.values(), strict=True):
        timed(path.stem, "studies.embed", "--shards", shards, *way, "--output", path)
    return paths


def transfer(folder: Path, shards: Path, task: str, encoder: Path, *, group: str, full: bool) -> None:
    """Write the transfer table of a task."""
    models = () if full else ("--models", *QUICK)
    timed(f"transfer {task}", "studies.transfer", "--shards", shards, "--task", task, "--encoder", encoder,
          "--group", group, "--seeds", str(SEEDS), "--jobs", "2", "--output", folder / "transfer.parquet",
          *models)  # fmt: skip


def page(folder: Path, predictions: Path, shards: Path, embeddings: list[Path], *more: str | Path) -> None:
    """Write the page, and print what it says first."""
    report = folder / "report"
    timed("report", "evaluation.report", predictions, "--manifest", shards, "--embeddings", *embeddings,
          "--transfer", folder / "transfer.parquet", "--n-boot", "10000", "--output", report, *more,
          accepted=(0, AUDIT_FAILED_EXIT))  # fmt: skip
    facts = json.loads((report / "facts.json").read_text())
    print(f"  {report / 'report.html'}: audit {facts['audit']['decision']}")
    for name, model in facts["models"].items():
        row = model["metrics"]["balanced_accuracy"]
        print(f"    {name:<24} balanced accuracy {row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]")


def timed(name: str, *command: str | Path, accepted: tuple[int, ...] = (0,)) -> None:
    """Run a module of the project and print its time."""
    began = time.perf_counter()
    module(*map(str, command), accepted=accepted)
    print(f"  {name}: {time.perf_counter() - began:.0f} s", flush=True)


def main() -> None:
    """Run both parts, or one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("bench-output/reports"))
    parser.add_argument("--demo", type=Path, help="output of an earlier demo")
    parser.add_argument("--only", choices=("synthetic", "real"))
    parser.add_argument("--full", action="store_true")
    args = parser.parse_args()
    print(machine())
    demo = args.demo or args.output / "demo"
    if not args.demo:
        timed("demo", "cerebeam.demo", "--output", demo)
    began = time.perf_counter()
    for name, part in (("synthetic", synthetic), ("real", real)):
        if args.only in (None, name):
            print(f"== {name}", flush=True)
            part(args.output, demo, full=args.full)
    figure("reports_seconds", time.perf_counter() - began, "s")


if __name__ == "__main__":
    main()
