"""What every published figure rests on: limits, levels, tables of words and defaults, as they were last agreed on.

tests/golden/constants.json holds them all, so that none changes without a line in a commit: a limit of the audit that
moves makes a report pass that failed before.
"""

import ast
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from evaluation import competition
from evaluation.audit import (
    audit,
    claims,
    companions,
    confounds,
    duplicates,
    exposure,
    findings,
    fingerprint,
)
from evaluation.domain import gap, geometry, probes
from evaluation.drift import drift, exposition, statistics
from evaluation.drift import facts as drift_facts
from evaluation.measures import (
    bootstrap,
    boundaries,
    calibration,
    conformal,
    intervals,
    metrics,
    selective,
    snr,
    tallies,
)
from evaluation.operating import alarms, curves, events, nesting
from evaluation.report import calibrated, card, files, statements
from evaluation.report import facts as report_facts
from evaluation.report.drawing import abbreviations, figures, pdf, tables, wording
from evaluation.scenarios import archives, reconstruction, sites, stress, transfer
from evaluation.schemas import embeddings, origin, parquet, predictions
from tests.evaluation.golden import gaps, kept_json

MODULES = (
    competition, audit, claims, companions, confounds, duplicates, exposure, findings, fingerprint, gap, geometry,
    probes, drift, exposition, statistics, drift_facts, bootstrap, boundaries, calibration, conformal, intervals,
    metrics, selective, snr, tallies, alarms, curves, events, nesting, calibrated, card, files, statements,
    report_facts, abbreviations, figures, pdf, tables, wording,
    archives, reconstruction, sites, stress, transfer, embeddings, origin,
    parquet, predictions,
)  # fmt: skip


def plain(value: Any) -> Any:
    """Return a constant as JSON has it, None for what is none."""
    if isinstance(value, type):
        return None
    if is_dataclass(value):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, tuple | list):
        return [plain(entry) for entry in value]
    if isinstance(value, bytes | frozenset):
        return repr(value) if isinstance(value, bytes) else sorted(value)
    return value if isinstance(value, bool | int | float | str) and value == value else None


def constants(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Yield the name and value of what a module assigns, and of each default of its dataclasses."""
    for node in ast.parse(Path(str(module.__file__)).read_bytes()).body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        names = [child.id for target in targets for child in ast.walk(target) if isinstance(child, ast.Name)]
        yield from ((name, plain(getattr(module, name))) for name in names)
    for name, kind in inspect.getmembers(module, is_dataclass):
        if isinstance(kind, type) and kind.__module__ == module.__name__:
            yield from ((f"{name}.{f.name}", plain(f.default)) for f in fields(kind) if f.default is not MISSING)


def test_every_limit_table_and_default_is_the_agreed_one() -> None:
    found = {
        module.__name__.removeprefix("evaluation."): {
            name: value for name, value in constants(module) if value is not None
        }
        for module in MODULES
    }
    known = kept_json("constants.json", found)
    assert list(gaps(known, found, rel=0.0)) == []
    # Tables are read from the first entry on: their order is part of them.
    assert [list(entries) for entries in known.values()] == [list(entries) for entries in found.values()]
