"""A fit that starts from a fitted model has its weights, names whom it has seen, and refuses what does not fit."""

import json
from pathlib import Path

import pytest
import torch

from evaluation.schemas.predictions import read_predictions
from model.saved import load_task_model
from studies import crossval
from training import finetune, pretrain
from training.fitting.fit import start_encoder
from training.provenance import seen_by

STILL = ("--optim.learning-rate", "1e-9", "--schedule.epochs", "1", "--regularise.weight-decay", "0")


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> tuple[Path, Path]:
    """First task's shards, second task's: those people and another site."""
    write = request.getfixturevalue("write_shards")
    first = write(tmp_path_factory.mktemp("first"), n_sites=1, n_subjects=4, n_windows=3, window_s=50.0)
    return first, write(tmp_path_factory.mktemp("second"), n_sites=2, n_subjects=4, n_windows=3, window_s=50.0)


@pytest.fixture(scope="module")
def fitted(shards: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {name: tmp_path_factory.mktemp(name) for name in ("scratch", "resnet_gru")}
    for name, folder in folders.items():
        finetune.main([*command(name, shards[0], folder)])
    return folders


def command(recipe: str, shards: Path, output: Path) -> list[str]:
    return ["--recipe", recipe, "--tiny", "--shards", str(shards), "--task", "six-class", "--no-encoder", "--output",
            str(output)]  # fmt: skip


@pytest.mark.parametrize("recipe", ["scratch", "resnet_gru"])
def test_it_starts_from_all_weights(
    recipe: str, shards: tuple[Path, Path], fitted: dict[str, Path], tmp_path: Path
) -> None:
    finetune.main([*command(recipe, shards[1], tmp_path), "--start-from", str(fitted[recipe]), *STILL])
    start, model = load_task_model(fitted[recipe]), load_task_model(tmp_path)
    for name, value in dict(start.named_parameters()).items():
        torch.testing.assert_close(model.get_parameter(name), value, atol=1e-6, rtol=0)
    about, before = model.config.provenance, start.config.provenance
    assert len(before["train_subjects"]) == 4
    assert set(about["pretrain_subjects"]) == set(before["train_subjects"])
    assert set(about["pretrain_recordings"]) == set(before["train_recordings"])
    assert len(set(about["train_subjects"]) - set(about["pretrain_subjects"])) == 4
    assert "pretrain_sites" not in about
    seen = seen_by(about)
    assert set(seen["train"]) == {*about["train_subjects"], *before["train_subjects"]}
    assert (seen["is_known"], seen["salt_id"]) == (True, about["salt_id"])
    if recipe == "scratch":
        kept = json.loads((tmp_path / "encoder" / "pretrain_subjects.json").read_text())
        assert set(kept["train"]) == set(seen["train"])


def test_folds_start_from_it_and_name_whom_it_has_seen(
    shards: tuple[Path, Path], fitted: dict[str, Path], tmp_path: Path
) -> None:
    output = tmp_path / "p.parquet"
    options = ["--recipes", "resnet_gru", "--group", "site", "--start-from", str(fitted["resnet_gru"])]
    crossval.main(["--tiny", "--shards", str(shards[1]), "--task", "six-class", *options, *STILL, "--output",
                   str(output)])  # fmt: skip
    meta = read_predictions(output).meta
    start = load_task_model(fitted["resnet_gru"])
    assert set(meta["pretrain_subjects"]) == set(start.config.provenance["train_subjects"])
    assert (meta["encoder"], meta["pretrain_overlap"]) == ("pretrained", 4)
    one = load_task_model(tmp_path / "folds" / "resnet_gru" / meta["folds"][0]["name"])
    for name, value in start.named_parameters():
        torch.testing.assert_close(one.get_parameter(name), value, atol=1e-6, rtol=0)


def test_a_provenance_that_lists_nobody_is_not_known() -> None:
    assert seen_by({}) == {"manifest_digest": None, "train": [], "is_known": False, "salt_id": ""}


def test_what_does_not_fit_ends_in_one_line(
    shards: tuple[Path, Path], fitted: dict[str, Path], tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    wrong = {
        "--start-from holds a model 'resnet_gru', the recipe trains 'eegnet'": ("eegnet", "resnet_gru", ()),
        "--start-from brings its own encoder": (
            "scratch",
            "scratch",
            ("--encoder", str(fitted["scratch"] / "encoder")),
        ),
        "is no model": ("scratch", "", ()),
        "another shape": ("fused", "scratch", ()),
        "'double-banana'": ("resnet_gru", "resnet_gru", ("--model.derivation", "double-banana")),
    }
    for message, (recipe, start, more) in wrong.items():
        folder = fitted[start] if start else tmp_path / "nothing"
        with pytest.raises(SystemExit) as raised:
            finetune.main([*command(recipe, shards[1], tmp_path / "out"), "--start-from", str(folder), *more])
        assert raised.value.code == 2
        assert message in capfd.readouterr().err.strip().splitlines()[-1]
        assert not (tmp_path / "out" / "model.safetensors").exists()


def test_an_encoder_of_a_fitted_model_is_the_one_below_its_head(fitted: dict[str, Path]) -> None:
    encoder, about = start_encoder(fitted["scratch"], seed=0)
    kept, known = start_encoder(fitted["scratch"] / "encoder", seed=0)
    for name, value in kept.state_dict().items():
        torch.testing.assert_close(encoder.state_dict()[name], value, atol=0, rtol=0)
    assert about["train"] == known["train"]
    assert len(about["train"]) == 4
    with pytest.raises(ValueError, match="resnet_gru, which has no encoder"):
        start_encoder(fitted["resnet_gru"], seed=0)


def test_a_pretraining_goes_on_from_the_encoder_of_a_fitted_model_and_names_whom_it_has_seen(
    fitted: dict[str, Path], toy_shards: Path, tmp_path: Path
) -> None:
    still = ["--schedule.steps", "1", "--optim.learning-rate", "1e-12", "--regularise.weight-decay", "0"]
    options = ["--recipe", "eeg_tiny", "--tiny", "--shards", str(toy_shards), *still]
    pretrain.main([*options, "--output", str(tmp_path / "run"), "--init-from", str(fitted["scratch"])])
    encoder, about = start_encoder(tmp_path / "run" / "encoder", seed=0)
    before, seen = start_encoder(fitted["scratch"], seed=0)
    for name, value in before.state_dict().items():
        torch.testing.assert_close(encoder.state_dict()[name], value, atol=1e-6, rtol=0)
    assert set(seen["train"]) < set(about["train"])
    assert about["is_known"] is False  # a fit does not list sites
    with pytest.raises(SystemExit) as refused:
        pretrain.main([*options, "--output", str(tmp_path / "no"), "--init-from", str(fitted["resnet_gru"])])
    assert refused.value.code == 2
