"""Whole reports as they were when they were last looked at: facts, page, card and tables of five known inputs.

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
import pandas as pd
import pytest

from evaluation.audit.fingerprint import N_DIMS, pack
from evaluation.report.__main__ import main
from evaluation.report.card import model_card
from evaluation.report.drawing.blocks import tables_in
from evaluation.report.drawing.tables import csv_text, latex
from evaluation.report.page import page, sections
from evaluation.scenarios.reconstruction import write_reconstruction
from evaluation.scenarios.stress import write_stress
from evaluation.schemas.predictions import Predictions, probabilities, write_predictions
from signals.bundles.calibration import entropy
from studies.calibrate import calibration_of
from tests.evaluation.scenarios.test_reconstruction import make_frame as reconstructed

GOLDEN = Path(__file__).parents[2] / "golden" / "reports"
NAMES = ("six_class", "with_files", "bedside", "ward", "one_site")
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


def ward_rows(model: str, *, skill: float, seed: int) -> pd.DataFrame:
    """Return seven patients of one class each, a to d of 3 to 6 windows; the last one is alone at its site."""
    rng, rows = np.random.default_rng(seed), []
    for s in range(7):
        for w in range(3 + s % 4):
            p = 1 / (1 + np.exp(-skill * (2 * (s % 2) - 1) - rng.normal()))
            rows.append(
                {"window_key": f"{s}-{w}", "recording_id": f"r{s}{w // 3}", "subject_id": f"p{s}",
                 "site_id": "east" if s == 6 else "west", "fold": str(1 + s % 3), "model": model,
                 "label": ("Control", "Epilepsy")[s % 2], "target_Control": 1.0 - s % 2, "target_Epilepsy": float(s % 2),
                 "prob_Control": 1 - p, "prob_Epilepsy": p}
            )  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory, read_report: Any) -> Any:
    """A report of patients with one class each, split by subject, whose encoder saw some; reconstruction by band."""
    folder = tmp_path_factory.mktemp("ward")
    ways = (("probe", 1.2, 1), ("prior", 0.0, 2), ("probe#labels-shuffled", 0.1, 3), ("tuned", 0.8, 4))
    frame = pd.concat([ward_rows(name, skill=skill, seed=k) for name, skill, k in ways], ignore_index=True)
    sides = {k: {f"p{s}" for s in range(7) if 1 + s % 3 == k} for k in (1, 2, 3)}
    folds = [{"name": str(k), "test_subjects": sorted(sides[k]),
              "train_subjects": sorted({f"p{s}" for s in range(7)} - sides[k])} for k in sides]  # fmt: skip
    meta = {"grouping": "subject", "label_source": "synthetic", "encoder": "pretrained", "folds": folds,
            "pretrain_subjects": ["p1", "p2", "x9"], "pretrain_sites": ["west"], "salt_id": "aa", "pretrain_salt_id": "aa",
            "recipe": {"name": "probe-all", "epochs": 3, "weights": "", "batch_size": 8},
            "command": "python -m studies --shards /data/corpus/x"}  # fmt: skip
    classes = ("Control", "Epilepsy")
    about = Predictions(frame=frame, task="epilepsy", classes=classes, meta=meta)
    write_predictions(folder / "p.parquet", about)
    cut = [ward_rows(m, skill=skill, seed=k).drop(columns="fold").assign(stress=stress, level=level, unit="", level_name=name)
           for m in ("probe", "tuned") for k, (stress, level, name, skill) in enumerate((
               ("montage", 0.0, "whole", 1.5), ("montage", 1.0, "no reference", 1.0), ("montage", 2.0, "bipolar", 0.3)))]  # fmt: skip
    cut[1], cut[5] = cut[1].iloc[:-6], cut[5].iloc[:0]
    write_stress(folder / "s.parquet", Predictions(frame=pd.concat(cut), task="epilepsy", classes=classes, meta=meta))
    gaps, _, _ = reconstructed()
    low = gaps.assign(band="theta", sum_squared_error=gaps["sum_squared_error"] * 1.5)
    write_reconstruction(folder / "r.parquet", pd.concat([gaps.assign(band="all"), low]))
    (folder / "c.json").write_text(json.dumps({"temperature": 1.5, "fitted_on": {"model": "another"}, "conformal": {}}))
    argv = [str(folder / "p.parquet"), "--output", str(folder / "out"), "--n-boot", "40", "--main-model", "probe"]
    argv += ["--stress", str(folder / "s.parquet"), "--reconstruction", str(folder / "r.parquet")]
    assert main([*argv, "--calibration", str(folder / "c.json")]) == 1
    return read_report(folder / "out")


@pytest.fixture(scope="module")
def one_site(tmp_path_factory: pytest.TempPathFactory, read_report: Any) -> Any:
    """A report of a file that states nothing about itself: one site, one model, a task that nobody knows."""
    folder = tmp_path_factory.mktemp("one")
    frame = ward_rows("net", skill=0.5, seed=7).assign(site_id="here", fold="all")
    about = Predictions(frame=frame, task="own-task", classes=("Control", "Epilepsy"), meta={})
    write_predictions(folder / "p.parquet", about)
    main([str(folder / "p.parquet"), "--output", str(folder / "out"), "--n-boot", "30", "--seed", "3"])
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
