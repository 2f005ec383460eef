"""cerebeam demo: the whole way in one command, on a synthetic corpus or on your own files.

    recordings -> shards -> pretrained encoder -> predictions at sites never seen -> report -> bundle -> an answer

Each stage is the command that a person would type, run as a process of its own; what it prints goes to OUT/logs.
`--compare` adds one: the encoder of `release/six_class`, pretrained on simulated labels, beside the same encoder from
random weights, both trained end to end by the same recipe, the former at 0.3 of its rate.
"""

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import time
import webbrowser
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from signals.command_line import Parser
from signals.tasks import SIX_CLASS, TASKS, Task

SEED = 7
SUBJECTS_PER_SITE = 16
RELEASED = Path(__file__).parents[1] / "release" / "six_class"
STARTS: dict[str, tuple[str, ...]] = {
    "from random weights": (),
    "pretrained": ("--start-from", str(RELEASED), "--optim.learning-rate", "3e-4"),
}
"""What `--compare` trains, with options of its own; a start goes on at 0.3 of the recipe's rate."""
COMPARE_EPOCHS = "4"


class DemoError(RuntimeError):
    """Something that ends the demo; the message is one line that says what to do."""


@dataclass(frozen=True)
class Stage:
    """A step of the demo: commands that run side by side."""

    name: str
    what: str
    commands: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Demo:
    """The request, resolved."""

    output: Path
    inputs: tuple[str, ...]
    """Empty: write and use a synthetic corpus."""
    labels: Path
    task: Task
    group: str
    """"site" or "subject": what is left out in each fold."""
    compare: bool = False
    """Whether the published encoder is compared with the same one from random weights."""


def stages(demo: Demo) -> list[Stage]:
    """Return the commands in order."""
    out, six = demo.output, demo.task is SIX_CLASS
    python = (sys.executable, "-m")
    inputs = demo.inputs or (str(out / "corpus"),)
    pretrain, task_shards = out / "shards" / "pretrain", out / "shards" / ("six-class" if six else "pretrain")
    checkpoints = out / "checkpoints"
    prepare = (*python, "pipelines.preprocess", "--input", *inputs, "--labels", str(demo.labels))
    salt = ("--salt", "cerebeam-demo", "--site-from", "label" if demo.inputs else "folder")
    todo = []
    if not demo.inputs:
        todo.append(
            Stage("synthesize", "a corpus of four synthetic sites", ((
                *python, "synthetic.synthesize", "--output", str(out / "corpus"), "--seed", str(SEED),
                "--subjects-per-site", str(SUBJECTS_PER_SITE),
            ),))
        )  # fmt: skip
    prepares = [(*prepare, "--output", str(pretrain), *salt)]
    if six:
        prepares.append((*prepare, "--output", str(task_shards), *salt, "--profile", "six-class"))
    todo.append(Stage("prepare", "recordings to shards of windows, flagged and described", tuple(prepares)))
    todo += [
        Stage("pretrain", "masked reconstruction and contrastive channels, two processes", ((
            *python, "torch.distributed.run", "--nproc_per_node=2", "--standalone", "-m", "training.pretrain",
            "--recipe", "eeg_tiny", "--shards", str(pretrain), "--output", str(checkpoints / "pretrain"),
        ),)),
        Stage("leave-out", f"train without one {demo.group} at a time, predict it, two at once", ((
            *python, "studies.loso", "--shards", str(task_shards), "--task", demo.task.name, "--group", demo.group,
            "--encoder", str(checkpoints / "pretrain" / "encoder"),
            "--output", str(checkpoints / "predictions.parquet"), "--final", str(checkpoints / "final"), "--jobs", "2",
        ),)),
        Stage("report", "metrics, intervals, audit, one page; beside it ONNX, checked against torch", ((
            *python, "evaluation.report", str(checkpoints / "predictions.parquet"), "--output", str(out),
            "--reconstruction", str(checkpoints / "pretrain" / "reconstruction.parquet"),
            "--history", str(checkpoints / "pretrain" / "metrics.jsonl"),
            "--pipeline", str(task_shards / "manifest.json"),
            "--calibration", str(checkpoints / "final" / "calibration.json"), "--title", _title(demo),
        ), (
            *python, "model.export", "--model", str(checkpoints / "final"), "--shards", str(task_shards),
            "--output", str(out / "bundle"),
        ))),
    ]  # fmt: skip
    if demo.compare:
        fit = (
            *python, "studies.crossval", "--recipes", "scratch", "--no-encoder", "--shards", str(task_shards),
            "--task", demo.task.name, "--group", demo.group, "--schedule.epochs", COMPARE_EPOCHS,
            "--schedule.patience", COMPARE_EPOCHS,
        )  # fmt: skip
        fits = tuple((*fit, *STARTS[name], "--output", str(file)) for name, file in compared_files(out).items())
        todo.append(Stage("compare", "the published encoder beside random weights, by one recipe", fits))
    return todo


