"""When and how a run's state reaches the disk: at once, or from a copy, in a thread, while training goes on."""

import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from training.trainer.checkpoints import load_newest, save_checkpoint
from training.trainer.distributed import Processes
from training.trainer.train import Trainer

logger = logging.getLogger(__name__)

SAVE_FAILED_EXIT = 74
"""Exit code of a run that could not write its state (EX_IOERR of sysexits.h); earlier checkpoints are whole."""


class SaveError(OSError):
    """A checkpoint that could not be written, on any rank's account; raised on every rank."""


class Saver:
    """Writes checkpoints from the main process; all ranks learn whether it worked."""

    def __init__(self, folder: Path, processes: Processes, *, keep: int, in_background: bool = False) -> None:
        self.folder, self.processes, self.keep, self.in_background = folder, processes, keep, in_background
        self._thread: threading.Thread | None = None
        self._error: OSError | None = None

    def save(
        self, state: Callable[[], Mapping[str, Any]], *, step: int, score: float | None = None, wait: bool = False
    ) -> None:
        """Save what `state` returns (called on the main process only); in the background, return once it is copied.

        Raises SaveError on every rank where this save failed or, in the background, an earlier one; `wait` waits for
        this one too.
        """
        if self.processes.is_main:
            self._join()
            if self._error is None:
                taken = state()
                self._begin(copied(taken) if self.in_background else taken, step, score)
                if wait:
                    self._join()
        self._agree(step)

    def close(self) -> None:
        """Wait for a save in the background; raises SaveError on every rank if it failed."""
        self._join()
        self._agree(None)

    def _begin(self, state: Mapping[str, Any], step: int, score: float | None) -> None:
        if not self.in_background:
            self._write(state, step, score)
            return
        self._thread = threading.Thread(target=self._write, args=(state, step, score), name="checkpoint")
        self._thread.start()

    def _write(self, state: Mapping[str, Any], step: int, score: float | None) -> None:
        try:
            save_checkpoint(self.folder, state, step=step, keep=self.keep, score=score)
        except OSError as error:
            self._error = error

    def _join(self) -> None:
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _agree(self, step: int | None) -> None:
        failed = self.processes.sum(torch.tensor([float(self._error is not None)])).item()
        if failed:
            why = self._error or "the main process says so"
            what = "a checkpoint" if step is None else f"the checkpoint of step {step}"
            raise SaveError(f"cannot save {what} in {self.folder}: {why}; earlier checkpoints are whole: start again")


FREE = (
    "schedule.steps", "schedule.epochs", "schedule.patience", "optim.micro_batch", "optim.compile",
    "data.loader_processes", "data.resident", "track.",
)  # fmt: skip
"""Settings that may change when a run goes on: it may be prolonged, saved or looked at more often, or cut otherwise."""


def resume(
    trainer: Trainer, folder: Path, about: Mapping[str, Any], *, defaults: Mapping[str, Any] | None = None
) -> dict[str, Any] | None:
    """Go on from a folder's newest whole checkpoint and return its state; None, with nothing changed, without one.

    "config" of `about` may differ from the checkpoint's in what is `FREE`, and have settings that the checkpoint is too
    old for, at their `defaults`. Raises ValueError, naming what differs, where anything else does: it is another run's.
    """
    state = load_newest(folder)
    if state is None:
        return None
    wrong = [name for name, value in about.items() if name != "config" and state.get(name) != value]
    if changed := changed_settings(state["config"], about["config"], defaults or {}):
        wrong.insert(0, f"config: {', '.join(changed)}")
    if wrong:
        raise ValueError(f"{folder} belongs to another run ({'; '.join(wrong)} differ): choose another --output")
    trainer.load_state(state)
    logger.info("going on from step %d", trainer.step)
    return state


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested configuration by dotted names: {"optim.batch": 16, ...}."""
    named: dict[str, Any] = {}
    for name, value in config.items():
        named |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return named


def changed_settings(before: Mapping[str, Any], now: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[str]:
    """Return the dotted names of settings that decide what was done so far and are not what they were."""
    old, new, usual = (flat(config) for config in (before, now, defaults))
    names = sorted(name for name in old.keys() | new.keys() if not name.startswith(FREE))
    return [name for name in names if old.get(name, usual.get(name)) != new.get(name, usual.get(name))]


def copied(state: Any) -> Any:
    """Return containers with every tensor copied to the CPU, so that training may go on changing them."""
    if isinstance(state, torch.Tensor):
        return state.detach().to("cpu", copy=True)
    if isinstance(state, Mapping):
        return {name: copied(value) for name, value in state.items()}
    if isinstance(state, (list, tuple)):
        return type(state)(copied(value) for value in state)
    return state
