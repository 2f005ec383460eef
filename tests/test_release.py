"""What is in release/ loads, says what it was scored at, names no place, and reads a generator it has never seen."""

import json
from pathlib import Path

import pytest

from evaluation.measures.tallies import point, tally
from evaluation.schemas.predictions import read_predictions
from model.saved import load_task_model
from signals.tasks import SIX_CLASS
from studies import predict
from synthetic import critical_corpus

RELEASE = Path(__file__).parents[1] / "release" / "six_class"
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
    assert "worse than a uniform answer" in card  # on real segments: whoever takes it must read that
    assert f"synthetic labels of {len(about['train_subjects'])} people" in card
    assert about["pretrain_subjects"] == []
    for path in ("/home", "/root", "/tmp", "/work"):
        assert path not in (RELEASE / "config.json").read_text() + card


def test_it_reads_a_generator_that_it_has_never_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    critical_corpus.main(["--output", "corpus", "--segments", "6", "--held-out", "30", "--seed", "77"])
    predict.main(["--model", str(RELEASE), "--shards", "corpus", "--output", "p.parquet"])
    held = read_predictions(tmp_path / "p.parquet")
    frame = held.of("encoder")
    unseen = frame[frame["site_id"] == "original"]
    assert len(unseen) == 30
    found = point(tally(unseen, held.classes))
    assert found["balanced_accuracy"].value > 0.7  # 30 segments; 0.95 over 768 of them
    assert found["kl"].value < 0.8
