import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluation.scenarios.reconstruction import read_reconstruction
from model.checkpoint import checkpoints, load_checkpoint, load_newest
from model.encoder import Encoder
from signals.window import MEASURED
from training import pretrain
from training.corpus import pretrain_batches
from training.corpus.order import MicroBatch
from training.corpus.shards import Shards
from training.corpus.splits import hold_out
from training.recipes.pretraining import RECIPES, PretrainRecipe
from training.trainer.stopping import RESUME_EXIT
from training.trainer.train import NonFiniteLossError

Metrics = Callable[[Path], list[dict[str, float]]]
SHORT = ["--tiny", "--steps", "6", "--save-every", "3", "--dim", "32", "--depth", "1", "--stem-dim", "32"]


def options(shards: Path, output: Path, *more: str) -> list[str]:
    return ["--shards", str(shards), "--output", str(output), *SHORT, *more]


@pytest.fixture(scope="module")
def whole_run(toy_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("run") / "whole"
    pretrain.main(options(toy_shards, output))
    return output


def test_run_leaves_encoder_subjects_and_reconstruction(whole_run: Path, toy_shards: Path, metrics_of: Metrics) -> None:
    lines = metrics_of(whole_run)
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert all(np.isfinite(line["loss"]) and {"reconstruction", "contrastive"} < set(line) for line in lines)
    told = json.loads((whole_run / "pretrain_subjects.json").read_text())
    assert len(told["held_out"]) == 2  # a fifth of 12 subjects
    assert not set(told["held_out"]) & set(told["train"])
    frame = read_reconstruction(whole_run / "reconstruction.parquet")
    assert set(frame["subject_id"]) == set(told["held_out"])
    assert set(frame["method"]) == {"model", "linear", "mean", "spline", "ar", "filling"}
    assert set(frame["band"]) == {"all", "delta", "theta", "alpha", "beta", "gamma"}
    assert set(frame["span_ms_low"]) == {15.0, 60.0, 200.0}
    encoder = Encoder.from_pretrained(whole_run / "encoder", local_files_only=True)
    state = load_newest(whole_run / "checkpoints")
    assert state is not None
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, state["model"][f"encoder.{name}"])
    assert state["manifest_digest"] == Shards(toy_shards).manifest.digest
    assert state["loader"] == {"step": 6, "windows_per_epoch": 30}


def test_settings_are_chosen_without_the_held_out_subjects(whole_run: Path, toy_shards: Path, tmp_path: Path) -> None:
    pretrain.main(options(toy_shards, tmp_path / "run", "--choose-share", "0.2", "--steps", "1", "--save-every", "1"))
    final, chosen = (json.loads((run / "pretrain_subjects.json").read_text()) for run in (whole_run, tmp_path / "run"))
    assert not set(final["held_out"]) & {*chosen["train"], *chosen["held_out"]}
    assert set(final["train"]) == {*chosen["train"], *chosen["held_out"]}
    assert len(chosen["held_out"]) == 2  # a fifth of ten


def test_resumed_run_equals_the_whole_one_bit_for_bit(
    whole_run: Path, toy_shards: Path, tmp_path: Path, metrics_of: Metrics
) -> None:
    pretrain.main(options(toy_shards, tmp_path / "run", "--max-steps", "4"))
    pretrain.main(options(toy_shards, tmp_path / "run"))
    assert [line["loss"] for line in metrics_of(tmp_path / "run")] == [line["loss"] for line in metrics_of(whole_run)]
    a, b = (load_checkpoint(checkpoints(run / "checkpoints")[-1]) for run in (whole_run, tmp_path / "run"))
    assert all(torch.equal(a["model"][name], b["model"][name]) for name in a["model"])


def test_two_processes_take_the_same_steps_as_one(
    whole_run: Path, toy_shards: Path, tmp_path: Path, metrics_of: Metrics
) -> None:
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc_per_node=2",
        "--standalone",
        "-m",
        "training.pretrain",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [*command, *options(toy_shards, tmp_path / "run")],
        env=environment,
        check=True,
        capture_output=True,
        timeout=120,
    )
    one, two = ([line["loss"] for line in metrics_of(run)] for run in (whole_run, tmp_path / "run"))
    np.testing.assert_allclose(two, one, rtol=1e-4)