def compared_files(output: Path) -> dict[str, Path]:
    """Return the predictions of each start of the comparison."""
    return {name: output / "compare" / f"{name.replace(' ', '-')}.parquet" for name in STARTS}


def comparison(output: Path) -> list[str]:
    """Return both starts' scores and their paired difference; intervals resample people."""
    import pandas as pd

    from evaluation.scenarios.transfer import transfer_table
    from evaluation.schemas.predictions import Predictions, read_predictions

    files = {name: read_predictions(file) for name, file in compared_files(output).items()}
    frames = [file.of("scratch").assign(model=name) for name, file in files.items()]
    first = files["pretrained"]
    rows = Predictions(frame=pd.concat(frames, ignore_index=True), task=first.task, classes=first.classes, meta={})
    table, gaps = transfer_table(rows, reference="from random weights", n_boot=2000, seed=0)
    shown = {"balanced_accuracy": "balanced accuracy", "kl": "KL"}
    lines = [f"the same encoder and recipe, {COMPARE_EPOCHS} epochs, one seed, at sites or people left out:"]
    for row in table:
        cells = (f"{title} {row.metrics[key].value:.3f} [{row.metrics[key].low:.3f}, {row.metrics[key].high:.3f}]"
                 for key, title in shown.items())  # fmt: skip
        lines.append(f"  {row.model:<20}{', '.join(cells)}")
    found = {gap.metric: gap for gap in gaps if gap.model == "pretrained"}
    differences = (f"{title} {found[key].value:+.3f} [{found[key].low:+.3f}, {found[key].high:+.3f}]"
                   for key, title in shown.items())  # fmt: skip
    return [*lines, f"  {'difference, paired':<20}{', '.join(differences)}"]


def _title(demo: Demo) -> str:
    if not demo.inputs:
        return f"Cerebeam demo: {demo.task.name} on a synthetic corpus"
    return f"Cerebeam: {demo.task.name} on {', '.join(Path(item).name for item in demo.inputs)}"


def run_stage(stage: Stage, number: int, total: int, logs: Path) -> float:
    """Run a stage's commands, their output to logs, progress bars to the terminal; returns seconds.

    Raises DemoError with the last line of the log if a command fails.
    """
    logs.mkdir(parents=True, exist_ok=True)
    print(f"[{number}/{total}] {stage.name:<11} {stage.what}", flush=True)  # noqa: T201
    started = time.perf_counter()
    running = [_start(command, logs / f"{number}-{stage.name}-{i}.log") for i, command in enumerate(stage.commands, 1)]
    for process, log in running:
        if code := process.wait():
            for other, _ in running:
                other.kill()
                other.wait()
            lines = [line for line in log.read_text(encoding="utf-8").splitlines() if line.strip()]
            raise DemoError(f"stage {stage.name} ended with code {code}: {lines[-1]} (whole log: {log})")
    seconds = time.perf_counter() - started
    print(f"      {seconds:6.1f} s", flush=True)  # noqa: T201
    return seconds


def _start(command: tuple[str, ...], log: Path) -> tuple["subprocess.Popen[bytes]", Path]:
    with log.open("w", encoding="utf-8") as file:
        file.write("$ " + " ".join(command) + "\n")
        file.flush()
        stderr = None if sys.stderr.isatty() else file
        return subprocess.Popen(command, stdout=file, stderr=stderr, env=_environment()), log


def _environment() -> dict[str, str]:
    quiet = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    return {**os.environ, **{name: value for name, value in quiet.items() if name not in os.environ}}


def labelled_subjects(labels: Path) -> dict[str, dict[str, set[tuple[str, str]]]]:
    """Return, by task and class, the (site, subject) pairs that the label file has.

    Unknown subjects are left out, and sites with one class of a task: training leaves them out, too.
    """
    subjects: dict[str, dict[str, set[tuple[str, str]]]] = {task: {} for task in TASKS}
    with labels.open(newline="", encoding="utf-8-sig") as file:
        for row in csv.DictReader(file):
            subject = (row.get("subject") or "").strip()
            for task in TASKS.values():
                cls = task.class_of(row.get("label") or "")
                if cls and subject and subject.lower() != "unknown":
                    subjects[task.name].setdefault(cls, set()).add((row.get("site") or "", subject))
    return {task: _with_contrast(classes) for task, classes in subjects.items()}


