"""make bench-studies: one engine, a resume in the middle of a fit, and tasks that the audit flags by itself.

    python -m benchmarks studies [--only engines|resume|confounds] [--repeats N] [--output DIR]

Modules that fit on one side of a fold and predict the other; a study that is killed in the middle of a fit, once by
SIGTERM and once by SIGKILL, against the same study left alone; Tehran's sixteen children, the 56 further ones, a
planted site of noisier amplifiers, and tasks without a confound.
"""

import argparse
import ast
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.harness import figure, machine, module
from benchmarks.studies.real import CARDS, opened

ROOT = Path(__file__).parents[2]
FOLDERS = ("studies", "benchmarks/studies")
NOT_A_STUDY = {
    "studies/stack.py": "its inner folds choose a number of steps; what it stacks comes from a study",
    "benchmarks/studies/compression.py": "a chain on one split: pruned models and students are made of their teacher",
    "studies/hearts/doubt.py": "generated people drawn afresh for each side: there are no folds to share",
    "studies/hearts/rare.py": "generated people drawn afresh for each side: there are no folds to share",
    "studies/hearts/sources.py": "generated people drawn afresh for each side: there are no folds to share",
}
"""Programs with two sides that compare no models of their own, and why."""
NETWORK = "eegnet"
SITE = "tehran-adhd"


def engines(root: Path = ROOT) -> list[str]:
    """Return the programs that read both sides of folds: the engine's folder counts once."""
    found = set()
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*.py")):
            name = path.relative_to(root).as_posix()
            if name not in NOT_A_STUDY and reads_both_sides(ast.parse(path.read_text(encoding="utf-8"))):
                found.add("studies/engine" if name.startswith("studies/engine/") else name)
    return sorted(found)


def reads_both_sides(tree: ast.AST) -> bool:
    """Return whether code reads `x.train` and `x.test` of one name, calls such as `model.train()` aside."""
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    sides: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        is_read = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and id(node) not in called
        if is_read and node.attr in ("train", "test") and node.value.id != "self":
            sides.setdefault(node.value.id, set()).add(node.attr)
    return any(len(read) == 2 for read in sides.values())


def count_engines(args: argparse.Namespace) -> None:
    """Print the programs that are engines; one is the aim."""
    found = engines()
    for name in found:
        print(f"  {name}")
    for name, why in NOT_A_STUDY.items():
        print(f"  not counted: {name}: {why}")
    figure("study_engines", len(found), "engines")


def resume(args: argparse.Namespace) -> None:
    """Stop a study in the middle of a fit, start it again, and compare its predictions with one left alone."""
    shutil.rmtree(args.output, ignore_errors=True)
    args.output.mkdir(parents=True)
    corpus = args.output / "corpus"
    module("synthetic.critical_corpus", "--output", corpus, "--segments", "24", "--held-out", "0")
    whole = study(corpus, args.output / "whole" / "p.parquet")
    if whole.wait():
        sys.exit("the study failed")
    equal = []
    for stop in (signal.SIGTERM, signal.SIGKILL):
        output = args.output / stop.name / "p.parquet"
        cut = study(corpus, output)
        steps = interrupt(cut, output.with_name("p.parts"), stop)
        again = study(corpus, output).wait()
        same = not again and same_predictions(args.output / "whole" / "p.parquet", output)
        print(f"  {stop.name} with a checkpoint at {steps}: predictions equal {same}", flush=True)
        equal.append(same and bool(steps))
    figure("studies_resume_equal", int(all(equal)), "share")


