"""What is in release/ loads, says what it was scored at, names no place, and reads a generator it has never seen."""

import json
from pathlib import Path

import numpy as np
import pytest

from evaluation.measures.tallies import point, tally
from evaluation.schemas.predictions import read_predictions
from model.saved import load_task_model
from serving.model import open_model
from signals.bundles.calibration import tempered
from signals.tasks import SIX_CLASS
from studies import predict
from synthetic import critical_corpus
from training.corpus.corpus import Corpus
from training.fitting import inference

RELEASE = Path(__file__).parents[1] / "release" / "six_class"
BUNDLE = RELEASE.with_name("six_class_bundle")
MOST_BYTES = 25e6


def test_its_card_states_its_scores_and_it_is_small() -> None:
    card, scores = (RELEASE / "README.md").read_text(), json.loads((RELEASE / "scores.json").read_text())
    for name in ("balanced_accuracy", "kl", "kl_less_constant"):
        value, low, high = scores[name]
        assert f"| {value:.3f} | [{low:.3f}, {high:.3f}] |" in card
    assert scores["kl_less_constant"][2] < 0
    assert sum(file.stat().st_size for file in RELEASE.iterdir()) < MOST_BYTES
    model = load_task_model(RELEASE)
    assert tuple(model.config.classes) == SIX_CLASS.classes
    about = model.config.provenance
    assert f"synthetic labels of {len(about['train_subjects'])} people" in card
    assert about["pretrain_subjects"] == []
    for path in ("/home", "/root", "/tmp", "/work"):
        assert path not in (RELEASE / "config.json").read_text() + card


def test_it_reads_a_generator_that_it_has_never_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    critical_corpus.main(["--output", "corpus", "--segments", "6", "--held-out", "30", "--seed", "77"])
    check_bundle(Corpus.open(tmp_path / "corpus"))
    predict.main(["--model", str(RELEASE), "--shards", "corpus", "--output", "p.parquet"])
    held = read_predictions(tmp_path / "p.parquet")
    frame = held.of("encoder")
    unseen = frame[frame["site_id"] == "original"]
    assert len(unseen) == 30
    found = point(tally(unseen, held.classes))
    assert found["balanced_accuracy"].value > 0.7  # 30 segments; 0.95 over 768 of them
    assert found["kl"].value < 0.8


def check_bundle(corpus: Corpus) -> None:
    """The bundle beside it is its export: the same shares of the same windows, calibrated on simulated people."""
    served, model, windows = open_model(BUNDLE), load_task_model(RELEASE), range(3)
    answers = served.answers([corpus.window(i) for i in windows])
    found = np.array([[answer.class_probabilities[name] for name in SIX_CLASS.classes] for answer in answers])
    temperature = json.loads((RELEASE / "calibration.json").read_text())["temperature"]
    expected = tempered(inference.predict(model, corpus, windows)[0], temperature)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert all(answer.prediction_set for answer in answers)
    assert "with synthetic labels" in (BUNDLE / "README.md").read_text()