def _with_contrast(classes: dict[str, set[tuple[str, str]]]) -> dict[str, set[tuple[str, str]]]:
    at_site = Counter(site for members in classes.values() for site in {site for site, _ in members})
    contrasted = {cls: {pair for pair in members if at_site[pair[0]] > 1} for cls, members in classes.items()}
    return {cls: members for cls, members in contrasted.items() if members}


def choose_task(labels: Path, name: str | None) -> tuple[Task, str]:
    """Return the task and what to leave out in each fold; raises DemoError if the labels do not allow it.

    Without a name, it is the task with most known subjects in its rarest class. Sites are left out where at least three
    have two classes or more, else subjects.
    """
    subjects = labelled_subjects(labels)
    if name and len(subjects[name]) < 2:
        others = [name for name, classes in subjects.items() if len(classes) > 1]
        raise DemoError(f"the labels allow no task {name!r} across subjects; they allow: {', '.join(others) or 'none'}")
    name = name or max(subjects, key=lambda task: _rarest(subjects[task], TASKS[task]))
    if _rarest(subjects[name], TASKS[name]) < 2 and name != SIX_CLASS.name:
        raise DemoError(f"task {name!r} needs two known subjects in each class; --task chooses another")
    sites: dict[str, set[str]] = {}
    for cls, members in subjects[name].items():
        for site, _ in members:
            sites.setdefault(site, set()).add(cls)
    return TASKS[name], "site" if sum(len(classes) > 1 for classes in sites.values()) >= 3 else "subject"


def _rarest(classes: dict[str, set[tuple[str, str]]], task: Task) -> int:
    return min((len(classes.get(cls, ())) for cls in task.classes), default=0)


def resolve(args: argparse.Namespace) -> Demo:
    """Return the demo that the command line requests; raises DemoError for one that cannot run."""
    if args.output.exists():
        former = (args.output / "demo.json").is_file() or (args.output.is_dir() and not any(args.output.iterdir()))
        if not former:
            raise DemoError(f"output {args.output} exists and is no former demo; choose another folder")
    if args.compare and not (RELEASED / "model.safetensors").is_file():
        raise DemoError(f"--compare needs the published encoder, {RELEASED}, which a checkout has")
    if bool(args.input) != bool(args.labels):
        raise DemoError("--input and --labels go together: a task needs labels")
    if not args.input:
        if args.task not in {None, SIX_CLASS.name}:
            raise DemoError(
                f"the synthetic corpus has the task {SIX_CLASS.name!r} only; give --input for {args.task!r}"
            )
        labels = args.output / "corpus" / "labels.csv"
        return Demo(output=args.output, inputs=(), labels=labels, task=SIX_CLASS, group="site", compare=args.compare)
    if not args.labels.is_file():
        raise DemoError(f"label file {args.labels} does not exist")
    for item in args.input:
        if not Path(item).exists():
            raise DemoError(f"input {item} does not exist")
    task, group = choose_task(args.labels, args.task)
    if args.compare and task is not SIX_CLASS:
        raise DemoError(
            f"--compare is for the six classes, which the published encoder learnt; the task is {task.name}"
        )
    return Demo(
        output=args.output, inputs=tuple(args.input), labels=args.labels, task=task, group=group, compare=args.compare
    )


def summary(demo: Demo, seconds: dict[str, float], facts: dict[str, Any]) -> str:
    """Return what a person wants to see at the end: times, results, paths."""
    out = demo.output
    lines = ["", f"{'stage':<14}{'seconds':>8}"]
    lines += [f"{name:<14}{value:>8.1f}" for name, value in seconds.items()]
    lines += [f"{'all':<14}{sum(seconds.values()):>8.1f}", "", *_results(facts), ""]
    if demo.compare:
        lines += [*comparison(out), ""]
    lines += [f"shards   {out / 'shards'}", f"report   {out / 'report.html'}", f"facts    {out / 'facts.json'}"]
    lines += [f"bundle   {out / 'bundle'}", "", f"open {out / 'report.html'} in a browser"]
    lines += ["", f"figure demo_seconds {sum(seconds.values()):.1f} s"]
    return "\n".join(lines)


