"""A fit that is interrupted anywhere ends with the weights of one that is not, bit for bit."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from evaluation.schemas.predictions import read_predictions
from signals.tasks import SIX_CLASS
from studies import loso
from training import finetune
from training.fitting.learning import EpochValidation
from training.trainer.stopping import RESUME_EXIT
from training.trainer.train import Trainer

PROBE = ("--recipe", "probe", "--schedule.epochs", "3", "--schedule.patience", "1")
TWO_STAGES = (
    "--recipe", "efficientnet_small", "--schedule.epochs", "2", "--schedule.unfreeze-every", "1",
    "--schedule.second-stage-votes", "10", "--augment.mixup", "0.4",
)  # fmt: skip


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    write = request.getfixturevalue("write_shards")
    return write(tmp_path_factory.mktemp("resuming"), n_sites=2, n_subjects=4, n_windows=2, window_s=50.0)


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Call `then` before the n-th step that is taken from now on, counted over all fits."""
    real = Trainer.take_step

    def at(number: int, then: Callable[[], None]) -> None:
        calls = iter(range(1, 10_000))

        def take_step(self: Trainer, *args: Any) -> dict[str, float] | None:
            if next(calls) == number:
                then()
            return real(self, *args)

        monkeypatch.setattr(Trainer, "take_step", take_step)

    return at


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def run(shards: Path, output: Path, *more: str) -> int | None:
    """Return the exit code of a fine-tuning, None for one that ended well."""
    try:
        finetune.main(
            ["--tiny", "--shards", str(shards), "--task", "six-class", "--no-encoder", "--output", str(output), *more]
        )
    except SystemExit as end:
        return int(end.code or 0)
    return None


# 13 or so windows to train on make 3 steps an epoch: 2 is in the middle of one, 4 the first after a look.
@pytest.mark.parametrize(
    ("recipe", "moments"), [(PROBE, (2,)), (PROBE, (4, 1, 2)), (TWO_STAGES, (5, 3)), (TWO_STAGES, (8,))]
)
def test_a_fit_goes_on_where_a_signal_stopped_it(
    shards: Path, tmp_path: Path, interrupt: Callable[..., None], recipe: tuple[str, ...], moments: tuple[int, ...],
) -> None:  # fmt: skip
    assert run(shards, tmp_path / "whole", *recipe) is None
    for moment in moments:
        interrupt(moment, terminate)
        assert run(shards, tmp_path / "cut", *recipe) == RESUME_EXIT
        assert not (tmp_path / "cut" / "model.safetensors").exists()
    interrupt(0, terminate)
    assert run(shards, tmp_path / "cut", *recipe) is None
    whole, cut = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "cut"))
    assert whole.keys() == cut.keys()
    assert [name for name in whole if not torch.equal(whole[name], cut[name])] == []
    for log in sorted(path.name for path in (tmp_path / "whole").glob("*.jsonl")):
        whole_log, cut_log = (map(json.loads, (tmp_path / name / log).open()) for name in ("whole", "cut"))
        assert [(one["step"], one["loss"]) for one in whole_log] == [(one["step"], one["loss"]) for one in cut_log]
    assert not (tmp_path / "cut" / "metrics.checkpoints").exists()


def test_a_killed_fit_goes_on_from_its_last_checkpoint(
    shards: Path, tmp_path: Path, interrupt: Callable[..., None]
) -> None:
    class Killed(BaseException):
        pass

    def kill() -> None:
        raise Killed

    more = (*PROBE, "--track.save-every", "2")
    assert run(shards, tmp_path / "whole", *more) is None
    interrupt(6, kill)  # five steps are taken, the fourth is on disk
    with pytest.raises(Killed):
        run(shards, tmp_path / "cut", *more)
    interrupt(0, kill)
    assert run(shards, tmp_path / "cut", *more) is None
    whole, cut = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


def test_the_state_of_another_fit_is_refused(
    shards: Path, tmp_path: Path, interrupt: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    interrupt(2, terminate)
    assert run(shards, tmp_path / "run", *PROBE) == RESUME_EXIT
    assert run(shards, tmp_path / "run", *PROBE, "--optim.learning-rate", "0.5") == 2
    assert "belongs to another run (config: optim.learning_rate differ)" in capsys.readouterr().err
    assert run(shards, tmp_path / "run", *PROBE, "--seed", "1") == 2
    assert "config: seed; windows; first_weights differ" in capsys.readouterr().err
    assert run(shards, tmp_path / "run", *PROBE, "--track.save-every", "3") is None  # changes nothing of the end


def test_a_look_is_not_taken_twice(
    shards: Path, tmp_path: Path, interrupt: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []
    real = EpochValidation._measure

    def look(self: EpochValidation) -> tuple[float, float]:
        looked.append(1)
        return real(self)

    monkeypatch.setattr(EpochValidation, "_measure", look)
    more = (*PROBE, "--schedule.patience", "9")
    assert run(shards, tmp_path / "whole", *more) is None
    n_whole = len(looked)
    interrupt(4, terminate)  # the look after the first epoch is behind it
    assert run(shards, tmp_path / "cut", *more) == RESUME_EXIT
    assert run(shards, tmp_path / "cut", *more) is None
    assert len(looked) == 2 * n_whole == 6


def test_leaving_out_goes_on_within_a_fold(shards: Path, tmp_path: Path, interrupt: Callable[..., None]) -> None:
    base = ["--tiny", "--shards", str(shards), "--task", "six-class", "--no-encoder", "--recipe", "eegnet",
            "--schedule.epochs", "3"]  # fmt: skip
    loso.main([*base, "--output", str(tmp_path / "whole" / "p.parquet")])
    interrupt(2, terminate)
    with pytest.raises(SystemExit) as raised:
        loso.main([*base, "--output", str(tmp_path / "cut" / "p.parquet")])
    assert raised.value.code == RESUME_EXIT
    assert list((tmp_path / "cut" / "folds" / "site0.checkpoints").rglob("*.pt"))
    loso.main([*base, "--output", str(tmp_path / "cut" / "p.parquet")])
    columns = [f"prob_{c}" for c in SIX_CLASS.classes]
    whole, cut = (read_predictions(tmp_path / name / "p.parquet").of("eegnet")[columns] for name in ("whole", "cut"))
    assert (whole.to_numpy() == cut.to_numpy()).all()
