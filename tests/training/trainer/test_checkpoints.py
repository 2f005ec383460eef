import logging
from pathlib import Path

import pytest
import torch

from training.trainer import checkpoints as checkpoint
from training.trainer.checkpoints import (
    CheckpointError,
    VersionError,
    checkpoints,
    load_checkpoint,
    load_newest,
    save_checkpoint,
)

STATE = {"model": {"weight": torch.arange(3.0)}, "config": {"seed": 0, "name": "x", "share": (0.5, 1.0)}}


def test_state_comes_back(tmp_path: Path) -> None:
    state = load_checkpoint(save_checkpoint(tmp_path, STATE, step=7, keep=1))
    assert state["step"] == 7
    assert state["config"] == STATE["config"]
    assert torch.equal(state["model"]["weight"], torch.arange(3.0))


def test_last_n_are_kept(tmp_path: Path) -> None:
    for step in (1, 5, 10, 200):
        save_checkpoint(tmp_path, STATE, step=step, keep=2)
    assert [Path(uri).name.split(".")[0] for uri in checkpoints(tmp_path)] == ["step-00000010", "step-00000200"]
    with pytest.raises(ValueError, match="keep=0"):
        save_checkpoint(tmp_path, STATE, step=1, keep=0)


@pytest.mark.parametrize("damage", ["truncated", "flipped"])
def test_damaged_newest_falls_back_and_logs_it(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    save_checkpoint(tmp_path, STATE, step=1, keep=2)
    newest = Path(save_checkpoint(tmp_path, STATE, step=2, keep=2))
    raw = bytearray(newest.read_bytes())
    raw[len(raw) // 2] ^= 1
    newest.write_bytes(raw[:-10] if damage == "truncated" else raw)
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(newest)
    with caplog.at_level(logging.WARNING):
        state = load_newest(tmp_path)
    assert state is not None
    assert state["step"] == 1
    assert "damaged" in caplog.text


def test_failed_write_leaves_nothing_but_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = save_checkpoint(tmp_path, STATE, step=1, keep=2)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        save_checkpoint(tmp_path, STATE, step=2, keep=2)
    assert list(map(str, tmp_path.iterdir())) == [first]


def test_other_schema_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "SCHEMA_VERSION", 99)
    path = save_checkpoint(tmp_path, STATE, step=1, keep=1)
    monkeypatch.undo()
    for read in (lambda: load_checkpoint(path), lambda: load_newest(tmp_path)):  # not passed over: it is whole
        with pytest.raises(VersionError, match="schema version 99, this code reads 2: go on with the code that wrote"):
            read()


def test_empty_folder_has_no_checkpoint(tmp_path: Path) -> None:
    assert load_newest(tmp_path / "nothing") is None