def _results(facts: dict[str, Any]) -> list[str]:
    """Return a table of the models' figures, a line on the reconstruction, and the audit's result."""
    headings = {"kl": "KL", "balanced_accuracy": "balanced acc.", "kappa": "kappa", "auroc_macro": "AUROC"}
    lines = [f"{'model':<14}" + "".join(f"{title:>24}" for title in headings.values())]
    for name, model in facts["models"].items():
        cells = (_interval(model["metrics"][metric]) for metric in headings)
        lines.append(f"{name:<14}" + "".join(f"{cell:>24}" for cell in cells))
    for row in facts["reconstruction"] or []:
        ratio = row["ratio_to_linear"]["value"]
        whole = row["low_ms"] == 0.0 and row["high_ms"] is None and row["band"] == "all"
        if whole and row["method"] == "model" and ratio is not None:
            beside = row["ratio_to_ar"]["value"]
            strongest = "" if beside is None else f", {beside:.2f} x that of an autoregressive model"
            lines += [
                "",
                f"hidden samples of held-out subjects: {ratio:.2f} x the error of linear interpolation{strongest}",
            ]
    return [*lines, *_caution(facts), f"leak audit: {facts['audit']['decision']}"]


def _caution(facts: dict[str, Any]) -> list[str]:
    """Return what stands beside the score on the page: a new hospital's range, and what pretraining had seen."""
    lines = []
    new = facts["across_sites"][facts["main_model"]]["balanced_accuracy"].get("new_hospital")
    if new and new["low"] is not None:
        lines.append(f"at a new hospital: balanced accuracy {new['low']:.2f} to {new['high']:.2f}")
    seen = facts["exposure"]
    if seen["n_subjects"]:
        lines.append(
            f"transductive: the encoder was pretrained, without labels, on {seen['n_subjects']} of "
            f"{seen['n_test_subjects']} test subjects"
        )
    return lines


def _interval(metric: dict[str, Any]) -> str:
    if metric["value"] is None:
        return "undefined"
    bounds = "" if metric["low"] is None else f" [{metric['low']:.2f}, {metric['high']:.2f}]"
    return f"{metric['value']:.3f}{bounds}"


def _serve(demo: Demo) -> Stage:
    """Return the stage that answers one recording with the bundle."""
    members = set().union(*labelled_subjects(demo.labels)[demo.task.name].values())
    with demo.labels.open(newline="", encoding="utf-8-sig") as file:
        names = {row["file"] for row in csv.DictReader(file) if (row.get("site") or "", row["subject"]) in members}
    roots = [Path(item) for item in demo.inputs or (str(demo.output / "corpus"),)]
    files = sorted(path for root in roots for path in (root.rglob("*") if root.is_dir() else [root]))
    path_of_file = next(path for path in files if path.name in names)
    command = (sys.executable, "-m", "serving.predict", str(demo.output / "bundle"), str(path_of_file))
    return Stage("serve", f"answers for {path_of_file.name} from the bundle alone", (command,))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; returns 0, or 2 with one line on standard error."""
    parser = Parser(prog="cerebeam demo", description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder for everything that is made")
    parser.add_argument("--input", nargs="+", default=[], help="folders of recordings instead of the synthetic corpus")
    parser.add_argument("--labels", type=Path, help="csv with file, site, subject, label")
    parser.add_argument("--open", action="store_true", help="open the report in a browser at the end")
    parser.add_argument("--task", choices=sorted(TASKS), help="what to classify; chosen from the labels if not given")
    parser.add_argument(
        "--compare", action="store_true", help="also train the published encoder, and the same one from random weights"
    )
    args = parser.parse_args(argv)
    try:
        demo = resolve(args)
        if demo.output.exists():
            shutil.rmtree(demo.output)
        demo.output.mkdir(parents=True)
        (demo.output / "demo.json").write_text("{}\n", encoding="utf-8")
        todo, seconds = stages(demo), {}
        for number, stage in enumerate(todo, start=1):
            seconds[stage.name] = run_stage(stage, number, len(todo) + 1, demo.output / "logs")
        serve = _serve(demo)
        seconds[serve.name] = run_stage(serve, len(todo) + 1, len(todo) + 1, demo.output / "logs")
    except DemoError as error:
        print(f"cerebeam demo: {error}", file=sys.stderr)  # noqa: T201
        return 2
    facts = json.loads((demo.output / "facts.json").read_text(encoding="utf-8"))
    (demo.output / "demo.json").write_text(json.dumps({"seconds": seconds}, indent=1) + "\n", encoding="utf-8")
    print(summary(demo, seconds, facts))  # noqa: T201
    if args.open:
        webbrowser.open((demo.output / "report.html").resolve().as_uri())
    return 0


if __name__ == "__main__":
    sys.exit(main())
