"""cerebeam six-class: a reader that needs no label, and the HMS competition's folder in and out.

    cerebeam six-class build [--output DIR]
    cerebeam six-class read FILE [--bundle DIR]
    cerebeam six-class train --hms DIR --output DIR [--encoder DIR] [-- OPTIONS OF studies.loso]
    cerebeam six-class download [--output DIR]
    cerebeam six-class predict --hms-test DIR --model DIR --out submission.csv

Each step is a command of its own, in a process of its own; docs/six_class_hms.md describes the layout and its traps.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cerebeam.demo import DemoError, Stage, run_stage
from cerebeam.six_class import download, reading
from signals.command_line import Parser
from signals.json_output import add_json, print_json, stages_on_stderr
from signals.readers.layouts.hms import HmsError
from signals.readers.layouts.hms_folder import AskedPart, TrainPart, check_test, check_train
from signals.shards.manifest import COMPLETED
from signals.tasks import SIX_CLASS
from signals.windows.profiles import PROFILES, Profile

PROFILE = "six-class-spectrogram"
RUN = "six_class.json"
"""The request, in the output folder: the same command resumes it, a different one is refused."""
_PYTHON = (sys.executable, "-m")


class RequestError(ValueError):
    """A command that cannot run as requested; the message is one line that says what to do."""


def train(args: argparse.Namespace) -> None:
    """Prepare, cross-validate over patients, score per EEG, train the final model; what was finished is kept."""
    part = check_train(args.hms)
    if not 2 <= args.folds <= part.n_patients:
        raise RequestError(
            f"--folds {args.folds} must be at least 2 and at most the number of patients, {part.n_patients}"
        )
    _claim(args.output, _request(args))
    todo = train_stages(args)
    with stages_on_stderr(as_json=args.json):
        print("\n".join(describe_train(part)))  # noqa: T201
        for number, stage in enumerate(todo, start=1):
            run_stage(stage, number, len(todo), args.output / "logs")
    if args.json:
        made = {name: args.output / name for name in ("model", "predictions.parquet")}
        print_json({**made, **json.loads((args.output / "competition.json").read_text(encoding="utf-8"))})
        return
    print((args.output / "logs" / f"{len(todo)}-score-1.log").read_text(encoding="utf-8").split("\n", 1)[1])  # noqa: T201
    print(f"model        {args.output / 'model'}\npredictions  {args.output / 'predictions.parquet'}")  # noqa: T201


def describe_train(part: TrainPart) -> list[str]:
    """Return what there is to train on, and what is missing, by row."""
    lines = [f"{part.n_labels} labels of {part.n_eegs} EEGs of {part.n_patients} patients"]
    if part.without_spectrogram:
        row = part.without_spectrogram[0]
        lines.append(
            f"{len(part.without_spectrogram)} labels without a spectrogram, first line {row.line} "
            f"(spectrogram_id {row.spectrogram_id}): their spectrogram is NaN"
        )
    if part.without_eeg:
        row = part.without_eeg[0]
        lines.append(
            f"{len(part.without_eeg)} labels without an EEG, first line {row.line} (eeg_id {row.eeg_id}): left out"
        )
    return lines


def train_stages(args: argparse.Namespace) -> list[Stage]:
    """Return the commands of a training, without the preparation where its shards are whole."""
    out: Path = args.output
    shards, predictions = out / "shards", out / "predictions.parquet"
    encoder = ("--encoder", str(args.encoder)) if args.encoder else ("--no-encoder",)
    recipe = args.recipe or ("probe" if args.encoder else "full_tiny")
    todo = []
    if not (shards / COMPLETED).is_file():
        todo.append(
            Stage("prepare", "EEGs and spectrograms to shards of windows", ((
                *_PYTHON, "pipelines.preprocess", "--input", str(args.hms / "train_eegs"), "--output", str(shards),
                "--profile", PROFILE, "--overwrite",
            ),))
        )  # fmt: skip
    return [
        *todo,
        Stage("train", f"{args.folds} folds of patients, then all of them", ((
            *_PYTHON, "studies.loso", "--shards", str(shards), "--task", SIX_CLASS.name, "--group", "subject",
            "--folds", str(args.folds), "--recipe", recipe, *encoder, "--output", str(predictions),
            "--final", str(out / "model"), *args.training_options,
        ),)),
        Stage("score", "the competition's KL, one row an EEG", ((
            *_PYTHON, "evaluation.competition", str(predictions), "--output", str(out / "competition.json"),
        ),)),
    ]  # fmt: skip


def predict(args: argparse.Namespace) -> None:
    """Answer every row of test.csv."""
    part, profile = check_test(args.hms_test), model_profile(args.model)
    if args.out.is_dir():
        raise RequestError(f"--out {args.out} is a folder; name a csv file")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=args.out.parent, prefix=".submission-") as folder:
        work = Path(folder)
        with stages_on_stderr(as_json=args.json):
            for number, stage in enumerate(predict_stages(args, profile, work), start=1):
                run_stage(stage, number, 2, work / "logs")
        unasked = json.loads((work / "notes.json").read_text(encoding="utf-8"))["unasked"]
    for line in _missing(part, profile) + [
        f"{row} has no segment that can be used: answered with 1/6 each" for row in unasked
    ]:
        print(f"cerebeam six-class predict: {line}", file=sys.stderr)  # noqa: T201
    if args.json:
        print_json({"submission": args.out, "n_rows": len(part.rows), "without_an_answer": unasked})
    else:
        print(f"{len(part.rows)} rows, {len(unasked)} without an answer  {args.out}")  # noqa: T201


def predict_stages(args: argparse.Namespace, profile: Profile, work: Path) -> list[Stage]:
    """Return the commands of a prediction; what they make besides the submission goes to `work`."""
    return [
        Stage("prepare", "test EEGs to windows", ((
            *_PYTHON, "pipelines.preprocess", "--input", str(args.hms_test / "test_eegs"), "--profile", profile.name,
            "--output", str(work / "shards"), "--max-quarantined", "1", "--salt", "one prediction",
        ),)),
        Stage("answer", "windows to six numbers each", ((
            *_PYTHON, "studies.submission", "--model", str(args.model), "--shards", str(work / "shards"),
            "--hms-test", str(args.hms_test), "--out", str(args.out), "--notes", str(work / "notes.json"),
        ),)),
    ]  # fmt: skip


def model_profile(folder: Path) -> Profile:
    """Return the profile that a model's windows were made by; raises RequestError where it cannot be made again."""
    path = folder / "config.json"
    if not path.is_file():
        raise RequestError(f"{folder} is no model: it has no config.json")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        profile = Profile.from_dict(config["profile"])
    except (ValueError, KeyError, TypeError) as error:
        raise RequestError(f"{path} does not say how windows were made: {error}") from error
    if PROFILES.get(profile.name) != profile:
        raise RequestError(f"{path} was trained on windows of a changed profile {profile.name!r}: use it as it is")
    return profile


