"""Whole reports as they were when they were last looked at: facts, page, card and tables of five known inputs.

tests/golden/reports/ is written by `CEREBEAM_WRITE_GOLDEN=1 pytest tests/evaluation/report/test_golden.py`: whoever
changes what a report states on purpose runs that, reads the difference, looks at the page, and says so in the commit.
Facts hold six digits, and are compared to 0.1% since other processors add up in another order; pages are made from the
stored facts, and must be equal.
"""

import difflib
import json
import re
from dataclasses import replace
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
from tests.evaluation.golden import GOLDEN, gaps, kept, kept_json
from tests.evaluation.scenarios.test_reconstruction import make_frame as reconstructed

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


def body(facts: dict[str, Any], title: str) -> str:
    """Return a page without its style sheet and embedded facts, a tag per line."""
    html = re.sub(r"<style>.*?</style>", "", page(facts, title=title), flags=re.DOTALL)
    return html.split('<script type="application/json"')[0].replace("><", ">\n<") + "\n"


def tables(facts: dict[str, Any]) -> str:
    """Return every table of a page as CSV and as LaTeX."""
    found = [table for entry in sections(facts) for table in tables_in(entry.blocks)]
    return "\n".join(f"{table.name}\n{csv_text(table)}{latex(table)}" for table in found).replace("\r\n", "\n")


@pytest.mark.parametrize("name", NAMES)
def test_facts_are_the_golden_ones(name: str, request: pytest.FixtureRequest) -> None:
    found = rounded(request.getfixturevalue(name).facts)
    assert list(gaps(kept_json(f"reports/{name}.json", found), found)) == []


@pytest.mark.parametrize("name", NAMES)
def test_page_card_and_tables_are_the_golden_ones(name: str) -> None:
    facts = json.loads((GOLDEN / f"reports/{name}.json").read_text(encoding="utf-8"))
    for suffix, text in ((".html", body(facts, name)), (".md", model_card(facts, title=name)), (".txt", tables(facts))):
        assert text.splitlines() == kept(f"reports/{name}{suffix}", text).splitlines()


