"""The training loop that pretraining and fine-tuning share."""

import json
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import torch
from torch import Tensor, nn
from tqdm import tqdm

from training.distributed import Processes

logger = logging.getLogger(__name__)

RESUME_EXIT = 75
"""Exit code of a run that was asked to stop, and saved: start it again (EX_TEMPFAIL of sysexits.h)."""
Precision = Literal["fp32", "bf16"]


class NonFiniteLossError(ArithmeticError):
    """A loss or gradient that is not finite on some rank; raised on every rank, before the optimizer steps."""


class StopRequest:
    """Whether SIGTERM or SIGINT asked the run to stop at the next step boundary."""

    def __init__(self) -> None:
        self.asked = False

    @contextmanager
    def listening(self) -> Iterator["StopRequest"]:
        """Take the two signals inside; only the main thread can."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {s: signal.signal(s, self._ask) for s in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True


@dataclass(kw_only=True)
class Trainer:
    """What a run changes as it goes, and how it takes a step."""

    module: nn.Module
    """Takes a batch of tensors, returns "loss" and further terms, all scalars."""
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler
    processes: Processes
    seed: int
    precision: Precision = "fp32"
    clip_norm: float = 1.0
    step: int = 0
    """Steps taken so far."""
    stop: StopRequest = field(default_factory=StopRequest)
    wrapped: nn.Module = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.module.to(self.processes.device)
        self.wrapped = self.processes.wrap(self.module)

    def take_step(self, micro_batches: Sequence[Mapping[str, Tensor]]) -> dict[str, float]:
        """Take one optimizer step over this rank's micro-batches; returns terms averaged over all ranks.

        Raises NonFiniteLossError on every rank, naming the step, if any rank's loss or the gradient is not finite.
        """
        # Dropout depends on the step alone, so that a resumed run draws what the uninterrupted one would have.
        torch.manual_seed(self.seed * 1_000_003 + self.step * self.processes.world_size + self.processes.rank)
        self.wrapped.train()
        self.optimizer.zero_grad(set_to_none=True)
        sums: dict[str, Tensor] = {}
        for number, batch in enumerate(micro_batches, start=1):
            with self.processes.accumulating(self.wrapped, last=number == len(micro_batches)):
                terms = self._forward(batch)
                (terms["loss"] / len(micro_batches)).backward()
            for name, term in terms.items():
                sums[name] = sums.get(name, 0.0) + term.detach().float() / len(micro_batches)
        agreed = self.processes.sum(
            torch.stack([*sums.values(), torch.tensor(float(self.stop.asked), device=self.processes.device)])
        )
        self.stop.asked = bool(agreed[-1] > 0)
        values = dict(zip(sums, (agreed[:-1] / self.processes.world_size).tolist(), strict=True))
        if not torch.isfinite(agreed).all():
            raise NonFiniteLossError(f"step {self.step + 1}: a loss is not finite: {values}")
        norm = nn.utils.clip_grad_norm_(self.module.parameters(), self.clip_norm)
        if not torch.isfinite(norm):
            raise NonFiniteLossError(f"step {self.step + 1}: the gradient's norm is {norm.item()}")
        values |= {"grad_norm": norm.item(), "learning_rate": self.optimizer.param_groups[-1]["lr"]}
        self.optimizer.step()
        self.scheduler.step()
        self.step += 1
        return values

    def _forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        on_device = {name: tensor.to(self.processes.device, non_blocking=True) for name, tensor in batch.items()}
        with torch.autocast(self.processes.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            return self.wrapped(on_device)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint needs to go on from here."""
        return {
            "model": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "rng": {"torch": torch.get_rng_state()},
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint's state."""
        self.module.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        torch.set_rng_state(state["rng"]["torch"])
        self.step = int(state["step"])


class MetricsLog:
    """JSON lines of a run, one a step; going on from a step drops later lines. Only the main process writes."""

    def __init__(self, path: Path, *, after_step: int, active: bool) -> None:
        self.path, self.active = path, active
        if active:
            path.parent.mkdir(parents=True, exist_ok=True)
            old = path.read_text().splitlines() if path.exists() else []
            kept = [line for line in old if _step_of(line) <= after_step]
            path.write_text("".join(line + "\n" for line in kept))

    def write(self, values: Mapping[str, Any]) -> None:
        """Append one line."""
        if self.active:
            with self.path.open("a") as file:
                file.write(json.dumps(values) + "\n")


def _step_of(line: str) -> float:
    """Return the step of a line, or infinity for a line that a killed process left unfinished."""
    try:
        return int(json.loads(line)["step"])
    except ValueError:
        return float("inf")


def run_steps(
    trainer: Trainer,
    batches: Iterable[Sequence[Mapping[str, Tensor]]],
    *,
    n_steps: int,
    label: str,
    log: MetricsLog,
    save: Callable[[Trainer], None],
    save_every: int,
    window_s: float,
    windows_per_step: int,
) -> bool:
    """Take steps until `n_steps` are taken; returns False if a signal stopped the run (it is saved then)."""
    bar = tqdm(total=n_steps, initial=trainer.step, desc=label, unit="step", disable=None if log.active else True)
    with bar, trainer.stop.listening():
        before = time.perf_counter()
        for micro_batches in batches:
            values = trainer.take_step(micro_batches)
            now = time.perf_counter()
            hours_per_s = windows_per_step * window_s / 3600 / (now - before)
            log.write({"step": trainer.step, **values, "step_s": now - before, "eeg_hours_per_s": hours_per_s})
            before = now
            bar.update()
            bar.set_postfix(loss=f"{values['loss']:.4f}")
            if trainer.stop.asked or trainer.step % save_every == 0 or trainer.step == n_steps:
                save(trainer)
            if trainer.stop.asked:
                return False
    return True