def test_sigterm_saves_and_asks_to_be_resumed(toy_shards: Path, tmp_path: Path, metrics_of: Metrics) -> None:
    more = options(toy_shards, tmp_path / "run", "--steps", "5000", "--save-every", "5000")
    process = subprocess.Popen([sys.executable, "-m", "training.pretrain", *more], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        log = tmp_path / "run" / "metrics.jsonl"
        while not (log.exists() and log.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == RESUME_EXIT
    finally:
        process.kill()
    state = load_newest(tmp_path / "run" / "checkpoints")
    assert state is not None
    assert state["step"] == metrics_of(tmp_path / "run")[-1]["step"] > 0


def test_non_finite_loss_stops_before_the_step_and_names_it(
    toy_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = pretrain_batches.pretrain_batch

    def poisoned(shards: Shards, micro: MicroBatch, *arguments: object, **named: object) -> dict[str, torch.Tensor]:
        batch = real(shards, micro, *arguments, **named)
        if 8 in micro.samples:  # sample 8 belongs to the third step of four
            batch["x_BCT"] = batch["x_BCT"] * float("inf")
        return batch

    monkeypatch.setattr(pretrain_batches, "pretrain_batch", poisoned)
    with pytest.raises(NonFiniteLossError, match="step 3"):
        pretrain.main(options(toy_shards, tmp_path, "--contrastive-weight", "0", "--save-every", "1"))
    state = load_newest(tmp_path / "checkpoints")
    assert state is not None
    assert state["step"] == 2


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_recipe_trains_a_step(name: str, toy_shards: Path, tmp_path: Path, metrics_of: Metrics) -> None:
    pretrain.main(
        ["--recipe", name, "--tiny", "--shards", str(toy_shards), "--output", str(tmp_path), "--max-steps", "1"]
    )
    assert len(metrics_of(tmp_path)) == 1


def test_training_beats_the_mean_and_never_sees_excluded_sites(toy_shards: Path, tmp_path: Path) -> None:
    more = ("--steps", "40", "--exclude-sites", "site0", "--schedule-weights", "1", "0", "0")
    pretrain.main(options(toy_shards, tmp_path, *more))
    frame = read_reconstruction(tmp_path / "reconstruction.parquet")
    told = json.loads((tmp_path / "pretrain_subjects.json").read_text())
    assert not any(s.startswith("site0") for s in [*told["train"], *told["held_out"]])
    error = frame[frame["span_ms_low"] == 200].groupby("method")["sum_squared_error"].sum()
    assert error["model"] < error["linear"]
    assert error["model"] < error["mean"]


def test_masks_depend_on_the_sample_number_alone(toy_shards: Path) -> None:
    shards, recipe = Shards(toy_shards), RECIPES["eeg_tiny"](tiny=True)
    normaliser = pretrain.Normaliser(kind="window")
    together = pretrain.pretrain_batch(shards, MicroBatch((3, 4), (10, 11), 1024), normaliser, recipe, step=0)
    alone = pretrain.pretrain_batch(shards, MicroBatch((4,), (11,), 1024), normaliser, recipe, step=0)
    for name, value in alone.items():
        assert torch.equal(together[name][1:], value)
    assert alone["x_BCT"].shape == (1, 19, 1024)  # crop_s = 4
    assert (together["ch_state_BC"] == MEASURED).any()


def test_first_steps_start_from_the_line_whatever_the_filling(toy_shards: Path) -> None:
    shards, micro = Shards(toy_shards), MicroBatch((0, 1), (0, 1), 1024)
    recipe = replace(RECIPES["eeg_tiny"](tiny=True), filling="ar", line_steps=3)
    normaliser = pretrain.Normaliser(kind="window")

    def made(recipe: PretrainRecipe, step: int) -> dict[str, torch.Tensor]:
        return pretrain.pretrain_batch(shards, micro, normaliser, recipe, step=step)

    from_line, from_ar = made(replace(recipe, filling="line"), 9), made(replace(recipe, line_steps=0), 0)
    assert not torch.equal(from_line["filled_BCT"], from_ar["filled_BCT"])
    for step in range(5):
        for name, value in (from_line if step < 3 else from_ar).items():
            assert torch.equal(made(recipe, step)[name], value)


def test_held_out_subjects_are_whole() -> None:
    subjects = [f"s{i // 3}" for i in range(36)]
    train, held_out = hold_out(subjects, share=0.25, seed=0)
    assert len({subjects[i] for i in held_out}) == 3
    assert not {subjects[i] for i in train} & {subjects[i] for i in held_out}
    with pytest.raises(ValueError, match="at least 2 subjects"):
        hold_out(subjects[:1], share=0.2, seed=0)


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        (["--bogus", "1"], "unknown option '--bogus'"),
        (["--recipe", "eeg_huge"], "unknown recipe 'eeg_huge'"),
        (["--micro-batch", "0"], "micro_batch=0 must be positive"),
        (["--steps", "many"], "invalid literal"),
        (["--shards", "/nowhere"], "/nowhere is no shard set"),
        (["--exclude-sites", "site9"], "'site9'"),
    ],
)
def test_mistakes_end_in_one_line_and_code_2(
    wrong: list[str], match: str, toy_shards: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as raised:
        pretrain.main([*options(toy_shards, tmp_path / "run"), *wrong])
    assert raised.value.code == 2
    lines = capfd.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert match in lines[0]
    assert not (tmp_path / "run").exists()


def test_other_configuration_in_the_same_folder_is_refused(
    toy_shards: Path, whole_run: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as raised:
        pretrain.main(options(toy_shards, whole_run, "--seed", "1"))
    assert raised.value.code == 2
    assert "belongs to another run (config: seed differ)" in capfd.readouterr().err


def test_sleep_stages_of_some_windows_help_and_have_their_own_curve(
    make_toy_shards: Callable[..., Path], tmp_path: Path, metrics_of: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = make_toy_shards(n_sites=1)
    labels = {"Seizure": "Sleep stage 2", "LPD": "R"}  # the rest of the toy's labels are no sleep stages
    real = pretrain_batches.TASKS["sleep"].class_of
    monkeypatch.setattr(
        type(pretrain_batches.TASKS["sleep"]), "class_of", lambda _, label: real(labels.get(label, label))
    )
    opened, recipe = Shards(shards), RECIPES["eeg_tiny"](tiny=True)
    windows = tuple(range(6))
    batch = pretrain_batches.pretrain_batch(
        opened, MicroBatch(windows, windows, 1024), pretrain.Normaliser(kind="window"), recipe, step=0
    )
    wanted = {"Seizure": 2, "LPD": 4}
    assert batch["sleep_target_B"].tolist() == [wanted.get(opened.entries[i].label, -1) for i in windows]
    pretrain.main(options(shards, tmp_path / "run", "--sleep-weight", "0.1", "--max-steps", "2"))
    lines = metrics_of(tmp_path / "run")
    assert all(np.isfinite(line["sleep"]) for line in lines)
    assert any(line["sleep"] > 0 for line in lines)
