"""cerebeam study: a study by name, on shards, or on recordings with a label file, which it prepares first.

    cerebeam study fair --shards DIR --task six-class --encoder DIR --output OUT/fair.parquet
    cerebeam study fair --input DIR --labels labels.csv --task movement --group subject --output OUT/fair.parquet

With --input, shards are written to `shards` beside the output, once. A task that signals.tasks does not name has the
labels of the label file as its classes. Where labels have an onset, a window is cut at each.
"""

import argparse
import csv
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from signals.command_line import Parser
from signals.shards.manifest import COMPLETED
from signals.tasks import SIX_CLASS, TASKS
from studies.study import STUDIES
from studies.study import main as run_study

PROG = "cerebeam study"
MOST_CLASSES = 20


def classes_of(labels: Path) -> tuple[str, ...]:
    """Return the labels that a label file names, sorted; raises ValueError for fewer than two, and for too many."""
    with labels.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        if "label" not in (rows.fieldnames or ()):
            raise ValueError(f"{labels} has no column 'label'")
        found = sorted({row["label"].strip() for row in rows if row["label"] and row["label"].strip()})
    if not 2 <= len(found) <= MOST_CLASSES:
        raise ValueError(f"{labels} names {len(found)} labels; a task has 2 to {MOST_CLASSES}: give --classes")
    return tuple(found)


def places_windows(labels: Path) -> bool:
    """Return whether a label file says where a label's window begins."""
    with labels.open(newline="", encoding="utf-8") as file:
        return any((row.get("onset_s") or "").strip() for row in csv.DictReader(file))


def prepare(given: argparse.Namespace, output: Path) -> Path:
    """Return the shards of the recordings, prepared now unless they are there; exits with the pipeline's code."""
    shards = output.parent / "shards"
    if not (shards / COMPLETED).is_file():
        profile = given.profile or (SIX_CLASS.name if given.task == SIX_CLASS.name else "pretrain")
        cards = ["--site-card", str(given.site_card)] if given.site_card else []
        at_onsets = ["--set", "windows=labelled"] if places_windows(given.labels) else []
        command = [
            sys.executable, "-m", "pipelines.preprocess", "--input", *map(str, given.input), "--labels",
            str(given.labels), "--output", str(shards), "--profile", profile, "--salt", given.salt, "--site-from",
            "label", *cards, *at_onsets,
        ]  # fmt: skip
        if code := subprocess.run(command, check=False).returncode:
            raise SystemExit(code)
    return shards


def with_shards(name: str, arguments: Sequence[str]) -> list[str]:
    """Return a study's arguments with recordings and label file replaced by shards and classes."""
    parser = Parser(prog=f"{PROG} {name}", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--input", type=Path, nargs="+", required=True, help="recordings: files or folders")
    parser.add_argument("--labels", type=Path, required=True, help="label file of the recordings")
    parser.add_argument("--task", required=True, help="name of the task, known or new")
    parser.add_argument("--output", type=Path, required=True, help="predictions file")
    parser.add_argument("--profile", help="how windows are prepared; by default the task's")
    parser.add_argument("--site-card", type=Path, help="site card, or a folder of them")
    parser.add_argument("--salt", default="study", help="of the people's ids")
    given, rest = parser.parse_known_args(list(arguments))
    for path in (*given.input, given.labels):
        if not path.exists():
            parser.error(f"{path} does not exist")
    classes: list[str] = []
    try:
        if given.task not in TASKS and "--classes" not in rest:
            classes = ["--classes", *classes_of(given.labels)]
    except ValueError as error:
        parser.error(str(error))
    shards = prepare(given, given.output)
    return ["--shards", str(shards), "--task", given.task, *classes, "--output", str(given.output), *rest]


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    takes_input = arguments[:1] and arguments[0] in STUDIES and arguments[0] != "stress"
    if takes_input and any(argument.split("=")[0] == "--input" for argument in arguments[1:]):
        arguments = [arguments[0], *with_shards(arguments[0], arguments[1:])]
    run_study(arguments, prog=PROG)


if __name__ == "__main__":
    main()
