"""Pretraining that contrasts recordings: the same trainer, exact however it is cut and resumed."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.ranks import in_ranks
from training import pretrain
from training.command import parse_command
from training.parallel.distributed import TorchGroup
from training.recipes.pretraining import RECIPES
from training.trainer.checkpoints import checkpoints, load_checkpoint
from training.trainer.stopping import StopRequest

Metrics = Callable[[Path], list[dict[str, float]]]
PLAIN = ["--recipe", "eeg_latent_cpu", "--tiny", "--schedule.steps", "3", "--track.save-every", "1",
         "--model.dim", "32", "--model.depth", "1", "--model.stem-dim", "16", "--data.crop-s", "2",
         "--objective.latents", "0", "--objective.gaps", "0", "--objective.contrastive", "0",
         "--track.validate-every", "0"]  # fmt: skip
WEIGHTS = ("--objective.decibels", "0.2", "--objective.recording-contrast", "1", "--track.validate-every", "1",
           "--track.validate-windows", "9")  # fmt: skip


def options(shards: Path, output: Path, *more: str) -> list[str]:
    return ["--shards", str(shards), "--output", str(output), *PLAIN, *more]


@pytest.fixture(scope="module")
def whole_run(toy_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("recordings") / "whole"
    pretrain.main(options(toy_shards, output, *WEIGHTS))
    return output


def test_a_run_logs_the_contrast_beside_chance_and_looks_at_held_out_people(
    whole_run: Path, metrics_of: Metrics
) -> None:
    lines = metrics_of(whole_run)
    for line in lines:
        # Every toy recording has three windows, so that each of a step's four has a partner.
        assert 2 <= line["recording_keys"] <= 4
        assert np.log(2) <= line["recording_chance"] <= np.log(4) + 1e-9
        assert 0 <= line["recording_top1"] <= 1
        assert 0 <= line["valid_recording_top1"] <= 1
        assert np.isfinite([line["recording_contrast"], line["valid_recording_contrast"]]).all()
    assert lines[0]["valid_recording_contrast"] != lines[-1]["valid_recording_contrast"]
    assert len({line["valid_recording_chance"] for line in lines}) == 1
    best = (whole_run / "checkpoints" / "best.json").read_text()
    assert str(min(line["valid_recording_contrast"] for line in lines)) in best


def test_a_resumed_run_equals_the_whole_one_bit_for_bit(
    whole_run: Path, toy_shards: Path, tmp_path: Path, metrics_of: Metrics
) -> None:
    pretrain.main(options(toy_shards, tmp_path, *WEIGHTS, "--max-steps", "1"))
    pretrain.main(options(toy_shards, tmp_path, *WEIGHTS))
    for name in ("loss", "recording_contrast", "valid_recording_contrast"):
        assert [line[name] for line in metrics_of(tmp_path)] == [line[name] for line in metrics_of(whole_run)]
    a, b = (load_checkpoint(checkpoints(run / "checkpoints")[-1]) for run in (whole_run, tmp_path))
    for part in ("model", "average"):
        assert all(torch.equal(a[part][name], b[part][name]) for name in a[part])


def test_two_processes_take_the_same_steps_as_one(
    whole_run: Path, toy_shards: Path, tmp_path: Path, metrics_of: Metrics
) -> None:
    def work(processes: TorchGroup) -> bool:
        arguments = options(toy_shards, tmp_path, *WEIGHTS)
        command = parse_command(pretrain.PretrainCommand, RECIPES, arguments, default_recipe="eeg_tiny", prog="test")
        return pretrain.pretrain(command, processes, StopRequest())

    assert in_ranks(2, work) == [True, True]
    one, two = metrics_of(whole_run), metrics_of(tmp_path)
    for name in ("loss", "recording_contrast", "recording_keys", "recording_chance", "valid_recording_contrast",
                 "valid_recording_top1", "valid_recording_chance"):  # fmt: skip
        np.testing.assert_allclose([line[name] for line in two], [line[name] for line in one], rtol=1e-3)


def test_a_weight_of_zero_changes_nothing(toy_shards: Path, tmp_path: Path, metrics_of: Metrics) -> None:
    pretrain.main(options(toy_shards, tmp_path / "a"))
    pretrain.main(options(toy_shards, tmp_path / "b", "--objective.recording-contrast", "0"))
    a, b = (metrics_of(tmp_path / name) for name in ("a", "b"))
    assert [(line["loss"], line["grad_norm"], line["order_crc"]) for line in a] == [
        (line["loss"], line["grad_norm"], line["order_crc"]) for line in b
    ]
    assert not any("recording" in name for line in b for name in line)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (("--regularise.ema-decay", "0"), "recording_contrast: learnt from a teacher"),
        (("--optim.sharing", "shard"), "recording_contrast: the teacher must be whole"),
        (("--objective.recording-temperature", "0"), "recording_temperature"),
    ],
)
def test_mistakes_end_in_one_line(
    more: tuple[str, ...], why: str, toy_shards: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        pretrain.main(options(toy_shards, tmp_path / "run", *WEIGHTS, *more))
    assert ended.value.code == 2
    assert why in capfd.readouterr().err
