import json
import os
import shutil
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
from model.encoder import Encoder
from signals.modality import EEG_PSG
from signals.shards.manifest import COMPLETED, MANIFEST, Manifest, Shard, SubjectEntry, manifest_json
from signals.shards.moments import Moments
from signals.shards.normalise import Normaliser
from signals.shards.records import encode_window
from signals.shards.tfrecord import write_shard
from signals.tasks import TASKS
from signals.window import MEASURED
from tests.toy_shards import toy_window
from tests.training.ranks import in_ranks
from training import pretrain
from training.command import parse_command
from training.corpus.corpus import Corpus
from training.corpus.order import MicroBatch
from training.corpus.source import Source
from training.objectives.preparation import Preparation
from training.objectives.skill import read_skill
from training.parallel.distributed import TorchGroup
from training.recipes.pretraining import RECIPES
from training.trainer.checkpoints import checkpoints, load_checkpoint, load_newest
from training.trainer.stopping import RESUME_EXIT, StopRequest
from training.trainer.train import NonFiniteLossError

Metrics = Callable[[Path], list[dict[str, float]]]
SHORT = ["--tiny", "--schedule.steps", "6", "--track.save-every", "3", "--model.dim", "32", "--model.depth", "1",
         "--model.stem-dim", "32"]  # fmt: skip


def options(shards: Path, output: Path, *more: str) -> list[str]:
    return ["--shards", str(shards), "--output", str(output), *SHORT, *more]