def study(corpus: Path, output: Path) -> subprocess.Popen[bytes]:
    """Start a small study of a network, whose state is saved every few steps."""
    return subprocess.Popen([
        sys.executable, "-m", "studies.study", "transfer", "--shards", str(corpus), "--task", "six-class", "--output",
        str(output), "--group", "subject", "--folds", "2", "--seeds", "1", "--models", "prior", NETWORK,
        "--inner-folds", "2", "--schedule.epochs", "6", "--optim.batch", "4", "--track.save-every", "2",
    ], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip


def interrupt(process: subprocess.Popen[bytes], parts: Path, stop: signal.Signals) -> str:
    """Stop a study once a fit has saved its state; returns that checkpoint's name, empty where it ended before."""
    while process.poll() is None:
        if found := sorted(parts.glob(f"logs/{NETWORK}/*/*/*.checkpoints/**/*.pt")):
            process.send_signal(stop)
            process.wait()
            kept = sorted(parts.glob(f"logs/{NETWORK}/*/*/*.checkpoints/**/*.pt")) or found
            return kept[-1].relative_to(parts / "logs").as_posix()
        time.sleep(0.05)
    return ""


def same_predictions(first: Path, second: Path) -> bool:
    """Return whether two predictions files hold the same probabilities, bit for bit."""
    from evaluation.schemas.predictions import probabilities, read_predictions

    ours, theirs = read_predictions(first), read_predictions(second)
    return ours.models == theirs.models and all(
        np.array_equal(probabilities(ours.of(name), ours.classes), probabilities(theirs.of(name), theirs.classes))
        for name in ours.models
    )


def confounds(args: argparse.Namespace) -> None:
    """Print which tasks the audit flags; real ones where CEREBEAM_REAL_DATA has them."""
    from studies.planted.confounds import NOISE, is_flagged, site_task, unconfounded

    planted = [is_flagged(site_task(seed=seed, size=NOISE), seed=seed) for seed in range(args.repeats)]
    alike = [is_flagged(site_task(seed=seed, size=0.0), seed=seed) for seed in range(args.repeats)]
    random = [is_flagged(unconfounded(seed=seed)) for seed in range(40)]
    print(f"  site of noisier amplifiers: {sum(planted)} of {len(planted)} flagged; the same sites alike: {sum(alike)}")
    print(f"  people whose numbers have nothing to do with labels: {sum(random)} of {len(random)} flagged")
    flagged = [all(planted)]
    for name, folder in (("sixteen", "real"), ("further 56", "more")):
        root = Path(os.environ.get("CEREBEAM_REAL_DATA", "")) / folder / SITE
        if not os.environ.get("CEREBEAM_REAL_DATA") or not root.is_dir():
            print(f"  Tehran, {name}: CEREBEAM_REAL_DATA has no {folder}/{SITE}: not measured")
            continue
        flagged.append(show_children(name, children(root)))
    figure("confound_flagged", int(all(flagged)), "share")
    figure("confound_clean_flagged", sum(alike) + sum(random), "tasks")


def show_children(name: str, frame: pd.DataFrame) -> bool:
    """Print what the labels of children can be read from; returns whether the audit flags them."""
    from evaluation.audit.confounds import confound_findings, probe_results

    findings = confound_findings(frame)
    n_ill = frame[frame["label"] == "ADHD"]["subject_id"].nunique()
    print(f"  Tehran, {name}: {frame['subject_id'].nunique()} children, {n_ill} with ADHD")
    for result in probe_results(frame, seed=0):
        print(f"    {result.name:<14}AUROC {result.area:.3f}, p {result.p_value:.4f}")
    for finding in findings:
        print(f"    flagged: {finding.message}")
    return bool(findings)


def children(folder: Path) -> pd.DataFrame:
    """Return a row per 10 s of each child: label by the file's name, its order, and the probes of the signal."""
    from evaluation.audit.confounds import signal_columns
    from pipelines.intake.inputs import find_inputs
    from signals.sites.card_file import read_card

    cards = tuple(read_card(str(path)) for path in sorted(CARDS.glob("*.yaml")))
    rows = []
    for ref in find_inputs([str(folder)], None, cards).files:
        recording = opened(Path(ref.uri))
        for start in range(0, recording.n_times(0) - 1279, 1280):
            x = recording.read(range(19), start=start, stop=start + 1280)
            rows.append({"subject_id": ref.subject, "site_id": ref.site_id, "label": ref.labels[0].label,
                         "file_order": ref.file_order, **signal_columns(x, 128.0, h_freq=57.6)})  # fmt: skip
    return pd.DataFrame(rows)


PARTS = {"engines": count_engines, "resume": resume, "confounds": confounds}


def main(argv: Sequence[str] | None = None) -> None:
    """Run all parts, or one."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", choices=sorted(PARTS))
    parser.add_argument("--repeats", type=int, default=3, help="planted tasks of each kind")
    parser.add_argument("--output", type=Path, default=Path("bench-output/studies"))
    args = parser.parse_args(argv)
    print(machine())
    for name in [args.only] if args.only else PARTS:
        print(f"== {name}", flush=True)
        PARTS[name](args)


if __name__ == "__main__":
    main()
