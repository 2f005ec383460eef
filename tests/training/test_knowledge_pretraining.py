"""Pretraining that describes hidden stretches: the same trainer, exact however it is cut, and a skill of its own."""

import json
import shutil
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from model.pretraining.pretraining import PretrainModel
from model.pretraining.token_masks import BlockPlan
from tests.training.ranks import in_ranks
from training import held_out, pretrain
from training.command import parse_command
from training.objectives.skill import read_skill, write_skill
from training.objectives.stretches.knowledge import fit_knowledge, knowledge_errors
from training.objectives.validation import Look
from training.parallel.distributed import TorchGroup
from training.provenance import SUBJECTS_FILE
from training.publish import check_worth
from training.recipes.pretraining import RECIPES, eeg_latent_cpu
from training.recipes.sections import changed
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
    return write_shards(tmp_path_factory.mktemp("long"), n_sites=2, n_windows=2, window_s=35.0)


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


def test_who_is_described_for_the_fit_is_trained_on_and_for_the_skill_held_out(
    long_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, set[str]] = {}

    def people(looks: Sequence[Look]) -> set[str]:
        return {look.source.corpus.entry(number).subject_id for look in looks for number in look.windows}

    def fitted(model: PretrainModel, looks: Sequence[Look], plan: BlockPlan) -> None:
        seen["fit"] = people(looks)
        fit_knowledge(model, looks, plan)

    def errors(model: PretrainModel, looks: Sequence[Look], *more: Any) -> dict[str, np.ndarray]:
        seen["skill"] = people(looks)
        return knowledge_errors(model, looks, *more)

    monkeypatch.setattr(pretrain, "fit_knowledge", fitted)
    monkeypatch.setattr(pretrain, "knowledge_errors", errors)
    pretrain.main(options(long_shards, tmp_path, "--schedule.steps", "1", "--schedule.warmup-steps", "0"))
    facts = json.loads((tmp_path / SUBJECTS_FILE).read_text())
    assert seen["fit"] == set(facts["train"])
    assert seen["skill"] == set(facts["held_out"])


def test_a_run_of_which_no_held_out_window_can_be_described_is_not_published(whole_run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(whole_run, copy)
    write_skill(copy, replace(read_skill(copy), seconds=0.1, stretches=float("nan")))
    with pytest.raises(ValueError, match="no held-out window could be described"):
        check_worth(copy)
    write_skill(copy, replace(read_skill(copy), stretches=0.1))
    assert check_worth(copy).skill is not None


def test_a_score_that_is_not_known_chooses_no_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = {"valid_recording_contrast": float("nan"), "valid_knowledge_error": 0.9}
    trainer = SimpleNamespace(evaluated=lambda: nullcontext(SimpleNamespace(fills_gaps=False)), processes=None, step=3)
    monkeypatch.setattr(held_out, "probe", lambda *args: {})
    monkeypatch.setattr(held_out, "validate_recordings", lambda *args: {})
    monkeypatch.setattr(held_out, "validate_knowledge", lambda *args: looked)
    validation = held_out.HeldOutValidation([], every=1)
    validation(trainer)  # type: ignore[arg-type]
    assert validation.scores == {3: 0.9}
    looked["valid_knowledge_error"] = float("nan")
    trainer.step = 4
    validation(trainer)  # type: ignore[arg-type]
    assert validation.scores == {3: 0.9}


def test_other_sensors_and_knowledge_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="leave --model.fusion sensors out"):
        changed(eeg_latent_cpu(), model={"fusion": ("sensors",)}, objective={"knowledge": 0.3})


def test_windows_that_are_too_short_end_in_one_line(
    toy_shards: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        pretrain.main(options(toy_shards, tmp_path / "run"))
    assert ended.value.code == 2
    assert "0 windows to train on have a stretch that can be described, 8 needed" in capfd.readouterr().err
