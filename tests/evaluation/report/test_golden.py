"""Whole reports as they were when they were last looked at: facts, page, card and tables of three known inputs.

tests/golden/reports/ is written by `CEREBEAM_WRITE_GOLDEN=1 pytest tests/evaluation/report/test_golden.py`: whoever
changes what a report states on purpose runs that, reads the difference, looks at the page, and says so in the commit.
Facts hold six digits, and are compared to 0.1% since other processors add up in another order; pages are made from the
stored facts, and must be equal.
"""

import json
import math
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.audit.fingerprint import N_DIMS, pack
from evaluation.report.__main__ import main
from evaluation.report.card import model_card
from evaluation.report.drawing.blocks import tables_in
from evaluation.report.drawing.tables import csv_text, latex
from evaluation.report.page import page, sections
from evaluation.schemas.predictions import probabilities, write_predictions
from signals.bundles.calibration import entropy
from studies.calibrate import calibration_of

GOLDEN = Path(__file__).parents[2] / "golden" / "reports"
NAMES = ("six_class", "with_files", "bedside")
FOLDS = [
    {"name": site, "train_subjects": [f"s{k:02d}" for k in range(8) if k % 2 != i],
     "test_subjects": [f"s{k:02d}" for k in range(8) if k % 2 == i]}
    for i, site in enumerate(("north", "south"))
]  # fmt: skip


@pytest.fixture(scope="module")
def bedside(tmp_path_factory: pytest.TempPathFactory, make_predictions: Any, read_report: Any) -> Any:
    """A report whose windows have onsets, copies and a stated uncertainty; its second data set was trained on."""
    folder, rng = tmp_path_factory.mktemp("bedside"), np.random.default_rng(1)
    predictions = make_predictions("six-class", n_subjects=8, sites=("north", "south"), grouping="site", folds=FOLDS,
                                   pretrain_subjects=["s00", "s03"], encoder="pretrained", label_source="experts")  # fmt: skip
    frame = predictions.frame
    order = frame.groupby(["subject_id", "model"]).cumcount()
    frame["start_s"], frame["hop_s"] = order * 700.0, 10.0
    frame["device"] = frame["site_id"].map({"north": "BioSemi", "south": ""})
    frame["uncertainty_total"] = entropy(probabilities(frame, predictions.classes))
    frame.loc[(frame["model"] == "encoder") & (order == 3), "uncertainty_total"] += 0.25
    vectors = {key: rng.normal(size=N_DIMS) for key in dict.fromkeys(frame["window_key"])}
    vectors["1-4"] = vectors["0-4"]
    frame["fingerprint"] = [pack(vectors[key] / np.linalg.norm(vectors[key])) for key in frame["window_key"]]
    write_predictions(folder / "p.parquet", predictions)
    about = calibration_of(replace(predictions, meta={**predictions.meta, "folds": FOLDS}), "encoder", risk=0.4)
    (folder / "c.json").write_text(json.dumps(about))
    outside = make_predictions("six-class", n_subjects=3, sites=("icu",))
    write_predictions(folder / "e.parquet", outside)
    site = {
        "windows": 50,
        "windows_rejected": 3,
        "hours": {"written": 1.5},
        "readers": {"edf": 4},
        "native_sfreqs": {"256": 4},
    }
    files = {"in": 20, "quarantined": 2, "by_reason": {"truncated": 2}}
    (folder / "m.json").write_text(json.dumps({"counts": {"files": files, "sites": {"north": site, "south": site}}}))
    argv = [str(folder / "p.parquet"), "--output", str(folder / "out"), "--n-boot", "50", "--title", "At the bedside"]
    argv += ["--calibration", str(folder / "c.json"), "--external", str(folder / "e.parquet")]
    assert main([*argv, "--pipeline", str(folder / "m.json")]) == 1
    return read_report(folder / "out")


def rounded(value: Any) -> Any:
    """Return facts with six digits, and a fixed date and digests: these follow the moment and a library's version."""
    if isinstance(value, dict):
        fixed = {
            "date": "2026-11-23",
            "versions": {"numpy": "2"},
            "sha256": dict.fromkeys(value.get("sha256") or {}, "ab" * 32),
        }
        return {key: fixed.get(key, rounded(entry)) for key, entry in value.items()}
    if isinstance(value, list):
        return [rounded(entry) for entry in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def gaps(known: Any, found: Any, place: str = "") -> Iterator[str]:
    """Yield every place where facts are not those of the golden file."""
    if isinstance(known, dict) and isinstance(found, dict):
        yield from (f"{place}.{key}: only on one side" for key in known.keys() ^ found.keys())
        for key in known.keys() & found.keys():
            yield from gaps(known[key], found[key], f"{place}.{key}")
    elif isinstance(known, list) and isinstance(found, list) and len(known) == len(found):
        for i, (a, b) in enumerate(zip(known, found, strict=True)):
            yield from gaps(a, b, f"{place}[{i}]")
    elif isinstance(known, float) and isinstance(found, float | int):
        if not math.isclose(known, found, rel_tol=1e-3, abs_tol=1e-6):
            yield f"{place}: {known} is now {found}"
    elif known != found:
        yield f"{place}: {known!r} is now {found!r}"


def body(facts: dict[str, Any], title: str) -> str:
    """Return a page without its style sheet and embedded facts, a tag per line."""
    html = re.sub(r"<style>.*?</style>", "", page(facts, title=title), flags=re.DOTALL)
    return html.split('<script type="application/json"')[0].replace("><", ">\n<") + "\n"


def tables(facts: dict[str, Any]) -> str:
    """Return every table of a page as CSV and as LaTeX."""
    found = [table for entry in sections(facts) for table in tables_in(entry.blocks)]
    return "\n".join(f"{table.name}\n{csv_text(table)}{latex(table)}" for table in found).replace("\r\n", "\n")


def kept(name: str, suffix: str, text: str) -> str:
    """Return a golden file's text; where golden files are written, this text."""
    path = GOLDEN / f"{name}{suffix}"
    if os.environ.get("CEREBEAM_WRITE_GOLDEN"):
        GOLDEN.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_facts_are_the_golden_ones(name: str, request: pytest.FixtureRequest) -> None:
    found = rounded(request.getfixturevalue(name).facts)
    known = json.loads(kept(name, ".json", json.dumps(found, indent=0, ensure_ascii=False).replace(",\n", ",") + "\n"))
    assert list(gaps(known, found)) == []


@pytest.mark.parametrize("name", NAMES)
def test_page_card_and_tables_are_the_golden_ones(name: str) -> None:
    facts = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    for suffix, text in ((".html", body(facts, name)), (".md", model_card(facts, title=name)), (".txt", tables(facts))):
        assert text.splitlines() == kept(name, suffix, text).splitlines()
