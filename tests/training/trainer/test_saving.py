import errno
import threading
from pathlib import Path

import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem

from tests.training.ranks import in_ranks
from training.corpus import storage
from training.parallel.distributed import Single, TorchGroup
from training.trainer import saving
from training.trainer.checkpoints import best_checkpoint, checkpoints, load_newest
from training.trainer.saving import SaveError, Saver, copied, wait_for

ALONE = Single(rank=0, world_size=1, device=torch.device("cpu"))


@pytest.mark.parametrize("in_background", [False, True])
def test_what_is_saved_is_what_was_there_when_it_was_requested(tmp_path: Path, in_background: bool) -> None:
    weight = torch.zeros(3)
    saver = Saver(tmp_path, ALONE, keep=2, in_background=in_background)
    saver.save(lambda: {"model": {"weight": weight}}, step=1)
    weight += 1
    saver.close()
    state = load_newest(tmp_path)
    assert state is not None
    assert torch.equal(state["model"]["weight"], torch.zeros(3))


def test_the_best_stays_beside_the_newest(tmp_path: Path) -> None:
    saver = Saver(tmp_path, ALONE, keep=1)
    for step, score in ((1, 0.9), (2, 0.4), (3, None), (4, 0.7)):
        saver.save(dict, step=step, score=score)
    assert [Path(uri).name[:13] for uri in checkpoints(tmp_path)] == ["step-00000002", "step-00000004"]
    best = best_checkpoint(tmp_path)
    assert best is not None
    assert (Path(best[0]).name[:13], best[1]) == ("step-00000002", 0.4)


@pytest.mark.parametrize("in_background", [False, True])
def test_a_full_disk_is_reported_and_leaves_earlier_checkpoints(
    tmp_path: Path, in_background: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    saver = Saver(tmp_path, ALONE, keep=2, in_background=in_background)
    saver.save(dict, step=1, wait=True)

    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(saving, "save_checkpoint", full)
    with pytest.raises(SaveError, match=r"cannot save the checkpoint of step 2 in .*: .*No space left"):
        saver.save(dict, step=2, wait=True)
    state = load_newest(tmp_path)
    assert state is not None
    assert state["step"] == 1


def test_training_goes_on_while_a_checkpoint_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written, going_on = [], threading.Event()

    def slow(folder: Path, state: object, *, step: int, **options: object) -> None:
        assert going_on.wait(10)  # fails if save() had waited for it
        written.append(step)

    monkeypatch.setattr(saving, "save_checkpoint", slow)
    saver = Saver(tmp_path, ALONE, keep=1, in_background=True)
    saver.save(dict, step=1)
    going_on.set()
    saver.save(dict, step=2, wait=True)
    assert written == [1, 2]


@pytest.mark.parametrize("in_background", [False, True])
def test_an_object_store_keeps_the_newest_and_the_best(in_background: bool) -> None:
    folder = f"memory://runs/{in_background}/checkpoints"
    saver = Saver(folder, ALONE, keep=1, in_background=in_background)
    for step, score in ((1, 0.9), (2, 0.4), (3, None), (4, 0.7)):
        saver.save(lambda step=step: {"model": {"weight": torch.full((2,), float(step))}}, step=step, score=score)
    saver.close()
    names = [uri.rpartition("/")[2][:13] for uri in checkpoints(folder)]
    assert names == ["step-00000002", "step-00000004"]
    state = load_newest(folder)
    assert state is not None
    assert state["model"]["weight"].tolist() == [4.0, 4.0]
    best = best_checkpoint(folder)
    assert best is not None
    assert best[0].startswith(f"{folder}/step-00000002.")
    raw = storage.read_bytes(checkpoints(folder)[-1])
    storage.write_bytes(checkpoints(folder)[-1], raw[:-7])
    fallen_back = load_newest(folder)
    assert fallen_back is not None
    assert fallen_back["step"] == 2


def test_whatever_a_store_raises_is_reported_and_not_lost_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    class NoAnswerError(Exception):
        pass

    def fails(self: object, path: str, value: bytes, **options: object) -> None:
        raise NoAnswerError("503")

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", fails)
    saver = Saver("memory://nowhere", ALONE, keep=1, in_background=True)
    with pytest.raises(SaveError, match=r"cannot save the checkpoint of step 1 in memory://nowhere: .*503"):
        saver.save(dict, step=1, wait=True)


def shared_state(rank: int, step: int) -> dict[str, object]:
    """Return a state of which this process holds two rows of five, or the other three."""
    rows = torch.arange(10.0).reshape(5, 2) + step
    part = {"shard": rows[:2] if rank == 0 else rows[2:], "shape": [5, 2]}
    return {"model": {"weight": part}, "optimizer": {"state": {0: {"exp_avg": part, "step": 3}}}, "average": None,
            "rng": f"of {rank}"}  # fmt: skip


@pytest.mark.parametrize("in_background", [False, True])
def test_processes_that_share_a_model_write_their_slices(tmp_path: Path, in_background: bool) -> None:
    def work(processes: TorchGroup) -> None:
        saver = Saver(tmp_path, processes, keep=1, in_background=in_background, shared=True)
        for step in (1, 2, 3):
            saver.save(lambda step=step: shared_state(processes.rank, step), step=step)
        saver.close()

    in_ranks(2, work)
    state = load_newest(tmp_path)
    assert state is not None
    assert (state["step"], state["rng"], state["average"]) == (3, "of 0", None)
    assert torch.equal(state["model"]["weight"], torch.arange(10.0).reshape(5, 2) + 3)
    assert torch.equal(state["optimizer"]["state"][0]["exp_avg"], state["model"]["weight"])
    assert state["optimizer"]["state"][0]["step"] == 3
    kept = {path.name[:13] for path in tmp_path.iterdir()}
    assert kept == {"step-00000003"}
    assert len(list(tmp_path.glob("*.slices"))) == 2


@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_a_checkpoint_without_all_its_slices_is_none(tmp_path: Path, damage: str) -> None:
    def work(processes: TorchGroup) -> None:
        saver = Saver(tmp_path, processes, keep=2, shared=True)
        for step in (1, 2):
            saver.save(lambda step=step: shared_state(processes.rank, step), step=step)

    in_ranks(2, work)
    victim = next(tmp_path.glob("step-00000002.00001.*"))
    if damage == "missing":
        victim.unlink()
    else:
        victim.write_bytes(victim.read_bytes()[:-9])
    state = load_newest(tmp_path)
    assert state is not None
    assert state["step"] == 1


def test_the_main_file_is_not_written_before_all_slices_are(tmp_path: Path) -> None:
    with pytest.raises(TimeoutError, match="was not written"):
        wait_for([str(tmp_path / "nothing")], most_s=0.1)
    threading.Timer(0.2, (tmp_path / "late").touch).start()
    wait_for([str(tmp_path / "late")], most_s=10)


def test_copies_reach_into_containers() -> None:
    tensor = torch.zeros(2)
    copy = copied({"a": [tensor, (tensor, 1)], "b": None})
    tensor += 1
    assert copy["a"][0].sum() == copy["a"][1][0].sum() == 0
    assert copy["a"][1][1] == 1
    assert copy["b"] is None
