"""A multi-label task by the commands that any task takes: files of two hospitals to the answers of a server."""

import json

import numpy as np
import pytest

from cerebeam.cli import main as cerebeam
from evaluation.schemas.predictions import Predictions, check, read_predictions
from serving.runtime import run
from signals.bundles.bundle import load_bundle
from signals.bundles.inputs import windows_of_shards
from signals.tasks import TASKS
from studies.calibrate import calibration_of_each
from studies.transfer import scores
from synthetic.heart.files import write_corpus
from training.corpus.corpus import Corpus
from training.corpus.labelled import labelled, with_contrast

pytest.importorskip("wfdb")

TASK = TASKS["ecg-superclass"]
CONDITIONS = ("normal", "fibrillation", "infarction", "left bundle", "hypertrophy", "t inversion")
SITES = ("basel", "osaka")


def done(*arguments):
    """Run a command to its end; fails unless it succeeds."""
    assert not cerebeam([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Twelve people at each of two hospitals, as shards, and an encoder that saw both."""
    root = tmp_path_factory.mktemp("hearts")
    write_corpus(root / "in", n_people=12, seed=0, sites=SITES, conditions=CONDITIONS)
    done("preprocess", "--input", root / "in", "--output", root / "shards", "--site-from", "folder", "--salt", "x")
    done("pretrain", "--shards", root / "shards", "--output", root / "run", "--tiny", "--max-steps", 2,
         "--track.evaluate-windows", 4, "--track.skill-windows", 2)  # fmt: skip
    return root


@pytest.fixture(scope="module")
def predicted(root):
    """Predictions of each hospital by a model that saw only the other, and the model of both."""
    done("loso", "--shards", root / "shards", "--task", TASK.name, "--encoder", root / "run" / "encoder", "--tiny",
         "--schedule.epochs", 1, "--output", root / "study" / "predictions.parquet")  # fmt: skip
    return root / "study"


@pytest.fixture(scope="module")
def bundle(predicted, root):
    done("export", "--model", predicted / "final", "--output", root / "bundle", "--shards", root / "shards",
         "--parity-windows", 12)  # fmt: skip
    return load_bundle(root / "bundle")


def test_targets_hold_every_class_of_a_label(root):
    data = with_contrast(labelled(Corpus.open(root / "shards"), TASK))
    assert data.targets.shape == (24, 6)
    assert data.support == {"NORM": 4, "MI": 4, "STTC": 4, "CD": 4, "HYP": 4, "ARR": 4}
    assert (data.targets.sum(axis=1) == 1).all()


def test_an_encoder_is_tuned_to_every_class_of_its_own(root):
    done("finetune", "--shards", root / "shards", "--task", TASK.name, "--encoder", root / "run" / "encoder",
         "--output", root / "tuned", "--tiny")  # fmt: skip
    config = json.loads((root / "tuned" / "config.json").read_text())
    assert (config["task"], tuple(config["classes"])) == (TASK.name, TASK.classes)


def test_predictions_are_of_each_class_and_their_report_is_of_each_class(predicted, root):
    predictions = read_predictions(predicted / "predictions.parquet")
    assert set(predictions.models) == {"encoder", "prior"}
    stressed = predicted / "stress.parquet"
    done("stress", "--model", *(predicted / "folds" / site for site in SITES), "--shards", root / "shards", "--input",
         root / "in", "--output", stressed, "--kinds", "channels removed", "mains hum 50 Hz", "reference",
         "--recordings-per-site", 2)  # fmt: skip
    out = predicted / "report"
    done("report", predicted / "predictions.parquet", "--output", out, "--n-boot", 50, "--stress", stressed)
    facts = json.loads((out / "facts.json").read_text())
    assert facts["audit"]["passed"]
    assert set(facts["models"]) == {"encoder", "prior"}
    assert set(facts["sites"]["encoder"]) == set(SITES)
    first = facts["models"]["encoder"]["all"]
    assert first["n_subjects"] == 24
    assert [one["n_positive"] for one in first["classes"]] == [4] * 6
    levels = {(one["stress"], one["name"]): one for one in facts["stress"]}
    assert levels["channels removed", "8 channels"]["scores"]["n_windows"] == 4
    assert ("reference", "Cz") not in levels  # leads have none that could be exchanged
    page = (out / "report.html").read_text()
    assert all(name in page for name in (*TASK.classes, "mains hum 50 Hz"))
    with pytest.raises(SystemExit):
        cerebeam(["report", str(predicted / "predictions.parquet"), "--output", str(out), "--n-boot", "0"])


def test_ways_of_using_an_encoder_are_compared_by_macro_auroc(root):
    file = root / "ways" / "predictions.parquet"
    done("transfer", "--shards", root / "shards", "--task", TASK.name, "--encoder", root / "run" / "encoder",
         "--models", "prior", "linear-probe/pretrained", "band-power/logistic", "features/boosting", "--seeds", 1,
         "--inner-folds", 2, "--output", file)  # fmt: skip
    predictions = read_predictions(file)
    # Leads have no band powers: that model is left out, not the study.
    assert {name.split("/")[0] for name in predictions.models} == {"prior", "linear-probe", "features"}
    table = scores(predictions, n_boot=20)
    assert "macro AUROC" in table
    assert "0.500" in next(line for line in table.splitlines() if line.startswith("prior"))


def test_rows_that_are_no_probabilities_are_refused(predicted):
    predictions = read_predictions(predicted / "predictions.parquet")
    for column, value, says in (("prob_MI", 1.2, "prob_"), ("target_MI", -1.0, "target_"), ("label", "MI;XX", "XX")):
        wrong = predictions.frame.copy()
        wrong.loc[0, column] = value
        with pytest.raises(ValueError, match=says):
            check(Predictions(frame=wrong, task=TASK.name, classes=TASK.classes, meta=predictions.meta))


def test_the_bundle_answers_each_class_by_its_own_threshold(bundle, predicted, root):
    windows = list(windows_of_shards([root / "shards"]))[:4]
    fitted = calibration_of_each(read_predictions(predicted / "predictions.parquet"), "encoder")
    assert bundle.calibration.decisions == pytest.approx(fitted["decisions"])
    assert bundle.modality.name == "ecg_12"
    for answer in run(bundle, windows):
        probs = np.array(list(answer.class_probabilities.values()))
        assert ((probs > 0) & (probs < 1)).all()
        over = [c for c, p, d in zip(TASK.classes, probs, bundle.calibration.decisions, strict=True) if p >= d]
        assert answer.predicted_class == (";".join(over) or "none")
        assert ("possible" in answer.clinical_recommendation) == bool(set(over) - {"NORM"})
