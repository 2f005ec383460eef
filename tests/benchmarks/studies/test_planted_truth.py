"""The bench of planted truth trains both trunks alike and compares them segment by segment."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.studies import planted_truth
from signals.patterns.bank import SEGMENTS_FILE, HeldOut, read_arrays
from training.objectives.planting.evaluation import TRUTH_FILE, write_answers
from training.objectives.planting.measures import Answers


def predictions(held_out: HeldOut, seed: int, *, rate_error: float) -> Answers:
    rng, n = np.random.default_rng(seed), len(held_out)
    is_discharge = np.tile([0.0, 1.0], (n, 10))
    return Answers(
        discharge_SN=rng.normal(size=(n, 20)) + is_discharge, is_discharge_SN=is_discharge,
        line_length_SN=rng.random((n, 20)), peak_SN=rng.random((n, 20)),
        rate_S=np.log2(held_out.rate_S2).mean(1) + rate_error, share_SK=rng.dirichlet(np.ones(6), n),
    )  # fmt: skip


def test_both_models_stand_beside_what_knows_nothing(
    toy_bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    held_out, _ = read_arrays(toy_bank / SEGMENTS_FILE, HeldOut)
    for seed in range(2):
        for trunk, rate_error in (("encoder", 0.25), ("resnet-gru", 0.5)):
            folder = planted_truth.run_folder(tmp_path, trunk, seed)  # type: ignore[arg-type]
            write_answers(folder, predictions(held_out, seed, rate_error=rate_error))
    planted_truth.report(tmp_path, toy_bank, seeds=2, n_boot=50)
    printed = capsys.readouterr().out
    figures = {name: (value, unit) for name, value, unit in re.findall(r"^figure (\S+) (\S+) (\S+)$", printed, re.M)}
    assert figures["planted_truth_encoder_rate_error_octaves"] == ("0.25", "octaves")
    assert figures["planted_truth_control_resnet_gru_rate_error_octaves"] == ("0.5", "octaves")
    assert [figures[f"planted_truth_difference_rate_error_octaves{end}"][0] for end in ("", "_low", "_high")] == [
        "-0.25", "-0.25", "-0.25",
    ]  # fmt: skip
    measures = ("discharge_auroc", "rate_error_octaves", "votes_kl", "balanced_accuracy")
    models = ("encoder", "control_resnet_gru", "difference", "trivial")
    assert all(f"planted_truth_{model}_{measure}" in figures for model in models for measure in measures)
    # Predictions of a seed are the same but for the rates: no difference in what else is measured.
    assert figures["planted_truth_difference_votes_kl"][0] == "0"
    assert "over 8 segments and 2 seeds" in printed


def test_runs_differ_in_trunk_and_rate_alone_and_are_not_done_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[dict[str, str]] = []

    def begin(shards: list[Path], output: Path, *, recipe: str, processes: int, more: list[str]) -> float:
        given: dict[str, Any] = dict(zip(more[::2], more[1::2], strict=True))
        begun.append({**given, "shards": str(shards), "recipe": recipe, "output": output.name})
        (output).mkdir()
        (output / TRUTH_FILE).write_text("{}")
        return 0.0

    monkeypatch.setattr(planted_truth, "pretrain", begin)
    for _ in range(2):
        for trunk in planted_truth.NAMES:
            planted_truth.learn(tmp_path, Path("shards"), Path("bank"), trunk, 1, ["--schedule.steps", "5"])
    encoder, control = begun
    assert {name for name in encoder if encoder[name] != control[name]} == {
        "--model.trunk", "--optim.learning-rate", "output",
    }  # fmt: skip
    assert (encoder["--seed"], encoder["--schedule.steps"]) == ("1", "5")
    assert float(encoder["--optim.learning-rate"]) == 1e-3
    assert float(control["--optim.learning-rate"]) == 2e-3
