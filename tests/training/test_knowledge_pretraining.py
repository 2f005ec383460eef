"""Pretraining that describes hidden stretches: the same trainer, exact however it is cut, and a skill of its own."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.ranks import in_ranks
from training import pretrain
from training.command import parse_command
from training.objectives.skill import read_skill
from training.parallel.distributed import TorchGroup
from training.publish import check_worth
from training.recipes.pretraining import RECIPES
from training.trainer.checkpoints import checkpoints, load_checkpoint
from training.trainer.stopping import StopRequest

Metrics = Callable[[Path], list[dict[str, float]]]
SHORT = ["--recipe", "eeg_latent_cpu", "--tiny", "--schedule.steps", "2", "--track.save-every", "1",
         "--optim.batch", "8", "--optim.micro-batch", "1",
         "--model.dim", "32", "--model.depth", "1", "--model.stem-dim", "16", "--data.crop-s", "35",
         "--objective.latents", "0", "--objective.gaps", "0", "--objective.contrastive", "0",
         "--objective.decibels", "0.5", "--objective.knowledge", "1", "--track.skill-windows", "4",
         "--track.validate-every", "1", "--track.validate-windows", "3"]  # fmt: skip


def options(shards: Path, output: Path, *more: str) -> list[str]:
    return ["--shards", str(shards), "--output", str(output), *SHORT, *more]


@pytest.fixture(scope="module")
def long_shards(write_shards: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shards(tmp_path_factory.mktemp("long"), n_sites=2, n_windows=1, window_s=35.0)


@pytest.fixture(scope="module")
def whole_run(long_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("knowledge") / "whole"
    pretrain.main(options(long_shards, output))
    return output


def test_a_run_measures_stretches_beside_what_needs_no_network(whole_run: Path, metrics_of: Metrics) -> None:
    lines = metrics_of(whole_run)
    for line in lines:
        assert np.isfinite([line["knowledge"], line["valid_knowledge_error"], line["valid_knowledge_rest"]]).all()
    assert lines[0]["valid_knowledge_rest"] == lines[1]["valid_knowledge_rest"]
    assert lines[0]["valid_knowledge_error"] != lines[1]["valid_knowledge_error"]
    assert set(read_skill(whole_run).measured) == {"seconds", "stretches"}
    best = (whole_run / "checkpoints" / "best.json").read_text()
    assert str(min(line["valid_knowledge_error"] for line in lines)) in best


def test_a_run_that_describes_no_better_than_the_rest_is_not_published(whole_run: Path) -> None:
    assert read_skill(whole_run).stretches < 0  # after two steps
    with pytest.raises(ValueError, match=r"stretches -"):
        check_worth(whole_run)


def test_a_resumed_run_equals_the_whole_one_bit_for_bit(
    whole_run: Path, long_shards: Path, tmp_path: Path, metrics_of: Metrics
) -> None:
    pretrain.main(options(long_shards, tmp_path, "--max-steps", "1"))
    pretrain.main(options(long_shards, tmp_path))
    for name in ("loss", "knowledge", "valid_knowledge_error", "valid_knowledge_rest"):
        assert [line[name] for line in metrics_of(tmp_path)] == [line[name] for line in metrics_of(whole_run)]
    a, b = (load_checkpoint(checkpoints(run / "checkpoints")[-1]) for run in (whole_run, tmp_path))
    for part in ("model", "average"):
        assert all(torch.equal(a[part][name], b[part][name]) for name in a[part])


@pytest.mark.parametrize("n_processes", [2, 8])
def test_several_processes_take_the_same_steps_as_one(
    n_processes: int, whole_run: Path, long_shards: Path, tmp_path: Path, metrics_of: Metrics
) -> None:
    def work(processes: TorchGroup) -> bool:
        arguments = options(long_shards, tmp_path)
        command = parse_command(pretrain.PretrainCommand, RECIPES, arguments, default_recipe="eeg_tiny", prog="test")
        return pretrain.pretrain(command, processes, StopRequest())

    assert in_ranks(n_processes, work) == [True] * n_processes
    one, several = metrics_of(whole_run), metrics_of(tmp_path)
    for name in ("loss", "knowledge", "valid_knowledge_error", "valid_knowledge_rest"):
        np.testing.assert_allclose([line[name] for line in several], [line[name] for line in one], rtol=1e-3)


def test_windows_that_are_too_short_end_in_one_line(
    toy_shards: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        pretrain.main(options(toy_shards, tmp_path / "run"))
    assert ended.value.code == 2
    assert "0 windows to train on have a stretch that can be described" in capfd.readouterr().err
