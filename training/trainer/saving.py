"""When and how a run's state reaches a disk or an object store: at once, or from a copy while training goes on."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from training.corpus import storage
from training.corpus.storage import URI
from training.parallel.distributed import Processes
from training.trainer.checkpoints import load_newest, packed, save_checkpoint, slices_name, write
from training.trainer.train import Trainer

logger = logging.getLogger(__name__)

SAVE_FAILED_EXIT = 74
"""Exit code of a run that could not write its state (EX_IOERR of sysexits.h); earlier checkpoints are whole."""


class SaveError(OSError):
    """A checkpoint that could not be written, on any rank's account; raised on every rank."""


class Saver:
    """Writes checkpoints, of the main process or, where the model is `shared`, of all; all learn whether it worked."""

    def __init__(
        self, folder: URI, processes: Processes, *, keep: int, in_background: bool = False, shared: bool = False
    ) -> None:
        self.folder, self.processes, self.keep, self.in_background = folder, processes, keep, in_background
        self.shared = shared
        self._thread: threading.Thread | None = None
        self._error: OSError | None = None

    def save(
        self, state: Callable[[], Mapping[str, Any]], *, step: int, score: float | None = None, wait: bool = False
    ) -> None:
        """Save what `state` returns; in the background, return once it is copied.

        It is called on the main process, where the model is shared on all. Raises SaveError on every process where this
        save failed or, in the background, an earlier one; `wait` waits for this one too.
        """
        self._join()
        if self.shared:
            self._agree(step)
            self._begin(self._slices(state(), step, score))
        elif self.processes.is_main and self._error is None:
            taken = state()
            taken = copied(taken) if self.in_background else taken
            self._begin(lambda: save_checkpoint(self.folder, taken, step=step, keep=self.keep, score=score))
        if wait:
            self._join()
        self._agree(step)

    def close(self) -> None:
        """Wait for a save in the background; raises SaveError on every process if it failed."""
        self._join()
        self._agree(None)

    def _slices(self, state: Mapping[str, Any], step: int, score: float | None) -> Callable[[], object]:
        """Return what writes this process's slices and, once all are there, the main process's file that names them."""
        raw, digest = packed({name: state[name] for name in SLICED if name in state}, step=step)
        words = torch.zeros((self.processes.world_size, 4), dtype=torch.float64)
        words[self.processes.rank] = torch.tensor([int(digest[i : i + 4], 16) for i in range(0, 16, 4)])
        rows = self.processes.sum(words).long().tolist()
        names = [slices_name(step, rank, "".join(f"{word:04x}" for word in row)) for rank, row in enumerate(rows)]
        rest = {name: value for name, value in state.items() if name not in SLICED} | {"slices": names}

        def write_all() -> None:
            write(storage.join(self.folder, names[self.processes.rank]), raw)
            if self.processes.is_main:
                wait_for([storage.join(self.folder, name) for name in names])
                save_checkpoint(self.folder, rest, step=step, keep=self.keep, score=score)

        return write_all

    def _begin(self, work: Callable[[], object]) -> None:
        if not self.in_background:
            self._write(work)
            return
        self._thread = threading.Thread(target=self._write, args=(work,), name="checkpoint")
        self._thread.start()

    def _write(self, work: Callable[[], object]) -> None:
        try:
            work()
        except OSError as error:
            self._error = error

    def _join(self) -> None:
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _agree(self, step: int | None) -> None:
        failed = self.processes.sum(torch.tensor([float(self._error is not None)])).item()
        if failed:
            why = self._error or "another process could not write"
            what = "a checkpoint" if step is None else f"the checkpoint of step {step}"
            raise SaveError(f"cannot save {what} in {self.folder}: {why}; earlier checkpoints are whole: start again")


SLICED = ("model", "optimizer", "average")
"""What processes share of a state."""


def wait_for(uris: Sequence[str], *, most_s: float = 600.0, look_s: float = 0.05) -> None:
    """Wait until files are there; raises TimeoutError, naming the first that is not."""
    deadline = time.monotonic() + most_s
    for uri in uris:
        while not storage.exists(uri):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{uri} was not written within {most_s:.0f} s")
            time.sleep(look_s)


FREE = (
    "schedule.steps", "schedule.epochs", "schedule.patience", "optim.micro_batch", "optim.compile",
    "optim.sharing", "data.loader_processes", "data.resident", "track.",
)  # fmt: skip
"""Settings that may change when a run goes on: it may be prolonged, saved or looked at more often, or cut otherwise."""


def resume(
    trainer: Trainer, folder: URI, about: Mapping[str, Any], *, defaults: Mapping[str, Any] | None = None
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
