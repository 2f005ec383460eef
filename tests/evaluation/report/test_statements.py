"""The report of a multi-label task: what its page and its facts hold."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evaluation.measures.multilabel import scores_of
from evaluation.report.__main__ import report
from evaluation.report.files import FACTS, PAGE
from evaluation.report.statements import write_statements
from evaluation.schemas.predictions import Predictions, probabilities, targets, write_predictions
from signals.tasks import NO_CLASS, SEPARATOR

CLASSES = ("NORM", "MI", "STTC", "CD", "HYP")


def made_predictions(*, n_people: int = 12, shift: float = 0.0) -> Predictions:
    """Two sites; two windows each; HYP is in no window; `shift` moves the evidence, so that another model is worse."""
    rng = np.random.default_rng(3)
    rows = []
    for person in range(n_people):
        for window in range(2):
            has = rng.random(5) < (0.5, 0.4, 0.5, 0.3, 0.0)
            prob = 1 / (1 + np.exp(-rng.normal(2.0 * (2 * has - 1), 1.0 + shift)))
            name = SEPARATOR.join(np.array(CLASSES)[has]) or NO_CLASS
            rows.append({
                "window_key": f"{person}-{window}", "recording_id": f"r{person}", "subject_id": f"p{person}",
                "site_id": "ab"[person % 2], "fold": "ab"[person % 2], "model": "worse" if shift else "encoder",
                "label": name, **{f"target_{c}": float(h) for c, h in zip(CLASSES, has, strict=True)},
                **{f"prob_{c}": float(p) for c, p in zip(CLASSES, prob, strict=True)},
            })  # fmt: skip
    return Predictions(frame=pd.DataFrame(rows), task="ecg-superclass", classes=CLASSES)


@pytest.fixture
def both() -> Predictions:
    first, second = made_predictions(), made_predictions(shift=3.0)
    frame = pd.concat([first.frame, second.frame], ignore_index=True)
    return Predictions(frame=frame, task=first.task, classes=CLASSES)


def written(predictions: Predictions, folder: Path, **options: object) -> tuple[dict, str]:
    folder.mkdir()
    facts = write_statements(
        predictions, folder, title="Five statements", n_boot=50, seed=1, provenance={"command": "x <y>"}, **options
    )
    assert json.loads((folder / FACTS).read_text()) == json.loads(json.dumps(facts))
    return facts, (folder / PAGE).read_text()


def test_the_report_returns_the_facts_that_it_writes(both: Predictions, tmp_path: Path) -> None:
    frame = both.frame.assign(target_ARR=0.0, prob_ARR=0.1)
    write_predictions(tmp_path / "p.parquet", replace(both, frame=frame, classes=(*CLASSES, "ARR")))
    facts = report(tmp_path / "p.parquet", tmp_path / "out", n_boot=20)
    assert json.loads((tmp_path / "out" / FACTS).read_text()) == json.loads(json.dumps(facts))


def test_each_model_class_and_site_has_its_own_scores(both: Predictions, tmp_path: Path) -> None:
    facts, page = written(both, tmp_path / "out")
    assert list(facts["models"]) == ["encoder", "worse"]
    for model, entry in facts["models"].items():
        frame = both.of(model)
        prob, target = probabilities(frame, CLASSES), targets(frame, CLASSES)
        people = frame["subject_id"].to_numpy(dtype=str)
        whole = scores_of(prob, target, people, CLASSES, n_boot=50, seed=1)
        assert entry["all"]["macro_auroc"]["value"] == whole.macro_auroc.value
        assert (entry["all"]["n_windows"], entry["all"]["n_subjects"]) == (24, 12)
        assert set(entry["f1"]) == set(CLASSES)
        for site in "ab":
            at = (frame["site_id"] == site).to_numpy()
            there = scores_of(prob[at], target[at], people[at], CLASSES, n_boot=50, seed=1)
            assert facts["sites"][model][site]["macro_auroc"]["value"] == there.macro_auroc.value
    assert (
        facts["models"]["encoder"]["all"]["macro_auroc"]["value"]
        > facts["models"]["worse"]["all"]["macro_auroc"]["value"]
    )
    for k, name in enumerate(CLASSES):
        positive = int(targets(both.of("encoder"), CLASSES)[:, k].sum())
        assert f"<td>{name}</td><td>{positive} of 24</td>" in page
    assert "x &lt;y&gt;" in page
    assert "<y>" not in page
    assert "Disturbances" not in page


def test_a_class_that_no_window_has_is_no_number_and_in_no_mean(tmp_path: Path) -> None:
    facts, _ = written(made_predictions(), tmp_path / "out")
    scores = facts["models"]["encoder"]["all"]
    known = [one["auroc"]["value"] for one in scores["classes"] if one["name"] != "HYP"]
    (absent,) = [one for one in scores["classes"] if one["name"] == "HYP"]
    assert (absent["auroc"]["value"], absent["n_positive"], absent["n_subjects"]) == (None, 0, 0)
    assert scores["macro_auroc"]["value"] == pytest.approx(np.mean(known))


def test_a_disturbance_counts_the_windows_that_were_refused(tmp_path: Path) -> None:
    whole = made_predictions().frame.assign(stress="noise", level=0.0, level_name="none", unit="dB")
    part = made_predictions(shift=2.0).frame.iloc[:20].assign(
        stress="noise", level=10.0, level_name="", unit="dB", model="encoder"
    )  # fmt: skip
    stress = Predictions(frame=pd.concat([whole, part]), task="ecg-superclass", classes=CLASSES)
    facts, page = written(made_predictions(), tmp_path / "out", stress=stress)
    assert [(one["level"], one["name"], one["n_refused"], one["scores"]["n_windows"]) for one in facts["stress"]] == [
        (0.0, "none", 0, 24), (10.0, "10 dB", 4, 20),
    ]  # fmt: skip
    assert "<td>noise</td><td>10 dB</td>" in page


def test_findings_of_the_audit_stand_on_the_page(tmp_path: Path) -> None:
    sound = made_predictions()
    people = {name: sorted(set(rows["subject_id"])) for name, rows in sound.frame.groupby("fold")}
    recordings = {name: sorted(set(rows["recording_id"])) for name, rows in sound.frame.groupby("fold")}
    folds = [
        {"name": name, "train_subjects": people[other], "test_subjects": people[name],
         "train_recordings": recordings[other], "test_recordings": recordings[name]}
        for name, other in (("a", "b"), ("b", "a"))
    ]  # fmt: skip
    meta = {"folds": folds, "grouping": "site"}
    facts, page = written(replace(sound, meta=meta), tmp_path / "sound")
    assert facts["audit"] == {"passed": True, "findings": []}
    folds[0]["train_subjects"] = [*people["b"], "p0"]
    facts, page = written(replace(sound, meta=meta), tmp_path / "leaking")
    assert facts["audit"]["passed"] is False
    (finding, *_) = facts["audit"]["findings"]
    assert finding["code"] == "subject_on_two_sides"
    assert f"<b class=error>error</b>{finding['message']}" in page
