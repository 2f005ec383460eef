"""Pretraining on latents of whole hidden tokens: the same trainer, exact however it is cut."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from model.pretraining.teacher import Teacher
from tests.training.ranks import in_ranks
from training import pretrain
from training.command import parse_command
from training.objectives.latent_validation import LEAST_VARIANCE, read_latents
from training.objectives.skill import read_skill
from training.parallel.distributed import TorchGroup
from training.publish import check_worth
from training.recipes.pretraining import RECIPES
from training.trainer.checkpoints import checkpoints, load_checkpoint
from training.trainer.stopping import StopRequest

Metrics = Callable[[Path], list[dict[str, float]]]
SHORT = ["--recipe", "eeg_latent_cpu", "--tiny", "--schedule.steps", "2", "--track.save-every", "1",
         "--model.dim", "32", "--model.depth", "1", "--model.stem-dim", "16", "--track.evaluate-windows", "1",
         "--track.skill-windows", "1", "--track.validate-every", "1", "--track.validate-windows", "4",
         "--data.crop-s", "2"]  # fmt: skip


def options(shards: Path, output: Path, *more: str) -> list[str]:
    return ["--shards", str(shards), "--output", str(output), *SHORT, *more]


@pytest.fixture(scope="module")
def whole_run(toy_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("latent") / "whole"
    pretrain.main(options(toy_shards, output))
    return output


def test_a_run_measures_what_it_can_and_watches_its_latents(whole_run: Path, metrics_of: Metrics) -> None:
    lines = metrics_of(whole_run)
    assert {"latents", "decibels", "gaps", "contrastive"} < set(lines[0])
    looked = [line for line in lines if "latent_variance" in line]
    assert [line["step"] for line in looked] == [1, 2]
    assert all(LEAST_VARIANCE < line["latent_variance"] <= 1 for line in looked)
    assert all(np.isfinite(line["valid_latent_error"]) for line in looked)
    # Whole channels are not filled in by any head: their skill is not measured, and null in the file.
    assert set(read_skill(whole_run).measured) == {"gaps", "seconds"}
    assert json.loads((whole_run / "skill.json").read_text())["channels"] is None
    assert read_latents(whole_run) == {
        name: pytest.approx(looked[-1][name]) for name in ("latent_variance", "valid_latent_error")
    }


def test_collapsed_latents_are_reported_and_not_published_and_a_probe_chooses(
    toy_shards: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    metrics_of: Metrics,
) -> None:
    real = Teacher.latents
    monkeypatch.setattr(Teacher, "latents", lambda self, batch: 0.01 * real(self, batch) + torch.ones(()))
    probed = ("--track.choose-by", "probe", "--track.validate-windows", "6")
    pretrain.main(options(toy_shards, tmp_path, "--max-steps", "1", *probed))
    assert "step 1: the latents have collapsed" in caplog.text
    with pytest.raises(ValueError, match="not published: the latents have collapsed"):
        check_worth(tmp_path)
    best = json.loads((tmp_path / "checkpoints" / "best.json").read_text())
    assert best["score"] == 1 - metrics_of(tmp_path)[-1]["knn_accuracy"]


def test_a_resumed_run_equals_the_whole_one_bit_for_bit(
    whole_run: Path, toy_shards: Path, tmp_path: Path, metrics_of: Metrics
) -> None:
    pretrain.main(options(toy_shards, tmp_path, "--max-steps", "1"))
    pretrain.main(options(toy_shards, tmp_path))
    assert [line["loss"] for line in metrics_of(tmp_path)] == [line["loss"] for line in metrics_of(whole_run)]
    a, b = (load_checkpoint(checkpoints(run / "checkpoints")[-1]) for run in (whole_run, tmp_path))
    for part in ("model", "average"):
        assert all(torch.equal(a[part][name], b[part][name]) for name in a[part])


def test_two_processes_take_the_same_steps_as_one(
    whole_run: Path, toy_shards: Path, tmp_path: Path, metrics_of: Metrics
) -> None:
    def work(processes: TorchGroup) -> bool:
        command = parse_command(
            pretrain.PretrainCommand, RECIPES, options(toy_shards, tmp_path), default_recipe="eeg_tiny", prog="test"
        )
        return pretrain.pretrain(command, processes, StopRequest())

    assert in_ranks(2, work) == [True, True]
    one, two = metrics_of(whole_run), metrics_of(tmp_path)
    for name in ("loss", "latents", "decibels", "gaps", "latent_variance", "valid_latent_error"):
        np.testing.assert_allclose([line[name] for line in two], [line[name] for line in one], rtol=1e-3)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (("--regularise.ema-decay", "0"), "ema-decay"),
        (("--optim.sharing", "shard"), "sharing"),
        (("--objective.no-tokens",), "objective.tokens"),
        (("--objective.hidden-tokens", "1"), "hidden_tokens"),
        (("--track.choose-by", "probe", "--track.validate-windows", "1"), "choose_by=probe"),
    ],
)
def test_mistakes_end_in_one_line(
    more: tuple[str, ...], why: str, toy_shards: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        pretrain.main(options(toy_shards, tmp_path / "run", *more))
    assert ended.value.code == 2
    assert why in capfd.readouterr().err
