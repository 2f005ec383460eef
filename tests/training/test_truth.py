"""Pretraining on planted truth: whole runs of `training.pretrain`."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model.pretraining.truth_heads import TRUTH_HEADS
from signals.patterns.bank import PATTERNS_FILE, SEGMENTS_FILE, Bank, read_arrays, write_arrays
from tests.training.ranks import in_ranks
from training import pretrain, publish
from training.command import parse_command
from training.objectives.planting.evaluation import ALL, TRUTH_FILE, read_answers, read_scores, write_scores
from training.objectives.planting.measures import ERRORS
from training.objectives.skill import SKILL_FILE
from training.parallel.distributed import TorchGroup
from training.recipes.pretraining import RECIPES
from training.trainer.checkpoints import checkpoints, load_checkpoint
from training.trainer.stopping import StopRequest

MEASURES = ["discharge_auroc", "rate_error_octaves", "votes_kl", "balanced_accuracy"]
Metrics = Callable[[Path], list[dict[str, float]]]
SHORT = ["--recipe", "eeg_truth_cpu", "--tiny", "--schedule.steps", "4", "--track.save-every", "2",
         "--model.dim", "16", "--truth.background", "0.2"]  # fmt: skip


def options(shards: Path, bank: Path, output: Path, *more: str) -> list[str]:
    return ["--shards", str(shards), "--bank", str(bank), "--output", str(output), *SHORT, *more]


@pytest.fixture(scope="module")
def whole_run(toy_shards: Path, toy_bank: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("truth") / "whole"
    pretrain.main(options(toy_shards, toy_bank, output))
    return output


@pytest.fixture(scope="module")
def control_run(toy_shards: Path, toy_bank: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("truth") / "control"
    pretrain.main(options(toy_shards, toy_bank, output, "--model.trunk", "resnet-gru"))
    return output


def test_a_run_writes_what_it_learnt_beside_what_knows_nothing(whole_run: Path, metrics_of: Metrics) -> None:
    lines = metrics_of(whole_run)
    assert len(lines) == 4
    assert all(np.isfinite([line[name] for name in TRUTH_HEADS]).all() for line in lines)
    written = json.loads((whole_run / "truth.json").read_text())
    rows = {(row["measure"], row["family"]): row for row in written["scores"]}
    families = {"all families", "original", "faint-and-uneven"}
    assert set(rows) == {(m, f) for m in MEASURES for f in families}
    best = rows["votes_kl", "all families"]
    assert best["n_segments"] == 12
    assert 0 < best["trivial"] < 3
    assert rows["balanced_accuracy", "all families"]["trivial"] == pytest.approx(1 / 6)
    assert not (whole_run / "reconstruction.parquet").exists()  # nothing was hidden
    assert (whole_run / "encoder" / "model.safetensors").is_file()


def test_a_control_learns_the_same_windows_and_is_scored_on_the_same_segments(
    whole_run: Path, control_run: Path, metrics_of: Metrics
) -> None:
    ours, theirs = metrics_of(whole_run), metrics_of(control_run)
    assert [line["order_crc"] for line in theirs] == [line["order_crc"] for line in ours]
    assert all(np.isfinite([line[name] for name in TRUTH_HEADS]).all() for line in theirs)
    both = [read_scores(run) for run in (whole_run, control_run)]
    np.testing.assert_equal(*([(s.measure, s.family, s.trivial, s.n_segments) for s in scores] for scores in both))
    assert all(np.isfinite(s.value) for s in read_scores(control_run) if s.family == ALL)
    first, second = read_answers(whole_run), read_answers(control_run)
    np.testing.assert_array_equal(first.is_discharge_SN, second.is_discharge_SN)
    assert not np.array_equal(first.share_SK, second.share_SK)
    assert not (control_run / "encoder").exists()


def test_a_control_is_not_published_whatever_it_learnt(
    control_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(control_run, tmp_path / "run")
    scores = [score for score in read_scores(run) if score.family == ALL]
    write_scores(run, [replace(s, value=0.1 if s.measure in ERRORS else 0.9, low=0.1, high=0.9) for s in scores])
    with pytest.raises(SystemExit) as refused:
        publish.main(["--run", str(run), "--output", str(tmp_path / "out")])
    assert refused.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert "it trained the control resnet-gru, and holds no encoder" in lines[0]
    assert not (tmp_path / "out").exists()


@pytest.fixture
def run_with(whole_run: Path, tmp_path: Path) -> Callable[..., Path]:
    """How to make a copy of a run whose scores over all families lie `better` than what knows nothing."""

    def make(*better: float) -> Path:
        run = shutil.copytree(whole_run, tmp_path / "run")
        scores = [score for score in read_scores(run) if score.family == ALL]
        for number, (score, by) in enumerate(zip(scores, better, strict=True)):
            by = -by if score.measure in ERRORS else by
            scores[number] = replace(score, trivial=0.5, value=0.5 + by, low=0.45 + by, high=0.55 + by)
        write_scores(run, scores)
        return run

    return make


def test_what_knows_more_than_nothing_is_published_with_its_scores(
    run_with: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish.main(["--run", str(run_with(0.1, 0.1, 0.1, 0.1)), "--output", str(tmp_path / "out"), "--json"])
    printed = json.loads(capsys.readouterr().out)
    assert [row["measure"] for row in printed["truth"]] == MEASURES
    assert "gaps" not in printed  # nothing was hidden, so there is no skill
    assert (tmp_path / "out" / TRUTH_FILE).is_file()
    assert (tmp_path / "out" / "model.safetensors").is_file()


@pytest.mark.parametrize("number", range(4))
def test_what_knows_no_more_than_nothing_is_not_published(
    number: int, run_with: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    better = [0.1] * 4
    better[number] = 0.04  # better, and its interval of 0.05 to either side holds what knows nothing
    with pytest.raises(SystemExit) as refused:
        publish.main(["--run", str(run_with(*better)), "--output", str(tmp_path / "out")])
    assert refused.value.code == 2
    err = capsys.readouterr().err
    assert f"no more than what knows nothing ({MEASURES[number]} " in err
    assert not any(name in err for name in MEASURES if name != MEASURES[number])
    assert not (tmp_path / "out").exists()


def test_a_run_that_hid_nothing_is_judged_by_planted_truth_alone(
    run_with: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_with(0.1, 0.1, 0.1, 0.1)
    assert not (run / SKILL_FILE).exists()
    worth = publish.publish(run, tmp_path / "first")
    assert worth.skill is None
    scores = read_scores(run)
    # A measure that is not defined, as of a head that was left out, decides nothing; one must be.
    write_scores(run, [replace(scores[0], value=np.nan), *scores[1:]])
    publish.publish(run, tmp_path / "second")
    write_scores(run, [replace(score, value=np.nan) for score in scores])
    with pytest.raises(ValueError, match="no measure of planted truth is defined for what it predicts"):
        publish.publish(run, tmp_path / "third")
    (run / TRUTH_FILE).unlink()
    with pytest.raises(FileNotFoundError, match="pretrain again"):
        publish.publish(run, tmp_path / "third")
    assert not (tmp_path / "third").exists()


def test_a_broken_file_of_scores_is_one_line(whole_run: Path, tmp_path: Path) -> None:
    assert read_scores(tmp_path) == []
    for text in ("", "[]", '{"scores": [{"measure": "x"}]}'):
        (tmp_path / TRUTH_FILE).write_text(text)
        with pytest.raises(ValueError, match=f"{TRUTH_FILE} is no file of planted truth"):
            read_scores(tmp_path)


def test_truth_is_learnt_beside_what_is_hidden(
    toy_shards: Path, toy_bank: Path, tmp_path: Path, metrics_of: Metrics
) -> None:
    both = ("--objective.reconstruction", "1", "--objective.spectral", "0.5", "--max-steps", "1")
    pretrain.main(options(toy_shards, toy_bank, tmp_path / "run", *both))
    (line,) = metrics_of(tmp_path / "run")
    assert all(line[name] > 0 for name in (*TRUTH_HEADS, "reconstruction", "spectral"))


@pytest.mark.parametrize(("run", "trunk"), [("whole_run", "encoder"), ("control_run", "resnet-gru")])
def test_a_resumed_run_equals_the_whole_one_bit_for_bit(
    run: str, trunk: str, request: pytest.FixtureRequest, toy_shards: Path, toy_bank: Path, tmp_path: Path,
    metrics_of: Metrics,
) -> None:  # fmt: skip
    whole: Path = request.getfixturevalue(run)
    more = options(toy_shards, toy_bank, tmp_path / "run", "--model.trunk", trunk)
    pretrain.main([*more, "--max-steps", "2"])
    pretrain.main(more)
    assert [line["loss"] for line in metrics_of(tmp_path / "run")] == [line["loss"] for line in metrics_of(whole)]
    a, b = (load_checkpoint(checkpoints(each / "checkpoints")[-1]) for each in (whole, tmp_path / "run"))
    assert all(torch.equal(a["model"][name], b["model"][name]) for name in a["model"])


def test_two_processes_take_the_same_steps_as_one(
    whole_run: Path, toy_shards: Path, toy_bank: Path, tmp_path: Path, metrics_of: Metrics
) -> None:
    arguments = options(toy_shards, toy_bank, tmp_path / "run")

    def work(processes: TorchGroup) -> bool:
        command = parse_command(
            pretrain.PretrainCommand, RECIPES, arguments, default_recipe="eeg_truth_cpu", prog="test"
        )
        return pretrain.pretrain(command, processes, StopRequest())

    assert in_ranks(2, work) == [True, True]
    one, both = metrics_of(whole_run), metrics_of(tmp_path / "run")
    for name in ("loss", *TRUTH_HEADS):
        np.testing.assert_allclose([line[name] for line in both], [line[name] for line in one], rtol=1e-4)


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        (["--recipe", "eeg_tiny"], "this recipe lays no patterns: drop --bank"),
        (["--data.crop-s", "60"], "crop_s=60 is longer than the bank's patterns of 50 s"),
        (["--truth.background", "1.5"], "background=1.5 must lie between 0 and 1"),
        (["--objective.reconstruction", "0", "--track.validate-every", "2"], "validate_every=2 needs"),
        (
            ["--model.trunk", "resnet-gru", "--objective.reconstruction", "1"],
            "trunk=resnet-gru learns from planted truth alone: leave out reconstruction",
        ),
        (["--bank", "/nowhere"], "/nowhere/patterns.npz does not exist: make a bank with cerebeam bank"),
    ],
)
def test_mistakes_end_in_one_line_and_code_2(
    wrong: list[str], match: str, toy_shards: Path, toy_bank: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    given = ["--shards", str(toy_shards), "--bank", str(toy_bank), "--output", str(tmp_path / "run")]
    recipe = [] if "--recipe" in wrong else ["--recipe", "eeg_truth_cpu"]
    with pytest.raises(SystemExit) as raised:
        pretrain.main([*given, *recipe, *wrong])
    assert raised.value.code == 2
    lines = capfd.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert match in lines[0]
    assert not (tmp_path / "run").exists()


def test_a_recipe_of_truth_needs_a_bank_and_goes_on_with_the_same_one_alone(
    whole_run: Path, toy_shards: Path, toy_bank: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        pretrain.main(["--recipe", "eeg_truth_cpu", "--shards", str(toy_shards), "--output", str(tmp_path / "run")])
    assert "learns from planted truth: give --bank, as cerebeam bank makes it" in capfd.readouterr().err
    bank, _ = read_arrays(toy_bank / PATTERNS_FILE, Bank)
    write_arrays(tmp_path / "bank" / PATTERNS_FILE, replace(bank, lag_E=bank.lag_E + 1))
    (tmp_path / "bank" / SEGMENTS_FILE).write_bytes((toy_bank / SEGMENTS_FILE).read_bytes())
    with pytest.raises(SystemExit):
        pretrain.main(options(toy_shards, tmp_path / "bank", whole_run))
    assert "belongs to another run (bank_digest differ)" in capfd.readouterr().err
