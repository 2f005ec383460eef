"""A fitted model is published with its scores on people whom it has never seen, or refused in one line."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.schemas.predictions import read_predictions, write_predictions
from model.saved import load_task_model
from studies import predict
from training import finetune, publish
from training.fitted_worth import check_fitted


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> tuple[Path, Path, Path]:
    """A model of one site, predictions of that site, and of another."""
    write = request.getfixturevalue("write_shards")
    first = write(tmp_path_factory.mktemp("first"), n_sites=1, n_subjects=4, n_windows=3, window_s=50.0)
    both = write(tmp_path_factory.mktemp("both"), n_sites=2, n_subjects=6, n_windows=3, window_s=50.0)
    run = tmp_path_factory.mktemp("run") / "model"
    finetune.main(["--recipe", "eegnet", "--tiny", "--shards", str(first), "--task", "six-class", "--no-encoder",
                   "--output", str(run)])  # fmt: skip
    files = run.parent / "all.parquet", run.parent / "others.parquet"
    predict.main(["--model", str(run), "--shards", str(both), "--output", str(files[0])])
    held = read_predictions(files[0])
    seen = set(load_task_model(run).config.provenance["train_subjects"])
    others = held.frame[~held.frame["subject_id"].isin(seen)].copy()
    prob = [name for name in others if name.startswith("prob_")]
    target = others[[name.replace("prob_", "target_") for name in prob]].to_numpy()
    others[prob] = 0.1 / len(prob) + 0.9 * target  # a network of one epoch on twelve windows knows nothing
    write_predictions(files[1], change(held, others))
    return run, *files


def change(held: Any, frame: Any) -> Any:
    return type(held)(frame=frame, task=held.task, classes=held.classes, meta=held.meta)


def test_it_is_copied_whole_with_scores_and_card(fitted: tuple[Path, Path, Path], tmp_path: Path) -> None:
    run, _, others = fitted
    publish.main(
        ["--run", str(run), "--predictions", str(others), "--output", str(tmp_path / "out"), "--about", "Toy labels."]
    )
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "README.md", "config.json", "model.safetensors", "scores.json",
    ]  # fmt: skip
    published, model = load_task_model(tmp_path / "out"), load_task_model(run)
    assert published.config.provenance == model.config.provenance
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    frame = read_predictions(others).frame
    assert scores["n_windows"] == len(frame) > 0
    assert scores["balanced_accuracy"][0] == 1.0
    target = frame[[name for name in frame if name.startswith("target_")]].to_numpy()
    prob = frame[[name for name in frame if name.startswith("prob_")]].to_numpy()
    mean = target.mean(axis=0)
    kl = [float((target * np.log(np.maximum(target, 1e-300) / q)).sum(1).mean()) for q in (prob, mean[None])]
    assert scores["kl"][0] == pytest.approx(kl[0], abs=1e-5)
    assert scores["kl_less_constant"][0] == pytest.approx(kl[0] - kl[1], abs=1e-5)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "Not a medical device" in card
    assert "--recipe eegnet --start-from FOLDER" in card
    assert "Fitted to synthetic labels of 4 people" in card
    assert "\nToy labels.\n" in card
    assert f"| KL to the labels, nats | {kl[0]:.3f} |" in card


def test_refusals_leave_nothing(
    fitted: tuple[Path, Path, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run, everyone, others = fitted
    held = read_predictions(others)
    of_other = tmp_path / "other.parquet"
    write_predictions(of_other, type(held)(frame=held.frame, task=held.task, classes=held.classes, meta={}))
    flat, constant = held.frame.copy(), tmp_path / "constant.parquet"
    for name in held.classes:
        flat[f"prob_{name}"] = 1 / len(held.classes)
    write_predictions(constant, change(held, flat))
    wrong = {
        "has seen": (run, everyone),
        "is not of the model in": (run, of_other),
        "it knows no more than a constant answer": (run, constant),
        "is no model": (tmp_path, others),
    }
    for message, (folder, file) in wrong.items():
        with pytest.raises(SystemExit) as raised:
            publish.main(["--run", str(folder), "--predictions", str(file), "--output", str(tmp_path / "out")])
        assert raised.value.code == 2
        assert message in capfd.readouterr().err.strip().splitlines()[-1]
        assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob("*.partial"))


def test_a_model_that_does_not_list_whom_it_has_seen_is_refused(
    fitted: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    run, _, others = fitted
    model = load_task_model(run)
    model.config.provenance["pretrain_subjects"] = None
    model.save_pretrained(tmp_path / "model")
    with pytest.raises(ValueError, match="does not list the subjects that it has seen"):
        check_fitted(tmp_path / "model", others)
