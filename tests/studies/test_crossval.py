import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.schemas.predictions import probabilities, read_predictions
from model.saved import load_task_model
from signals.bundles.calibration import UNCERTAINTY_COLUMNS, decompose
from signals.tasks import SIX_CLASS
from studies import crossval, predict
from training.corpus.corpus import Corpus
from training.fitting import fit, inference

CLASSES = SIX_CLASS.classes


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    write = request.getfixturevalue("write_shards")
    return write(tmp_path_factory.mktemp("long"), n_sites=2, n_subjects=4, n_windows=3, window_s=50.0)


@pytest.fixture(scope="module")
def run(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("run") / "oof.parquet"
    crossval.main([*base(shards, output), "--recipes", "probe", "efficientnet_small", "--seeds", "2"])
    return output


def base(shards: Path, output: Path) -> list[str]:
    return ["--tiny", "--shards", str(shards), "--task", "six-class", "--output", str(output), "--folds", "2"]


def test_all_models_speak_of_the_same_patients_out_of_fold(run: Path) -> None:
    predictions = read_predictions(run)
    recipes = ("probe", "efficientnet_small")
    assert predictions.models == (*(f"{r}{m}" for r in recipes for m in ("#seed0", "#seed1", "/mean")), "prior")
    for fold in predictions.meta["folds"]:
        assert not set(fold["train_subjects"]) & set(fold["test_subjects"])
        for model in predictions.models:
            rows = predictions.of(model)
            predicted = rows[rows["fold"] == fold["name"]]
            assert set(predicted["subject_id"]) == set(fold["test_subjects"])
    members = np.stack([probabilities(predictions.of(f"probe#seed{s}"), CLASSES) for s in (0, 1)])
    mean = predictions.of("probe/mean")
    np.testing.assert_allclose(probabilities(mean, CLASSES), members.mean(0))
    np.testing.assert_allclose(
        mean[list(UNCERTAINTY_COLUMNS)].to_numpy().T, list(decompose(members).columns().values())
    )


def test_the_split_stands_beside_the_predictions_with_its_hash(run: Path) -> None:
    split = json.loads(run.with_suffix(".split.json").read_text())
    digest = hashlib.sha256(json.dumps(split["folds"], sort_keys=True).encode()).hexdigest()
    assert split["sha256"] == read_predictions(run).meta["split_digest"] == digest


def test_fitted_models_and_their_time_are_kept(run: Path) -> None:
    about = read_predictions(run).meta["models"]
    assert about["probe#seed1"]["recipe"]["seed"] == 1
    assert about["efficientnet_small#seed0"]["predict_cpu_ms_per_window"] > 0
    assert load_task_model(run.parent / "folds" / "efficientnet_small#seed0" / "fold1").config.task == "six-class"
    assert not run.with_name("oof.parts").exists()


def test_recipes_learn_from_few_people_drawn_by_the_seed(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [*base(shards, tmp_path / "few.parquet"), "--recipes", "probe", "--group", "site", "--seeds", "2"]
    crossval.main([*options, "--subjects", "4", "64"])  # 64 is more than there are
    few = read_predictions(tmp_path / "few.parquet")
    assert few.models == ("probe@4#seed0", "probe@4#seed1", "probe@4/mean", "prior")
    for fold in few.meta["folds"]:
        folders = [tmp_path / "folds" / f"probe@4#seed{seed}" / fold["name"] for seed in (0, 1)]
        seen = [set(load_task_model(folder).config.provenance["train_subjects"]) for folder in folders]
        assert [len(one) for one in seen] == [4, 4]
        assert all(one <= set(fold["train_subjects"]) for one in seen)
    for numbers, why in ((["2"], "at least 4"), (["64"], "the smallest training side has 4 people")):
        with pytest.raises(SystemExit, match="2"):
            crossval.main([*options[:-2], "--output", str(tmp_path / "no.parquet"), "--subjects", *numbers])
        assert why in capsys.readouterr().err
        assert not (tmp_path / "no.parquet").exists()


def test_it_goes_on_after_the_last_finished_fold(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, names = fit.Fitting.fit, []

    def stopped_at_the_third(*args: Any, **kwargs: Any) -> Any:
        names.append(kwargs["name"])
        return None if len(names) == 3 else real(*args, **kwargs)

    monkeypatch.setattr(fit.Fitting, "fit", stopped_at_the_third)
    command = [*base(shards, tmp_path / "p.parquet"), "--recipes", "probe", "eegnet"]
    with pytest.raises(SystemExit) as raised:
        crossval.main(command)
    assert raised.value.code == 75
    assert not (tmp_path / "p.parquet").exists()
    crossval.main(command)
    assert names == [
        "probe without fold0",
        "probe without fold1",
        *["eegnet without fold0"] * 2,
        "eegnet without fold1",
    ]


def test_one_in_five_is_held_out_once(shards: Path, tmp_path: Path) -> None:
    command = base(shards, tmp_path / "p.parquet")[:-2]
    crossval.main(
        [*command, "--recipes", "probe", "--holdout", "0.25", "--schedule.epochs", "2", "--augment.mirror", "0"]
    )
    predictions = read_predictions(tmp_path / "p.parquet")
    (fold,) = predictions.meta["folds"]
    assert (len(fold["train_subjects"]), len(fold["test_subjects"])) == (6, 2)
    recipe = predictions.meta["models"]["probe"]["recipe"]
    assert (recipe["schedule"]["epochs"], recipe["augment"]["mirror"]) == (2, 0.0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--schedule.epoch", "3"], "unknown option '--schedule.epoch'"),
        (["--schedule.epochs", "three"], "invalid literal"),
        (["--objective.loss", "l2"], "invalid choice 'l2'"),
        (["--folds", "9"], "folds=9 must be at least 2 and at most the number of subjects, 8"),
        (["--holdout", "1.5"], "holdout=1.5 must lie between 0 and 1"),
        (["--seeds", "0"], "seeds=0 must be at least 1"),
        (["--task", "seven"], "unknown task 'seven'"),
    ],
)
def test_mistakes_end_in_one_line_and_code_2(
    wrong: list[str], message: str, shards: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as raised:
        crossval.main([*base(shards, tmp_path / "run" / "p.parquet"), "--recipes", "probe", *wrong])
    assert raised.value.code == 2
    lines = capfd.readouterr().err.strip().splitlines()
    assert message in lines[-1]
    assert not (tmp_path / "run").exists()


def test_saved_models_predict_together_or_with_dropout(shards: Path, run: Path, tmp_path: Path) -> None:
    folders = [run.parent / "folds" / name / "fold0" for name in ("probe#seed0", "efficientnet_small#seed0")]
    predict.main(["--model", *map(str, folders), "--shards", str(shards), "--output", str(tmp_path / "p.parquet")])
    together = read_predictions(tmp_path / "p.parquet")
    assert together.models == ("encoder", "efficientnet_small", "mean")
    member_prob = np.stack([probabilities(together.of(name), CLASSES) for name in together.models[:2]])
    np.testing.assert_allclose(probabilities(together.of("mean"), CLASSES), member_prob.mean(0))

    predict.main(["--model", str(folders[0]), "--shards", str(shards), "--output", str(tmp_path / "d.parquet"),
                  "--dropout-samples", "5"])  # fmt: skip
    doubts = read_predictions(tmp_path / "d.parquet").of("encoder")[list(UNCERTAINTY_COLUMNS)].to_numpy()
    assert (doubts[:, 2] > 0).all()
    np.testing.assert_allclose(doubts[:, 0], doubts[:, 1] + doubts[:, 2])


def test_dropout_samples_differ_and_leave_the_model_as_it_was(shards: Path, run: Path) -> None:
    opened = Corpus.open(shards)
    for name in ("probe#seed0", "efficientnet_small#seed0"):
        model = load_task_model(run.parent / "folds" / name / "fold0")
        before, _ = inference.predict(model, opened, range(4))
        samples = inference.predict_samples(model, opened, range(4), n_samples=3, seed=0)
        assert samples.shape == (3, 4, 6)
        assert not np.allclose(samples[0], samples[1])
        np.testing.assert_array_equal(samples, inference.predict_samples(model, opened, range(4), n_samples=3, seed=0))
        np.testing.assert_array_equal(inference.predict(model, opened, range(4))[0], before)
        assert not any(module.training for module in model.modules())