def edited(facts: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return a copy of facts in which each place (keys joined by two underscores) holds another value."""
    changed = json.loads(json.dumps(facts))
    for place, value in changes.items():
        *above, last = [int(key) if key.isdigit() else key for key in place.split("__")]
        entry = changed
        for key in above:
            entry = entry[key]
        entry[last] = value
    return changed


NOTHING = {"value": None, "low": None, "high": None, "reason": "none of them"}
LONE = {"value": 0.5, "low": None, "high": None, "reason": "one subject"}
WARNING = {"severity": "warning", "code": "c", "message": "A thing.", "file": "predictions"}
EDITS: dict[str, tuple[str, dict[str, Any]]] = {
    "another model's data": ("six_class", {"grouping": "apart", "n_folds": 0, "labels__source": "protocol"}),
    "one patient": ("six_class", {"data__n_sites": 1, "data__n_subjects": 1, "data__n_recordings": 1000}),
    "single classes": ("bedside", {"labels__votes": False, "labels__source": "unknown", "n_folds": 0}),
    "sites, not subjects, were seen": ("bedside", {"exposure__n_subjects": 0, "exposure__sites": ["a", "b"]}),
    "no warning": ("six_class", {"audit": {"decision": "passed", "findings": []}}),
    "one warning": ("six_class", {"audit": {"decision": "passed with warnings", "findings": [WARNING]}}),
    "two files fail": ("six_class", {"audit": {"decision": "failed", "findings": [
        {**WARNING, "severity": "error", "file": "stress"}, {**WARNING, "severity": "error", "code": "d"}]}}),
    "a model like the others": ("six_class", {"differences": [
        {"first": "a", "second": "prior", "metric": None, "p_value": None, "at_floor": False, "reason": "apart",
         "p_holm": None, "value": None}]}),
    "nothing to compare": ("six_class", {"differences": []}),
    "undefined at one site": ("six_class", {"across_sites__encoder__balanced_accuracy__n_sites": 1}),
    "well known values are not": ("six_class", {
        "models__encoder__metrics__balanced_accuracy": NOTHING, "models__encoder__metrics__kl": LONE,
        "sites__encoder__0__metrics__balanced_accuracy": NOTHING, "sites__encoder__1__metrics__kl": LONE}),
    "sites without any value": ("six_class", {
        f"sites__encoder__{k}__metrics__balanced_accuracy": NOTHING for k in (0, 1)}),
    "apart from all that was used": ("six_class", {
        "external__n_unknown": 0, "external__overlap__complete": True, "external__main_model": "prior"}),
    "partly used": ("six_class", {"external__overlap__n_shared_windows": 1234, "external__overlap__n_subjects": 2}),
    "no calibration that applies": ("bedside", {"calibration__applied": None, "uncalibrated": None}),
    "one temperature, majority": ("bedside", {"calibration__fitted_to": "majority", "calibration__risk": None,
        "calibration__applied": {"temperatures": [1.25], "by": "patients"}, "calibration__sets": None}),
    "never abstains": ("bedside", {"calibration__abstain_below": None}),
    "under-confident": ("bedside", {"confidence": {"mean": 0.4, "accuracy": 0.5}}),
    "over-confident": ("bedside", {"confidence": {"mean": 0.531, "accuracy": 0.5}}),
    "well calibrated": ("bedside", {"confidence": {"mean": 0.5299, "accuracy": 0.5}}),
    "thresholds of these windows": ("bedside", {
        "selective__limited__1__nested": False, "curves__classes__0__nested": False, "chosen_on": "patients"}),
    "no curve": ("bedside", {"curves__classes": []}),
    "encoders of single folds": ("bedside", {"model_description__fold_encoders": [1200, 3], "folds__0__name": "x"}),
    "pretrained on one": ("bedside", {"model_description__n_pretrain_subjects": 1, "model_description__date": None}),
    "pretrained on none": ("bedside", {"model_description__n_pretrain_subjects": 0, "model_description__settings": {}}),
    "no pipeline": ("bedside", {"cohort__flow__files_in": None, "cohort__sites__0__hours": None, "cohort__devices": []}),
    "sets that no class holds": ("six_class", {
        "conformal__folds__0__by_class": {"Seizure": None, "LPD": None}, "conformal__folds__1__short_expected": 0.0,
        "conformal__folds__2__by_class": {"Seizure": 0.8, "LPD": 0.7}, "grouping": "subject"}),
    "no grave confusion": ("six_class", {"confusion__grave": [], "task__grave": []}),
    "a class that never occurs": ("six_class", {
        "confusion__row_shares__0": [None] * 6, "confusion__counts__0": [0.0] * 6}),
    "refused altogether": ("with_files", {
        "stress__0__levels__2__n_windows": 0, "stress__0__levels__2__n_refused": 1060,
        "stress__0__levels__1__metrics__balanced_accuracy": NOTHING}),
    "no level is defined": ("with_files", {
        f"stress__0__levels__{k}__metrics__balanced_accuracy": NOTHING for k in range(3)}),
    "too few windows for a map": ("with_files", {
        "embeddings__0__geometry__map__tsne": [], "embeddings__1__geometry__map__tsne": [],
        "embeddings__1__geometry__map__pca": [], "embeddings__0__gap__gaps": []}),
    "no gap and a probe without people": ("with_files", {
        "embeddings__0__gap__gaps": [], "embeddings__1__gap__gaps": [],
        "embeddings__0__gap__site_probe": {"accuracy": None, "chance": None, "n_windows": 0, "reason": "few"}}),
    "a loss that stays": ("six_class", {"history": {"loss": [[0.0, 0.0], [0.0, 0.0]]}}),
    "two losses": ("six_class", {"history": {"loss": [[3.0, 0.5], [9.0, 0.25]], "val_loss <b>": [[3.0, 1.5]]}}),
    "gaps of one length": ("ward", {"reconstruction__0__ratio_to_linear": NOTHING}),
    "a patient who is wrong": ("ward", {"subjects__each__0__accuracy": 0.25, "subjects__each__1__accuracy": 0.25}),
    "a command and a recipe": ("ward", {"provenance__command": "x <y>", "meta": {"a": {"b": None, "c": [1, 2]}}}),
}  # fmt: skip


def changed_lines(before: str, after: str) -> list[str]:
    """Return the lines of a text that another one has not, and the other's, marked - and +."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    return [line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---")]


def test_what_another_fact_changes_on_page_and_card_is_the_golden_change() -> None:
    known = {name: json.loads((GOLDEN / f"reports/{name}.json").read_text(encoding="utf-8")) for name in NAMES}
    shown = {name: body(facts, "t") + model_card(facts, title="t") for name, facts in known.items()}
    lines = []
    for edit, (name, changes) in EDITS.items():
        facts = edited(known[name], **changes)
        changed = changed_lines(shown[name], body(facts, "t") + model_card(facts, title="t"))
        assert changed, edit
        lines += [f"# {edit}: {name}", *changed]
    assert lines == kept("reports/edits.txt", "\n".join(lines) + "\n").splitlines()
