"""A multi-label task from shards to an answer: training, leave-one-site-out, report, calibration, bundle, serving."""

import json

import numpy as np
import pytest

from evaluation.report.__main__ import main as report
from evaluation.schemas.predictions import Predictions, check, read_predictions
from model.export import main as export
from serving.runtime import run
from signals.bundles.bundle import load_bundle
from signals.bundles.inputs import windows_of_shards
from signals.tasks import TASKS
from studies.calibrate import calibration_of_each
from studies.loso import main as loso
from synthetic.heart.corpus import write_hearts
from training.corpus.corpus import Corpus
from training.corpus.labelled import labelled, with_contrast

TASK = TASKS["ecg-superclass"]
CONDITIONS = ("normal", "fibrillation", "infarction", "left bundle", "hypertrophy", "t inversion")


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hearts")
    write_hearts(folder, n_people=12, seed=0, sites=("basel", "osaka"), conditions=CONDITIONS)
    return folder


def test_targets_hold_every_class_of_a_label(shards):
    data = with_contrast(labelled(Corpus.open(shards), TASK))
    assert data.targets.shape == (24, 6)
    assert data.support == {"NORM": 4, "MI": 4, "STTC": 4, "CD": 4, "HYP": 4, "ARR": 4}
    assert (data.targets.sum(axis=1) == 1).all()


@pytest.fixture(scope="module")
def predicted(shards, tmp_path_factory):
    out = tmp_path_factory.mktemp("study")
    loso(
        ["--shards", str(shards), "--task", TASK.name, "--no-encoder", "--tiny", "--output",
         str(out / "predictions.parquet"), "--schedule.epochs", "1"]
    )  # fmt: skip
    return out


def test_predictions_are_of_each_class_and_their_report_is_of_each_class(predicted, capsys):
    predictions = read_predictions(predicted / "predictions.parquet")
    assert set(predictions.models) == {"encoder", "prior"}
    out = predicted / "report"
    assert report([str(predicted / "predictions.parquet"), "--output", str(out), "--n-boot", "50"]) == 0, capsys
    facts = json.loads((out / "facts.json").read_text())
    assert facts["audit"]["passed"]
    assert set(facts["models"]) == {"encoder", "prior"}
    assert set(facts["sites"]["encoder"]) == {"basel", "osaka"}
    first = facts["models"]["encoder"]["all"]
    assert first["n_subjects"] == 24
    assert [one["n_positive"] for one in first["classes"]] == [4] * 6
    page = (out / "report.html").read_text()
    assert all(name in page for name in TASK.classes)
    with pytest.raises(SystemExit):
        report([str(predicted / "predictions.parquet"), "--output", str(out), "--n-boot", "0"])


def test_rows_that_are_no_probabilities_are_refused(predicted):
    predictions = read_predictions(predicted / "predictions.parquet")
    for column, value, says in (("prob_MI", 1.2, "prob_"), ("target_MI", -1.0, "target_"), ("label", "MI;XX", "XX")):
        wrong = predictions.frame.copy()
        wrong.loc[0, column] = value
        with pytest.raises(ValueError, match=says):
            check(Predictions(frame=wrong, task=TASK.name, classes=TASK.classes, meta=predictions.meta))


def test_the_bundle_answers_each_class_by_its_own_threshold(predicted, shards):
    assert not export(
        ["--model", str(predicted / "final"), "--output", str(predicted / "bundle"), "--shards", str(shards)]
    )
    bundle = load_bundle(predicted / "bundle")
    windows = list(windows_of_shards([shards]))[:4]
    fitted = calibration_of_each(read_predictions(predicted / "predictions.parquet"), "encoder")
    assert bundle.calibration.decisions == pytest.approx(fitted["decisions"])
    assert bundle.modality.name == "ecg_12"
    for answer in run(bundle, windows):
        probs = np.array(list(answer.class_probabilities.values()))
        assert ((probs > 0) & (probs < 1)).all()
        over = [c for c, p, d in zip(TASK.classes, probs, bundle.calibration.decisions, strict=True) if p >= d]
        assert answer.predicted_class == (";".join(over) or "none")
        assert ("possible" in answer.clinical_recommendation) == bool(set(over) - {"NORM"})
