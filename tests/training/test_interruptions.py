"""What ends or interrupts a run, and what is left of it: the table of docs/training_internals.md, line by line."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from tests.training.ranks import in_ranks
from training import finetune, pretrain
from training.command import parse_command
from training.parallel.distributed import Processes, TorchGroup
from training.recipes.pretraining import RECIPES
from training.trainer.checkpoints import checkpoints, load_newest
from training.trainer.optim import make_scheduler
from training.trainer.saving import SAVE_FAILED_EXIT
from training.trainer.stopping import RESUME_EXIT, StopRequest
from training.trainer.train import NonFiniteLossError, Trainer

Metrics = Callable[[Path], list[dict[str, float]]]
SHORT = ["--tiny", "--schedule.steps", "3", "--model.dim", "32", "--model.depth", "1", "--model.stem-dim", "32",
         "--track.evaluate-windows", "1"]  # fmt: skip


def run(*arguments: object, main: Callable[[list[str]], None] = pretrain.main) -> int:
    """Return the exit code of a command."""
    try:
        main([*map(str, arguments)])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


class Line(nn.Module):
    """The sum of a weight times its batch, which fails as its process is meant to in its first pass."""

    def __init__(self, fails: Exception | None = None) -> None:
        super().__init__()
        self.weight, self.weights, self.fails, self.passes = nn.Parameter(torch.zeros(1)), {"size": 1.0}, fails, []

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        self.passes.append(len(batch["x"]))
        if self.fails is not None and len(self.passes) == 1:
            raise self.fails
        return {"size": (batch["x"] * (self.weight + 1)).sum()}

    def counts(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"size": torch.tensor(float(len(batch["x"])))}


def line_trainer(module: Line, processes: Processes) -> Trainer:
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    scheduler = make_scheduler(optimizer, warmup_steps=1, steps=9)
    return Trainer(module=module, optimizer=optimizer, scheduler=scheduler, processes=processes, seed=0)


def test_what_happens_on_one_process_is_heard_by_all() -> None:
    def work(processes: TorchGroup) -> tuple[str, float, list[int], float]:
        hit = processes.rank == 1
        # Not finite on one: all raise, and no weight moves.
        poisoned = line_trainer(Line(), processes)
        try:
            poisoned.take_step([{"x": torch.tensor([float("inf") if hit else 1.0])}])
            ended = "went on"
        except NonFiniteLossError as error:
            ended = str(error)
        # Out of memory on one: all cut their micro-batches in two, and the step is that of all windows.
        short = Line(torch.OutOfMemoryError("CUDA out of memory") if hit else None)
        trainer = line_trainer(short, processes)
        trainer.take_step([{"x": torch.ones(4)}])
        return ended, poisoned.module.weight.item(), short.passes, trainer.module.weight.item()

    found = in_ranks(3, work)
    for ended, weight, passes, moved in found:
        assert ended.startswith("step 1: a loss is not finite")
        assert weight == 0.0
        assert passes == [4, 2, 2]
        assert moved == pytest.approx(-0.1)  # the mean's slope is 1, the rate 0.1


def test_more_processes_than_micro_batches_take_the_steps_of_one(
    make_toy_shards: Callable[..., Path], tmp_path: Path, metrics_of: Metrics
) -> None:
    shards = [make_toy_shards(n_sites=1, n_subjects=3), make_toy_shards(n_sites=1, n_subjects=3, window_s=3.0)]
    more = ["--optim.batch", "8", "--optim.micro-batch", "4", "--objective.contrastive", "0"]

    def work(folder: Path) -> Callable[[TorchGroup], bool]:
        arguments = ["--shards", *map(str, shards), "--output", str(folder), *SHORT, *more]
        command = parse_command(pretrain.PretrainCommand, RECIPES, arguments, default_recipe="eeg_tiny", prog="test")
        return lambda processes: pretrain.pretrain(command, processes, StopRequest())

    assert in_ranks(8, work(tmp_path / "eight")) == [True] * 8
    assert in_ranks(1, work(tmp_path / "one")) == [True]
    one, eight = metrics_of(tmp_path / "one"), metrics_of(tmp_path / "eight")
    assert [line["order_crc"] for line in eight] == [line["order_crc"] for line in one]
    np.testing.assert_allclose([line["loss"] for line in eight], [line["loss"] for line in one], rtol=1e-4)


def test_two_windows_are_enough_and_one_is_refused(
    make_toy_shards: Callable[..., Path], tmp_path: Path, capfd: pytest.CaptureFixture[str], metrics_of: Metrics
) -> None:
    two = make_toy_shards(n_sites=1, n_subjects=2, n_windows=1)
    assert run("--shards", two, "--output", tmp_path / "two", *SHORT) == 0
    assert len(metrics_of(tmp_path / "two")) == 3
    one = make_toy_shards(n_sites=1, n_subjects=1, n_windows=1)
    capfd.readouterr()
    assert run("--shards", one, "--output", tmp_path / "one", *SHORT) == 2
    assert "pretraining needs at least 2 subjects" in capfd.readouterr().err


@pytest.mark.parametrize("moment", ["before", "while scored"])
def test_a_signal_before_the_first_step_or_while_the_end_is_scored(
    toy_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metrics_of: Metrics, moment: str
) -> None:
    name = "open_corpora" if moment == "before" else "evaluate_reconstruction"
    real = getattr(pretrain, name)

    def interrupted(*arguments: Any, **options: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return real(*arguments, **options)

    arguments = ("--shards", toy_shards, "--output", tmp_path / "cut", *SHORT)
    with monkeypatch.context() as patch:
        patch.setattr(pretrain, name, interrupted)
        assert run(*arguments) == RESUME_EXIT
    assert not (tmp_path / "cut" / "reconstruction.parquet").exists()
    assert run(*arguments) == 0
    assert run("--shards", toy_shards, "--output", tmp_path / "whole", *SHORT) == 0
    whole, cut = (metrics_of(tmp_path / folder) for folder in ("whole", "cut"))
    assert [(line["step"], line["loss"]) for line in cut] == [(line["step"], line["loss"]) for line in whole]
    tables = [pd.read_parquet(tmp_path / folder / "reconstruction.parquet") for folder in ("whole", "cut")]
    pd.testing.assert_frame_equal(*tables)


def test_sigterm_while_a_checkpoint_is_written_in_the_background(
    toy_shards: Path, tmp_path: Path, metrics_of: Metrics
) -> None:
    command = [
        sys.executable, "-m", "training.pretrain", "--shards", str(toy_shards), "--output", str(tmp_path), *SHORT,
        "--schedule.steps", "5000", "--track.save-every", "1", "--track.save-in-background",
    ]  # fmt: skip
    process, folder = subprocess.Popen(command, stderr=subprocess.DEVNULL), tmp_path / "checkpoints"
    try:
        deadline = time.monotonic() + 180  # of starting up on a busy machine
        while not any(folder.glob(".*.partial")) and time.monotonic() < deadline:
            time.sleep(0.0005)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == RESUME_EXIT
    finally:
        process.kill()
    state = load_newest(folder)
    assert state is not None
    assert state["step"] == metrics_of(tmp_path)[-1]["step"] > 0
    assert not list(folder.glob(".*.partial"))


@pytest.mark.parametrize(("most", "save_every"), [(4000, 1000), (100_000, 2)])
def test_a_full_disk_ends_in_one_line_and_what_was_saved_is_whole(
    toy_shards: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], metrics_of: Metrics, most: int, save_every: int
) -> None:
    """At 4 kB the log does not fit, at 100 kB the checkpoint."""
    arguments = ["--shards", toy_shards, "--output", tmp_path, *SHORT, "--schedule.steps", "30"]
    assert run(*arguments, "--max-steps", "1", "--track.save-every", "1") == 0
    before = checkpoints(tmp_path / "checkpoints")
    capfd.readouterr()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, limits[1]))  # files beyond cannot be written, as on a full disk
    try:
        code = run(*arguments, "--track.save-every", save_every)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert code == SAVE_FAILED_EXIT
    (line,) = [line for line in capfd.readouterr().err.splitlines() if "pretrain: " in line]
    assert "earlier checkpoints are whole" in line
    assert checkpoints(tmp_path / "checkpoints") == before
    assert run(*arguments, "--max-steps", "4") == 0
    assert [line["step"] for line in metrics_of(tmp_path)] == [1, 2, 3, 4]


def test_fine_tuning_ends_at_a_record_that_cannot_be_read(
    write_shards: Callable[..., Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = write_shards(tmp_path / "shards", n_sites=1, n_subjects=4, n_windows=2, window_s=50.0)
    victim = next(folder.rglob("*.snappy"))
    raw = bytearray(victim.read_bytes())
    raw[-40] ^= 0xFF
    victim.write_bytes(bytes(raw))
    more = ("--recipe", "eegnet", "--tiny", "--shards", folder, "--task", "six-class", "--no-encoder")
    assert run(*more, "--output", tmp_path / "model", main=finetune.main) == 2
    assert f"{victim.name}: the checksum" in capfd.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "model" / "model.safetensors").exists()


def test_a_run_stops_where_too_much_is_damaged(
    make_toy_shards: Callable[..., Path], tmp_path: Path, capfd: pytest.CaptureFixture[str], metrics_of: Metrics
) -> None:
    folder = make_toy_shards(n_sites=1, n_subjects=3, n_windows=4)
    shards = sorted(folder.rglob("*.snappy"))
    middle = bytearray(shards[1].read_bytes())
    middle[len(middle) // 2 : len(middle) // 2 + 5000] = bytes(5000)
    shards[1].write_bytes(bytes(middle))
    arguments = ["--shards", folder, *SHORT, "--schedule.steps", "12", "--data.held-out-share", "0.3"]
    assert run(*arguments, "--data.max-corrupt", "0.5", "--output", tmp_path / "kept") == 0
    assert all(np.isfinite(line["loss"]) for line in metrics_of(tmp_path / "kept"))
    capfd.readouterr()
    assert run(*arguments, "--output", tmp_path / "strict") == 2
    assert "windows cannot be read, more than a share of 0.001" in capfd.readouterr().err.splitlines()[-1]
    assert json.loads((tmp_path / "kept" / "pretrain_subjects.json").read_text())["held_out"]
