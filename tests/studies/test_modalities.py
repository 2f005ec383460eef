"""One suite for every kind of signal: the same stages, on shards of electrodes and of leads."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from evaluation.report.__main__ import main as report
from evaluation.schemas.predictions import read_predictions
from signals.bundles.inputs import windows_of_shards
from signals.tasks import TASKS
from studies.loso import main as loso
from synthetic.heart.corpus import write_hearts
from tests.toy_shards import write_toy_shards
from training.corpus.corpus import Corpus
from training.corpus.labelled import labelled, with_contrast
from training.fitting.inference import load_on_device, predict


@dataclass(frozen=True)
class Case:
    """Shards of one kind of signal."""

    shards: Path
    task: str
    n_chans: int


def _electrodes(folder):
    return Case(write_toy_shards(folder, n_sites=2, n_subjects=4, n_windows=3, window_s=50.0), "six-class", 19)


def _leads(folder):
    conditions = ("normal", "fibrillation", "infarction", "left bundle", "hypertrophy", "t inversion")
    write_hearts(folder, n_people=12, seed=0, sites=("basel", "osaka"), conditions=conditions)
    return Case(folder, "ecg-superclass", 12)


@pytest.fixture(scope="module", params=[_electrodes, _leads], ids=["eeg", "ecg"])
def case(request, tmp_path_factory):
    return request.param(tmp_path_factory.mktemp("shards"))


@pytest.fixture(scope="module")
def study(case, tmp_path_factory):
    """Each site predicted by a model that saw only the other."""
    out = tmp_path_factory.mktemp("study")
    loso(["--shards", str(case.shards), "--task", case.task, "--no-encoder", "--tiny", "--schedule.epochs", "1",
          "--output", str(out / "predictions.parquet")])  # fmt: skip
    return out


def test_stored_windows_are_all_labelled_and_of_one_modality(case):
    data = with_contrast(labelled(Corpus.open(case.shards), TASKS[case.task]))
    windows = list(windows_of_shards([case.shards]))
    assert len(windows) == len(data.windows) == 24
    assert {len(window.data) for window in windows} == {case.n_chans}
    assert data.targets.shape == (24, 6)
    assert ((data.targets >= 0) & (data.targets <= 1)).all()
    assert all(data.support[name] or not data.targets.argmax(axis=1).tolist().count(k)
               for k, name in enumerate(TASKS[case.task].classes))  # fmt: skip


def test_a_model_is_saved_with_its_channels_and_answers_in_probabilities(case, study):
    model, data = load_on_device(study / "final"), labelled(Corpus.open(case.shards), TASKS[case.task])
    assert model.modality.n_chans == case.n_chans
    prob, embedding = predict(model, data.shards, data.windows[:5])
    assert prob.shape == (5, 6)
    assert ((prob > 0) & (prob < 1)).all()
    assert np.isfinite(embedding).all()
    again, _ = predict(model, data.shards, data.windows[4:5])
    np.testing.assert_allclose(again[0], prob[4], atol=1e-5)  # whoever else is in the batch


def test_every_window_is_predicted_by_a_model_that_did_not_see_its_site(case, study):
    predictions = read_predictions(study / "predictions.parquet")
    assert predictions.task == case.task
    assert len(predictions.of("encoder")) == 24
    assert (study / "final" / "calibration.json").is_file()


def test_the_report_passes_its_audit(case, study):
    # A failed audit is exit code 1.
    assert report([str(study / "predictions.parquet"), "--output", str(study / "report"), "--n-boot", "20"]) == 0
    assert (study / "report" / "report.html").is_file()
