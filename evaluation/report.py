"""Predictions in, one HTML page and its facts.json out: `python -m evaluation.report PREDICTIONS --output DIR`."""

import hashlib
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from evaluation.facts import facts_from
from evaluation.predictions import Predictions, read_predictions
from evaluation.reconstruction import read_reconstruction
from evaluation.report_page import page
from signals.command_line import Parser


def write_report(facts: dict[str, Any], output: Path, *, title: str) -> tuple[Path, Path]:
    """Write facts.json and report.html into a folder, each atomically; returns their paths."""
    # Both are made before either is written, and the page from what a reader of facts.json would get.
    as_json = json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False)
    html = page(json.loads(as_json), title=title)
    output.mkdir(parents=True, exist_ok=True)
    paths = (output / "facts.json", output / "report.html")
    for path, content in zip(paths, (as_json, html), strict=True):
        partial = path.with_name(path.name + ".partial")
        partial.write_text(content, encoding="utf-8")
        partial.replace(path)
    return paths


def report(
    predictions: Path,
    output: Path,
    *,
    reconstruction: Path | None = None,
    history: Path | None = None,
    pipeline: Path | None = None,
    external: Path | None = None,
    title: str = "",
    n_boot: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Read all files, write facts.json and report.html, and return the facts.

    Raises ValueError or OSError, before anything is written, for a file that is missing or is not what it should be.
    """
    main_predictions = read_predictions(predictions)
    outside = None if external is None else read_external(external, main_predictions)
    files = {"predictions": predictions, "reconstruction": reconstruction, "history": history, "pipeline": pipeline,
             "external": external}  # fmt: skip
    extra: dict[str, Any] = {
        "sha256": {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items() if path}
    }
    options = [f"--{name} {shlex.quote(path.name)}" for name, path in files.items() if path and name != "predictions"]
    options += [f"--n-boot {n_boot}", f"--seed {seed}"]
    extra["command"] = f"python -m evaluation.report {shlex.quote(predictions.name)} --output DIR {' '.join(options)}"
    if pipeline is not None:
        extra["pipeline"] = pipeline_facts(pipeline)
    facts = facts_from(
        main_predictions,
        reconstruction=None if reconstruction is None else read_reconstruction(reconstruction),
        history=None if history is None else read_history(history),
        external=outside,
        extra=extra,
        n_boot=n_boot,
        seed=seed,
    )
    write_report(facts, output, title=title or f"Cerebeam evaluation: {main_predictions.task}")
    return facts


def read_external(path: Path, predictions: Predictions) -> Predictions:
    """Read the second predictions file; raises ValueError if it is of another task."""
    outside = read_predictions(path)
    if (outside.task, outside.classes) != (predictions.task, predictions.classes):
        raise ValueError(f"{path} is of task {outside.task!r}, the predictions are of {predictions.task!r}")
    return outside


def read_history(path: Path) -> list[dict[str, Any]]:
    """Read a training log, one JSON object a line; raises ValueError naming the line that is none."""
    lines = []
    for i, raw in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            line = json.loads(raw)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {i} is no JSON: {error}") from None
        if not isinstance(line, dict):
            raise ValueError(f"{path}, line {i} is no JSON object")
        lines.append(line)
    return lines


def pipeline_facts(path: Path) -> dict[str, Any]:
    """Return the plain entries of a pipeline's manifest, and the lengths of its lists and tables."""
    manifest = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(manifest, dict):
        raise ValueError(f"{path} is no manifest: it holds no JSON object")
    return {k: f"{len(v)} entries" if isinstance(v, (list, dict)) else v for k, v in manifest.items()}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns 0, or 2 after one line on stderr for bad input."""
    parser = Parser(prog="python -m evaluation.report", description=__doc__)
    parser.add_argument("predictions", type=Path, help="predictions.parquet")
    parser.add_argument("--output", type=Path, required=True, help="folder for report.html and facts.json")
    parser.add_argument("--reconstruction", type=Path, help="reconstruction.parquet of pretraining")
    parser.add_argument("--history", type=Path, help="training log of pretraining, one JSON object a line")
    parser.add_argument("--pipeline", type=Path, help="manifest.json of the pipeline")
    parser.add_argument("--external", type=Path, help="predictions of the same task on real intensive-care segments")
    parser.add_argument("--title", default="", help="heading of the page")
    parser.add_argument("--n-boot", type=int, default=2000, help="resamples of subjects")
    parser.add_argument("--seed", type=int, default=0, help="seed of the resampling")
    given = parser.parse_args(argv)
    if given.n_boot < 1:
        parser.error(f"--n-boot {given.n_boot} must be at least 1")
    options = {name: value for name, value in vars(given).items() if name not in ("predictions", "output")}
    try:
        report(given.predictions, given.output, **options)
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        detail = f"missing entry {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        if isinstance(error, FileNotFoundError):
            detail = f"{error.filename or error} does not exist"
        sys.stderr.write(f"evaluation.report: {detail}\n")
        return 2
    sys.stdout.write(f"{given.output / 'report.html'}\n{given.output / 'facts.json'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
