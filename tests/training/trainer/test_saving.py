import errno
import threading
from pathlib import Path

import pytest
import torch

from training.trainer import saving
from training.trainer.checkpoints import best_checkpoint, checkpoints, load_newest
from training.trainer.distributed import Single
from training.trainer.saving import SaveError, Saver, copied

ALONE = Single(rank=0, world_size=1, device=torch.device("cpu"))


@pytest.mark.parametrize("in_background", [False, True])
def test_what_is_saved_is_what_was_there_when_it_was_asked_for(tmp_path: Path, in_background: bool) -> None:
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
    assert [path.name[:13] for path in checkpoints(tmp_path)] == ["step-00000002", "step-00000004"]
    best = best_checkpoint(tmp_path)
    assert best is not None
    assert (best[0].name[:13], best[1]) == ("step-00000002", 0.4)


@pytest.mark.parametrize("in_background", [False, True])
def test_a_full_disk_is_told_and_leaves_earlier_checkpoints(
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


def test_copies_reach_into_containers() -> None:
    tensor = torch.zeros(2)
    copy = copied({"a": [tensor, (tensor, 1)], "b": None})
    tensor += 1
    assert copy["a"][0].sum() == copy["a"][1][0].sum() == 0
    assert copy["a"][1][1] == 1
    assert copy["b"] is None
