"""cerebeam run: data -> train -> report -> bundle -> registry -> API, in one command that goes on where it stopped.

Without the HMS competition's folder it takes a synthetic corpus, and its figures say how the machinery works, no more.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cerebeam.demo import DemoError, Stage, run_stage
from signals.command_line import Parser
from signals.files import atomic_file
from signals.tasks import SIX_CLASS

_PYTHON = (sys.executable, "-m")
NAME = SIX_CLASS.name
"""Of the model in the registry."""


HMS = Path("data/hms")


@dataclass(frozen=True)
class Step:
    """A stage, and whether a failure only leaves something out."""

    stage: Stage
    optional: bool = False
    clears: Path | None = None
    """What an earlier run has made in its place, which a command would not write over."""


def steps(args: argparse.Namespace) -> list[Step]:
    """Return what is to be done, in order."""
    out: Path = args.output
    folder: Path = args.hms or HMS
    hms = folder if (folder / "train.csv").is_file() else None
    shards, predictions, model = out / "shards", out / "predictions.parquet", out / "model"
    todo = []
    if not args.skip_download and hms is None and _has_credentials():
        hms = folder
        todo.append(
            Step(_stage("download", "the HMS competition's files", "cerebeam.six_class.download", "--output", hms))
        )
    if args.hms is not None and hms is None:
        raise DemoError(f"--hms {args.hms} holds no train.csv; leave the option out to train on a synthetic corpus")
    if not args.skip_train:
        todo += _of_hms(args, hms) if hms else _of_synthetic(args)
    return [
        *todo,
        Step(_stage("report", "metrics, intervals, audit", "evaluation.report", predictions, "--output", out / "report",
                    "--title", "Cerebeam: six classes")),
        Step(_stage("export", "ONNX, checked against torch", "model.export", "--model", model, "--shards", shards,
                    "--output", out / "bundle"), clears=out / "bundle"),
        Step(_stage("register", "the bundle as challenger", "cerebeam.cli", "register", NAME, out / "bundle",
                    "--report", out / "report" / "facts.json", "--registry", args.registry)),
        Step(_stage("promote", "champion, if every gate holds", "cerebeam.cli", "promote", NAME, "--registry",
                    args.registry), optional=True),
    ]  # fmt: skip


def _of_hms(args: argparse.Namespace, hms: Path) -> list[Step]:
    """Return the training on the competition's folder, which resumes by itself."""
    effort = ("--", "--schedule.epochs", "2") if args.quick else ()
    stage = _stage("train", "five folds of patients, then all", "cerebeam.six_class.commands", "train",
                   "--hms", hms, "--output", args.output, *effort)  # fmt: skip
    return [Step(stage)]


def _of_synthetic(args: argparse.Namespace) -> list[Step]:
    out: Path = args.output
    subjects, effort = ("2", ("--schedule.epochs", "2")) if args.quick else ("8", ())
    return [
        Step(_stage("synthesize", "a corpus of four synthetic sites", "synthetic.synthesize", "--output",
                    out / "corpus", "--seed", str(args.seed), "--subjects-per-site", subjects), clears=out / "corpus"),
        Step(_stage("prepare", "recordings to shards of windows", "pipelines.preprocess", "--input", out / "corpus",
               "--labels", out / "corpus" / "labels.csv", "--output", out / "shards", "--salt", "cerebeam-run",
               "--site-from", "folder", "--profile", "six-class", "--overwrite")),
        Step(_stage("train", "one site left out at a time, then all", "studies.loso", "--shards", out / "shards",
               "--task", NAME, "--group", "site", "--no-encoder", "--recipe", "full_tiny", "--output",
               out / "predictions.parquet", "--final", out / "model", *effort),
             clears=out / "model"),
    ]  # fmt: skip


def _stage(name: str, what: str, module: str, *arguments: str | Path) -> Stage:
    return Stage(name, what, ((*_PYTHON, module, *map(str, arguments)),))


def _has_credentials() -> bool:
    from cerebeam.six_class.download import DownloadError, credentials

    try:
        credentials()
    except DownloadError:
        return False
    return True


def run(todo: Sequence[Step], output: Path) -> None:
    """Do the steps that are not done yet; raises DemoError with the end of the log of one that fails.

    A step counts as done with the command it was done with: another option does it, and what follows, again.
    """
    done, again = _done(output), False
    for number, step in enumerate(todo, start=1):
        command = [list(command) for command in step.stage.commands]
        if not again and done.get(step.stage.name) == command:
            print(f"[{number}/{len(todo)}] {step.stage.name}: done before")  # noqa: T201
            continue
        again = True
        if step.clears is not None:
            shutil.rmtree(step.clears, ignore_errors=True)
        try:
            run_stage(step.stage, number, len(todo), output / "logs")
        except DemoError as error:
            if not step.optional:
                raise
            print(f"      {error}")  # noqa: T201
            continue
        done[step.stage.name] = command
        with atomic_file(output / "done.json") as file:
            file.write(json.dumps(done, indent=1).encode())


def _done(output: Path) -> dict[str, list[list[str]]]:
    try:
        return dict(json.loads((output / "done.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = Parser(prog="cerebeam run", description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("run-output"), help="folder for everything that is made")
    parser.add_argument(
        "--hms", type=Path, help=f"the competition's folder; {HMS}, and a synthetic corpus where it is not there"
    )
    parser.add_argument("--registry", default="sqlite:///var/mlflow.db", help="MLflow's URI")
    parser.add_argument("--seed", type=int, default=20261121, help="of the synthetic corpus")
    parser.add_argument("--skip-download", action="store_true", help="take what is there")
    parser.add_argument("--skip-train", action="store_true", help="take the model that is there")
    parser.add_argument("--quick", action="store_true", help="little data and two epochs: shows that everything runs")
    parser.add_argument("--no-serve", action="store_true", help="end with the registered model")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line; returns 0, or 2 with one line on standard error."""
    args = parse_args(argv)
    try:
        args.output.mkdir(parents=True, exist_ok=True)
        run(steps(args), args.output)
    except (DemoError, OSError) as error:
        print(f"cerebeam run: {error}", file=sys.stderr)  # noqa: T201
        return 2
    print(f"bundle  {args.output / 'bundle'}\nreport  {args.output / 'report' / 'report.html'}")  # noqa: T201
    if args.no_serve:
        return 0
    command = [*_PYTHON, "service.serve", str(args.output / "bundle")]
    return subprocess.run(command, env=os.environ, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