def _missing(part: AskedPart, profile: Profile) -> list[str]:
    if not profile.spectrogram:
        return []
    return [
        f"test.csv line {row.line}: test_spectrograms/{row.spectrogram_id}.parquet does not exist: NaN"
        for row in part.without_spectrogram
    ]


def _request(args: argparse.Namespace) -> dict[str, Any]:
    return {
        "hms": str(args.hms.resolve()),
        "encoder": str(args.encoder.resolve()) if args.encoder else None,
        "recipe": args.recipe,
        "folds": args.folds,
        "training_options": args.training_options,
    }


def _claim(output: Path, request: dict[str, Any]) -> None:
    """Make the output folder ours; raises RequestError for one that holds anything but an earlier run of the same."""
    note = output / RUN
    if note.is_file():
        before = json.loads(note.read_text(encoding="utf-8"))
        other = sorted(name for name in request if request[name] != before.get(name))
        if other:
            raise RequestError(f"{output} was begun with another {', '.join(other)}; choose another --output")
        return
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise RequestError(f"--output {output} exists and is no former training; choose another folder")
    output.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps(request, indent=1) + "\n", encoding="utf-8")


def command_parser() -> Parser:
    """Return the parser of the competition's commands; the others have their own."""
    parser = Parser(prog="cerebeam six-class", description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    fit = commands.add_parser("train", description="train on the competition's folder, scored by patients left out")
    fit.add_argument("--hms", type=Path, required=True, help="folder with train.csv, train_eegs/, train_spectrograms/")
    fit.add_argument("--output", type=Path, required=True, help="folder for shards, predictions, score and model")
    fit.add_argument("--encoder", type=Path, help="folder of a pretrained encoder; random weights without")
    fit.add_argument("--recipe", help="recipe of studies.loso; probe with an encoder, full_tiny without")
    fit.add_argument("--folds", type=int, default=5, help="groups of patients (default 5)")
    fit.add_argument("training_options", nargs="*", help="after --: further options of studies.loso")
    add_json(fit, "model and predictions, and the competition's scores")
    fit.set_defaults(run=train)
    for name, what in reading.COMMANDS.items():  # they have parsers of their own
        commands.add_parser(name, description=what)
    commands.add_parser("download", description="the competition's files, through Kaggle's API")
    prediction = commands.add_parser("predict", description="answer every row of test.csv")
    prediction.add_argument(
        "--hms-test", type=Path, required=True, help="folder with test.csv, test_eegs/, test_spectrograms/"
    )
    prediction.add_argument("--model", type=Path, required=True, help="folder of a six-class model")
    prediction.add_argument("--out", type=Path, required=True, help="csv to write: eeg_id and six vote columns")
    add_json(prediction, "the submission, its rows, and those without an answer of the model")
    prediction.set_defaults(run=predict)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the commands; returns 0, or 2 with one line on standard error."""
    given = list(sys.argv[1:] if argv is None else argv)
    if given[:1] == ["download"]:
        return download.main(given[1:])
    if given and given[0] in reading.COMMANDS:
        return reading.main(given)
    args = command_parser().parse_args(given)
    try:
        args.run(args)
    except (RequestError, HmsError, DemoError, OSError) as error:
        print(f"cerebeam six-class {args.command}: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