@pytest.fixture(scope="module")
def psg_shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six windows of three sleepers, with eyes, chin and heart."""
    folder, rng = tmp_path_factory.mktemp("psg"), np.random.default_rng(0)
    shards, subjects = [], {}
    for number in range(3):
        toy = [
            toy_window(rng, site="lab", subject=f"sleeper{number}", number=n, label="GRDA", window_s=6.0)
            for n in range(2)
        ]
        windows = [
            replace(
                window,
                modality=EEG_PSG.name,
                data=np.concatenate(
                    [window.data, rng.normal(size=(4, 1536)).astype(np.float32) * [[9], [9], [9], [1]]]
                ).astype(np.float32),
                ch_state=np.full(23, MEASURED, dtype=np.uint8),
                artifact_mask=np.zeros((23, 6), dtype=np.uint16),
                quality=np.ones(23, dtype=np.float32),
                features=np.zeros((23, window.features.shape[1]), dtype=np.float32),
            )
            for window in toy
        ]
        path = f"site=lab/{number}.tfrecord.snappy"
        info = write_shard(folder / path, map(encode_window, windows))
        shards.append(Shard(path=path, site_id="lab", n_windows=2, n_bytes=info.n_bytes, sha256=info.sha256))
        moments = Moments.of(np.concatenate([w.data for w in windows], axis=1))
        subjects[f"sleeper{number}"] = SubjectEntry(site_id="lab", n_windows=2, recording_ids=(), moments=moments)
    manifest = Manifest(
        modality=EEG_PSG, profile={}, config_hash="toy", code_version="toy", shards=tuple(shards), subjects=subjects,
        counts={},
    )  # fmt: skip
    (folder / MANIFEST).write_text(manifest_json(manifest))
    (folder / COMPLETED).write_text("")
    return folder


@pytest.fixture(scope="module")
def whole_run(toy_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("run") / "whole"
    pretrain.main(options(toy_shards, output))
    return output


def test_run_leaves_encoder_subjects_and_reconstruction(whole_run: Path, toy_shards: Path, metrics_of: Metrics) -> None:
    lines = metrics_of(whole_run)
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert all(np.isfinite(line["loss"]) and {"reconstruction", "contrastive"} < set(line) for line in lines)
    record = json.loads((whole_run / "pretrain_subjects.json").read_text())
    assert len(record["held_out"]) == 2  # a fifth of 12 subjects
    assert not set(record["held_out"]) & set(record["train"])
    assert record["recordings"] == sorted(f"rec-{subject}" for subject in record["train"])
    assert record["sites"] == ["site0", "site1", "site2"]
    frame = read_reconstruction(whole_run / "reconstruction.parquet")
    assert set(frame["subject_id"]) == set(record["held_out"])
    assert set(frame["method"]) == {"model", "linear", "mean", "spline", "ar", "filling"}
    assert set(frame["band"]) == {"all", "delta", "theta", "alpha", "beta", "gamma"}
    assert set(frame["span_ms_low"]) == {15.0, 60.0, 200.0}
    skill = read_skill(whole_run)
    assert skill.n_subjects == 2
    assert set(skill.measured) == {"gaps", "channels"}  # the tiny recipe predicts no spectra
    assert skill.gaps < 0  # six steps from the line: worse than what the window holds
    assert (whole_run / "encoder" / "skill.json").read_bytes() == (whole_run / "skill.json").read_bytes()
    encoder = Encoder.from_pretrained(whole_run / "encoder", local_files_only=True)
    state = load_newest(whole_run / "checkpoints")
    assert state is not None
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, state["model"][f"encoder.{name}"])
    assert state["manifest_digest"] == Corpus.open(toy_shards).manifest.digest
    assert {name: state["loader"][name] for name in ("step", "windows_per_epoch")} == {
        "step": 6,
        "windows_per_epoch": 30,
    }
    config = json.loads((whole_run / "config.json").read_text())
    sections = config["config"]
    assert (config["recipe"], sections["model"]["dim"], sections["schedule"]["steps"]) == ("eeg_tiny", 32, 6)


def test_settings_are_chosen_without_the_held_out_subjects(whole_run: Path, toy_shards: Path, tmp_path: Path) -> None:
    pretrain.main(
        options(
            toy_shards,
            tmp_path / "run",
            "--data.choose-share",
            "0.2",
            "--schedule.steps",
            "1",
            "--track.save-every",
            "1",
        )
    )
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


def test_a_model_that_two_processes_share_is_saved_in_slices_and_goes_on_in_one(
    whole_run: Path, toy_shards: Path, tmp_path: Path, metrics_of: Metrics
) -> None:
    run, brief = tmp_path / "run", ("--track.evaluate-windows", "1")
    more = ("--optim.sharing", "shard", "--track.validate-every", "2", "--max-steps", "4", *brief)

    def work(processes: TorchGroup) -> bool:
        command = parse_command(
            pretrain.PretrainCommand, RECIPES, options(toy_shards, run, *more), default_recipe="eeg_tiny", prog="test"
        )
        return pretrain.pretrain(command, processes, StopRequest())

    assert in_ranks(2, work) == [True, True]
    assert len(list((run / "checkpoints").glob("step-00000004.*.slices"))) == 2
    assert (run / "encoder" / "model.safetensors").is_file()
    pretrain.main(options(toy_shards, run, *brief))
    one, both = metrics_of(whole_run), metrics_of(run)
    assert [line["order_crc"] for line in both] == [line["order_crc"] for line in one]
    np.testing.assert_allclose([line["loss"] for line in both], [line["loss"] for line in one], rtol=1e-3)
    assert np.isfinite(both[1]["valid_error"])


def test_checkpoints_may_lie_in_an_object_store(
    whole_run: Path, toy_shards: Path, tmp_path: Path, metrics_of: Metrics
) -> None:
    more = options(toy_shards, tmp_path / "run", "--track.checkpoints", "memory://pretrain/checkpoints")
    more += ["--track.evaluate-windows", "1"]
    pretrain.main([*more, "--max-steps", "4", "--track.save-in-background"])
    pretrain.main(more)
    assert not (tmp_path / "run" / "checkpoints").exists()
    assert [line["loss"] for line in metrics_of(tmp_path / "run")] == [line["loss"] for line in metrics_of(whole_run)]
    a = load_newest(whole_run / "checkpoints")
    b = load_newest("memory://pretrain/checkpoints")
    assert a is not None
    assert b is not None
    assert all(torch.equal(a["model"][name], b["model"][name]) for name in a["model"])


def test_sigterm_saves_and_ends_with_the_code_to_resume(toy_shards: Path, tmp_path: Path, metrics_of: Metrics) -> None:
    more = options(toy_shards, tmp_path / "run", "--schedule.steps", "5000", "--track.save-every", "5000")
    process = subprocess.Popen([sys.executable, "-m", "training.pretrain", *more], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 180  # of starting up on a busy machine
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
    real = Preparation.__call__

    def poisoned(self: Preparation, raw: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        batch = real(self, raw)
        if 8 in raw["sample_B"]:  # sample 8 belongs to the third step of four
            batch["x_BCT"] = batch["x_BCT"] * float("inf")
        return batch

    monkeypatch.setattr(Preparation, "__call__", poisoned)
    with pytest.raises(NonFiniteLossError, match="step 3"):
        pretrain.main(options(toy_shards, tmp_path, "--objective.contrastive", "0", "--track.save-every", "1"))
    state = load_newest(tmp_path / "checkpoints")
    assert state is not None
    assert state["step"] == 2


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_recipe_trains_a_step(
    name: str, toy_shards: Path, toy_bank: Path, tmp_path: Path, metrics_of: Metrics
) -> None:
    bank = ["--bank", str(toy_bank)] if RECIPES[name](tiny=True).truth.weights else []
    pretrain.main(
        ["--recipe", name, "--tiny", "--shards", str(toy_shards), "--output", str(tmp_path), "--max-steps", "1", *bank]
    )
    assert len(metrics_of(tmp_path)) == 1


def test_training_beats_the_mean_and_never_sees_excluded_sites(toy_shards: Path, tmp_path: Path) -> None:
    more = ("--schedule.steps", "40", "--exclude-sites", "site0", "--objective.schedule-weights", "1", "0", "0")
    pretrain.main(options(toy_shards, tmp_path, *more))
    frame = read_reconstruction(tmp_path / "reconstruction.parquet")
    record = json.loads((tmp_path / "pretrain_subjects.json").read_text())
    assert not any(s.startswith("site0") for s in [*record["train"], *record["held_out"]])
    error = frame[frame["span_ms_low"] == 200].groupby("method")["sum_squared_error"].sum()
    assert error["model"] < error["linear"]
    assert error["model"] < error["mean"]


def test_what_an_earlier_run_was_trained_on_counts_too(toy_shards: Path, tmp_path: Path) -> None:
    corpus = Corpus.open(toy_shards, exclude_sites=["site1", "site2"])
    before = {"train": ["old"], "recordings": ["rec-old"], "sites": ["siteX"], "salt_id": ""}
    folder = tmp_path / "encoder"
    folder.mkdir()
    (folder / "pretrain_subjects.json").write_text(json.dumps(before))
    known = pretrain.trained_on([corpus], ["site0-s1"], former=folder)
    assert known == {
        "train": ["old", "site0-s1"], "recordings": ["rec-old", "rec-site0-s1"], "sites": ["site0", "siteX"],
        "salt_id": "",
    }  # fmt: skip
    (folder / "pretrain_subjects.json").write_text(json.dumps({"train": ["old"], "salt_id": "s"}))
    older = pretrain.trained_on([corpus], ["site0-s1"], former=folder)
    assert (older["train"], older["is_known"], older["salt_id"]) == (["old", "site0-s1"], False, "+s")
    assert not pretrain.trained_on([corpus], ["site0-s1"], former=tmp_path)["is_known"]
    assert "is_known" not in pretrain.trained_on([corpus], ["site0-s1"], former=None)


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        (["--bogus", "1"], "unknown option '--bogus'"),
        (["--recipe", "eeg_huge"], "unknown recipe 'eeg_huge'"),
        (["--optim.micro-batch", "0"], "micro_batch=0 must be positive"),
        (["--schedule.steps", "many"], "invalid literal"),
        (["--max-steps", "-5"], "--max-steps -5 must be at least 1"),
        (["--shards", "/nowhere"], "/nowhere is no shard set"),
        (["--exclude-sites", "site9"], "'site9'"),
        (["--data.good-only"], "good_only: the shards were written before decisions on quality were stored"),
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
    real = TASKS["sleep"].class_of
    monkeypatch.setattr(type(TASKS["sleep"]), "class_of", lambda _, label: real(labels.get(label, label)))
    windows, scale = tuple(range(6)), Normaliser(kind="window")
    source = Source(corpus=Corpus.open(shards), normaliser=scale, crop_times=1024, seed=(0, 1))
    batch = source.raw(MicroBatch(windows, windows, 1024))
    wanted = {"Seizure": 2, "LPD": 4}
    assert batch["sleep_target_B"].tolist() == [wanted.get(source.corpus.entry(i).label, -1) for i in windows]
    pretrain.main(options(shards, tmp_path / "run", "--objective.sleep", "0.1", "--max-steps", "2"))
    lines = metrics_of(tmp_path / "run")
    assert all(np.isfinite(line["sleep"]) for line in lines)
    assert any(line["sleep"] > 0 for line in lines)


def test_a_finished_run_is_prolonged_and_a_new_one_starts_from_its_weights(
    whole_run: Path, toy_shards: Path, tmp_path: Path, metrics_of: Metrics
) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole_run, run)
    pretrain.main(options(toy_shards, run, "--schedule.steps", "8", "--track.evaluate-windows", "1"))
    lines = metrics_of(run)
    assert [line["step"] for line in lines] == list(range(1, 9))
    assert lines[:6] == metrics_of(whole_run)
    # The rate follows the longer schedule: a cosine that ends at step 8, with 2 steps of warm-up.
    share = 0.05 + 0.95 * 0.5 * (1 + np.cos(np.pi * (7 - 2) / 6))
    assert lines[7]["learning_rate"] == pytest.approx(share * 3e-3, rel=1e-6)
    other = tmp_path / "other"
    more = (
        "--init-from",
        str(whole_run),
        "--max-steps",
        "1",
        "--optim.learning-rate",
        "1e-12",
        "--track.evaluate-windows",
        "1",
    )
    pretrain.main(options(toy_shards, other, *more))
    before, after = (load_newest(folder / "checkpoints") for folder in (whole_run, other))
    assert before is not None
    assert after is not None
    for name, value in before["model"].items():
        torch.testing.assert_close(after["model"][name], value, rtol=0, atol=1e-9)
    with pytest.raises(SystemExit):
        pretrain.main(options(toy_shards, tmp_path / "wrong", "--init-from", str(whole_run), "--model.dim", "64"))


@pytest.mark.parametrize("how", [("--data.loader-processes", "2"), ("--data.resident", "device")])
def test_how_windows_are_read_changes_no_step(
    whole_run: Path, toy_shards: Path, tmp_path: Path, metrics_of: Metrics, how: tuple[str, ...]
) -> None:
    pretrain.main(options(toy_shards, tmp_path, *how, "--max-steps", "3", "--track.evaluate-windows", "1"))
    read, whole = (metrics_of(run)[:3] for run in (tmp_path, whole_run))
    assert [(line["loss"], line["order_crc"]) for line in read] == [(line["loss"], line["order_crc"]) for line in whole]


def test_corpora_of_several_modalities_share_a_run_by_their_weights(
    toy_shards: Path, psg_shards: Path, tmp_path: Path, metrics_of: Metrics
) -> None:
    drawn: list[tuple[int, int]] = []
    real = Source.raw

    def watched(source: Source, micro: MicroBatch) -> dict[str, torch.Tensor]:
        raw = real(source, micro)
        drawn.append((raw["x_BCT"].shape[1], len(raw["x_BCT"])))
        return raw

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Source, "raw", watched)
        more = ("--sampling-weights", "3", "1", "--max-steps", "2", "--track.evaluate-windows", "1")
        pretrain.main(["--shards", str(toy_shards), str(psg_shards), "--output", str(tmp_path), *SHORT, *more])
    assert len(metrics_of(tmp_path)) == 2
    # Of a step's four windows three are of the toy's 19 channels, one has sensors besides.
    assert {n_chans for n_chans, _ in drawn} == {19, 23}
    record = json.loads((tmp_path / "pretrain_subjects.json").read_text())
    assert any(s.startswith("site0") for s in record["train"])
    assert any(s.startswith("sleeper") for s in [*record["train"], *record["held_out"]])
