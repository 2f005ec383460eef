"""Evaluate predictions: a page, its facts.json and a model card.

`python -m evaluation.report PREDICTIONS --output DIR`. Embeddings, stress and transfer files of `training` add their
sections. Exit code 1 where the leak audit fails: the page is written, and marked on top.
"""

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from evaluation.audit.match import check_classes, check_manifest, check_same_task
from evaluation.report.context import Sources
from evaluation.report.facts import facts_from
from evaluation.report.files import CARD, FACTS, PAGE, write_report
from evaluation.report.statements import write_statements
from evaluation.scenarios.reconstruction import read_reconstruction
from evaluation.scenarios.stress import read_stress
from evaluation.schemas.embeddings import read_embeddings
from evaluation.schemas.predictions import Predictions, read_predictions
from signals.command_line import Parser
from signals.files import file_sha256
from signals.tasks import is_multilabel

AUDIT_FAILED_EXIT = 1


def report(
    predictions: Path,
    output: Path,
    *,
    reconstruction: Path | None = None,
    history: Path | None = None,
    pipeline: Path | None = None,
    external: Path | None = None,
    calibration: Path | None = None,
    embeddings: Sequence[Path] = (),
    stress: Path | None = None,
    transfer: Path | None = None,
    manifest: Path | None = None,
    reference: str = "",
    main_model: str = "",
    title: str = "",
    n_boot: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Read all files, write page, facts and card, and return the facts.

    Raises ValueError or OSError, before anything is written, for a file that is missing, is not what it should be, or
    does not belong to the others.
    """
    main_predictions = read_predictions(predictions)
    check_classes(main_predictions)
    if external is not None and file_sha256(external) == file_sha256(predictions):
        raise ValueError(f"{external} is the predictions file itself: external validation needs data of its own")
    if manifest is not None:
        check_manifest(main_predictions, manifest)
    one = {"reconstruction": reconstruction, "history": history, "pipeline": pipeline, "external": external, "calibration": calibration,
           "stress": stress, "transfer": transfer, "manifest": manifest}  # fmt: skip
    files: dict[str, list[Path]] = {"predictions": [predictions], "embeddings": list(embeddings)}
    files |= {name: [path] for name, path in one.items() if path is not None}
    provenance: dict[str, Any] = {
        "sha256": _digests(files),
        "command": _command(files, reference=reference, main_model=main_model, n_boot=n_boot, seed=seed),
    }
    if pipeline is not None:
        provenance["pipeline"] = pipeline_facts(pipeline)
    provenance["date"] = datetime.fromtimestamp(predictions.stat().st_mtime, UTC).date().isoformat()
    heading = title or f"Cerebeam evaluation: {main_predictions.task}"
    if is_multilabel(main_predictions.task):
        if given := sorted(set(files) - {"predictions", "stress", "embeddings", "pipeline", "manifest"}):
            raise ValueError(f"the report of a multi-label task has no section for --{given[0]}: leave it out")
        return write_statements(
            main_predictions, output, title=heading, n_boot=n_boot, seed=seed, provenance=provenance,
            stress=None if stress is None else read_stress(stress),
        )  # fmt: skip
    sources = Sources(
        predictions=main_predictions,
        reconstruction=None if reconstruction is None else read_reconstruction(reconstruction),
        history=None if history is None else read_history(history),
        external=None if external is None else _of_task(read_predictions(external), main_predictions, external),
        manifest=None if pipeline is None else read_json(pipeline, "manifest"),
        calibration=None if calibration is None else read_json(calibration, "calibration file"),
        embeddings=[read_embeddings(path) for path in embeddings],
        stress=None if stress is None else _of_task(read_stress(stress), main_predictions, stress),
        transfer=None if transfer is None else _of_task(read_predictions(transfer), main_predictions, transfer),
        reference=reference,
        provenance=provenance,
    )
    facts = facts_from(sources, n_boot=n_boot, seed=seed, main_model=main_model)
    write_report(facts, output, title=heading)
    return facts


def _of_task(second: Predictions, predictions: Predictions, path: Path) -> Predictions:
    check_same_task(second, predictions, path)
    return second


def _digests(files: Mapping[str, Sequence[Path]]) -> dict[str, str]:
    digests = {}
    for name, paths in files.items():
        for path in paths:
            key = name if len(paths) == 1 else f"{name} {path.name}"
            digests[key] = file_sha256(path / "manifest.json" if path.is_dir() else path)
    return digests


def _command(files: Mapping[str, Sequence[Path]], *, reference: str, main_model: str, n_boot: int, seed: int) -> str:
    """Return the command without folders: where files lie on a machine is nobody's business."""
    options = [
        f"--{name} {' '.join(shlex.quote(path.name) for path in paths)}"
        for name, paths in files.items()
        if name != "predictions" and paths
    ]
    options += [f"--reference {shlex.quote(reference)}"] if reference else []
    options += [f"--main-model {shlex.quote(main_model)}"] if main_model else []
    first = shlex.quote(files["predictions"][0].name)
    return f"python -m evaluation.report {first} --output DIR {' '.join([*options, f'--n-boot {n_boot}', f'--seed {seed}'])}"


def read_history(path: Path) -> list[dict[str, Any]]:
    """Read a training log, one JSON object per line; raises ValueError naming a line that is not one."""
    lines = []
    for i, raw in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            line = json.loads(raw)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {i} is not JSON: {error}") from None
        if not isinstance(line, dict):
            raise ValueError(f"{path}, line {i} is not a JSON object")
        lines.append(line)
    return lines


def read_json(path: Path, noun: str) -> dict[str, Any]:
    """Read a JSON object; raises ValueError, in one line, for a file that holds none."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not a {noun}: {error}") from None
    if not isinstance(entries, dict):
        raise ValueError(f"{path} is not a {noun}: it holds no JSON object")
    return entries


def pipeline_facts(path: Path) -> dict[str, Any]:
    """Return the plain entries of a pipeline's manifest, and the lengths of its lists and tables."""
    manifest = read_json(path, "manifest")
    return {k: f"{len(v)} entries" if isinstance(v, (list, dict)) else v for k, v in manifest.items()}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns 0, 1 where the audit failed, or 2 after one line on stderr for bad input."""
    parser = Parser(prog="cerebeam report", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("predictions", type=Path, help="predictions.parquet")
    parser.add_argument("--output", type=Path, required=True, help="folder for report.html and facts.json")
    parser.add_argument("--reconstruction", type=Path, help="reconstruction.parquet of pretraining")
    parser.add_argument("--history", type=Path, help="training log of pretraining, one JSON object per line")
    parser.add_argument("--pipeline", type=Path, help="manifest.json of the pipeline")
    parser.add_argument("--external", type=Path, help="predictions of the same task on a second data set")
    parser.add_argument("--calibration", type=Path, help="calibration.json of the model that is shipped")
    parser.add_argument("--embeddings", type=Path, nargs="+", default=[], help="embeddings files, one per model")
    parser.add_argument("--stress", type=Path, help="predictions of disturbed windows")
    parser.add_argument("--transfer", type=Path, help="predictions of several ways of using an encoder")
    parser.add_argument("--reference", default="", help="model of --transfer to compare with; its first one by default")
    parser.add_argument("--manifest", type=Path, help="shard set that the predictions must belong to")
    parser.add_argument(
        "--main-model", default="", help="model that the page is about; encoder, or the first trained one, by default"
    )
    parser.add_argument("--title", default="", help="heading of the page")
    parser.add_argument("--json", action="store_true", help="one JSON object: the files, and errors of the leak audit")
    parser.add_argument("--n-boot", type=int, default=2000, help="resamples of subjects")
    parser.add_argument("--seed", type=int, default=0, help="seed of the resampling")
    given = parser.parse_args(argv)
    if given.n_boot < 1:
        parser.error(f"--n-boot {given.n_boot} must be at least 1")
    options = {name: value for name, value in vars(given).items() if name not in ("predictions", "output", "json")}
    try:
        facts = report(given.predictions, given.output, **options)
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        detail = f"missing entry {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        if isinstance(error, FileNotFoundError):
            detail = f"{error.filename or error} does not exist"
        sys.stderr.write(f"cerebeam report: {detail}\n")
        return 2
    codes = sorted({f["code"] for f in facts["audit"]["findings"] if f["severity"] == "error"})
    if given.json:
        files = {name: str(given.output / name) for name in (PAGE, FACTS, CARD)}
        sys.stdout.write(json.dumps({"files": files, "audit_errors": codes}) + "\n")
    else:
        sys.stdout.write("".join(f"{given.output / name}\n" for name in (PAGE, FACTS, CARD)))
    if codes:
        sys.stderr.write(f"cerebeam report: the leak audit failed, the figures must not be used: {', '.join(codes)}\n")
        return AUDIT_FAILED_EXIT
    return 0


if __name__ == "__main__":
    sys.exit(main())
