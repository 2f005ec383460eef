"""What the pages on training state of a whole run: its options, checkpoint, log and the weights that it keeps."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from model.encoder import Encoder
from training import autoencoder, distil, finetune, pretrain, prune
from training.fitting.learning import EpochValidation
from training.trainer.checkpoints import load_newest
from training.trainer.precision import allow_tf32, resolve_precision
from training.trainer.train import Trainer

Metrics = Callable[[Path], list[dict[str, float]]]
SHORT = ["--tiny", "--model.dim", "32", "--model.depth", "1", "--model.stem-dim", "32", "--track.evaluate-windows", "1"]
PARTS = ("load_s", "prepare_s", "forward_s", "backward_s", "communicate_s", "update_s")
MACHINE = {"tflops", "cpu_cores", "peak_rss_mb", "load_average"}
ALWAYS = {"loss", "grad_norm", "learning_rate", "eeg_hours_per_s", "order_crc", "step_s", *PARTS, *MACHINE}


@pytest.mark.parametrize("command", [pretrain, finetune, distil, prune, autoencoder])
def test_every_command_takes_the_sections_as_options_and_states_what_they_mean(
    command: object, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(["--help"])
    assert ended.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "--optim.learning-rate" in text
    assert "Steps of linear warm-up" in text


@pytest.fixture(scope="module")
def averaged(toy_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("claims") / "run"
    more = ["--schedule.steps", "4", "--track.validate-every", "2", "--regularise.ema-decay", "0.9"]
    pretrain.main(["--shards", str(toy_shards), "--output", str(folder), *SHORT, *more])
    return folder


def test_what_a_run_saves_logs_and_keeps(averaged: Path, metrics_of: Metrics) -> None:
    state = load_newest(averaged / "checkpoints")
    assert state is not None
    assert {"model", "optimizer", "scheduler", "scaler", "average", "halvings", "rng", "loader", "config",
            "manifest_digest"} <= set(state)  # fmt: skip
    assert {"torch", "cuda", "numpy", "python"} == set(state["rng"])
    kept = Encoder.from_pretrained(averaged / "encoder", local_files_only=True).state_dict()
    averages = {name.removeprefix("encoder."): value for name, value in state["average"].items() if "encoder." in name}
    assert averages
    assert all(torch.equal(kept[name], value) for name, value in averages.items())
    assert any(not torch.equal(state["model"][f"encoder.{name}"], value) for name, value in averages.items())
    lines = metrics_of(averaged)
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert "<svg" in (averaged / "curves.html").read_text()
    for line in lines:
        assert {*ALWAYS, "reconstruction", "contrastive"} <= set(line)
        assert sum(line[part] for part in PARTS) <= line["step_s"]
    bands = {f"valid_error_{band}" for band in ("delta", "theta", "alpha", "beta", "gamma")}
    assert [{"valid_error", *bands} <= set(line) for line in lines] == [False, True, False, True]


def test_a_new_run_starts_from_an_encoder(averaged: Path, toy_shards: Path, tmp_path: Path) -> None:
    pretrain.main(["--shards", str(toy_shards), "--output", str(tmp_path), *SHORT, "--max-steps", "1",
                   "--optim.learning-rate", "1e-12", "--init-from", str(averaged / "encoder")])  # fmt: skip
    before, after = (load_file(run / "encoder" / "model.safetensors") for run in (averaged, tmp_path))
    for name, value in before.items():
        torch.testing.assert_close(after[name], value, rtol=0, atol=1e-9)
    subjects = json.loads((tmp_path / "pretrain_subjects.json").read_text())
    assert subjects.get("is_known", True)


def test_a_fit_keeps_the_averages_and_logs_as_pretraining_does(
    write_shards: Callable[..., Path], tmp_path: Path, metrics_of: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = write_shards(tmp_path / "shards", n_sites=1, n_subjects=4, n_windows=2, window_s=50.0)
    averages: list[dict[str, torch.Tensor]] = []
    look = EpochValidation.__call__

    def kept(self: EpochValidation, trainer: Trainer) -> dict[str, float]:
        values = look(self, trainer)
        averages.append({name: value.clone() for name, value in trainer.average.averages.items()})
        return values

    monkeypatch.setattr(EpochValidation, "__call__", kept)
    finetune.main(["--recipe", "eegnet", "--tiny", "--shards", str(shards), "--task", "six-class", "--no-encoder",
                   "--output", str(tmp_path / "model"), "--regularise.ema-decay", "0.9"])  # fmt: skip
    weights = load_file(tmp_path / "model" / "model.safetensors")
    assert len(averages) == 1
    assert all(torch.equal(weights[name.removeprefix("model.")], value) for name, value in averages[0].items())
    for line in metrics_of(tmp_path / "model"):
        assert {*ALWAYS, "labels"} <= set(line)
        assert np.isfinite(line["loss"])
    assert {"valid_loss", "valid_balanced_accuracy"} <= set(metrics_of(tmp_path / "model")[-1])


def test_precision_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.device("cuda")
    for has_bf16, precision in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda has_bf16=has_bf16: has_bf16)
        assert resolve_precision("auto", gpu) == precision
    before = torch.get_float32_matmul_precision()
    try:
        for precision, expected in (("fp32", "highest"), ("tf32", "high"), ("bf16", "high"), ("fp16", "high")):
            torch.set_float32_matmul_precision("highest")
            allow_tf32(precision, gpu)
            assert torch.get_float32_matmul_precision() == expected
            torch.set_float32_matmul_precision("highest")
            allow_tf32(precision, torch.device("cpu"))
            assert torch.get_float32_matmul_precision() == "highest"
    finally:
        torch.set_float32_matmul_precision(before)
