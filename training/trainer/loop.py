"""The training loop that pretraining and fine-tuning share."""

import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from training.trainer.distributed import Processes
from training.trainer.ema import WeightAverage
from training.trainer.memory import MAX_HALVINGS, is_out_of_memory, release, split
from training.trainer.stopping import StopRequest
from training.trainer.stopwatch import Stopwatch
from training.trainer.tracking import Tracker

logger = logging.getLogger(__name__)

Precision = Literal["auto", "fp32", "bf16", "fp16"]
Batch = Mapping[str, Tensor]
_STOPPED, _OUT_OF_MEMORY = 0, 1


class NonFiniteLossError(ArithmeticError):
    """A loss or gradient that is not finite on some rank; raised on every rank, before the optimizer steps."""


def resolve_precision(precision: Precision, device: torch.device) -> Precision:
    """Return what "auto" means on a device: bf16 on a GPU that has it, else fp32."""
    if precision != "auto":
        return precision
    return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"


@dataclass(kw_only=True)
class Trainer:
    """What a run changes as it goes, and how it takes a step."""

    module: nn.Module
    """Takes a batch of tensors, returns "loss" and further terms, all scalars: means over its windows."""
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler
    processes: Processes
    seed: int
    precision: Precision = "fp32"
    clip_norm: float = 1.0
    ema_decay: float = 0.0
    """Of the weights' moving average; 0 for none."""
    compile: bool = False
    """Whether torch compiles the module."""
    step: int = 0
    """Steps taken so far."""
    halvings: int = 0
    """How often micro-batches were halved for want of memory."""
    stop: StopRequest = field(default_factory=StopRequest)
    average: WeightAverage | None = field(init=False, default=None, repr=False)
    watch: Stopwatch = field(init=False, repr=False)

    def __post_init__(self) -> None:
        device = self.processes.device
        self.module.to(device)
        self.precision = resolve_precision(self.precision, device)
        self.average = WeightAverage(self.module, self.ema_decay) if self.ema_decay else None
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.precision == "fp16")
        self.watch = Stopwatch(device)
        self._forward = torch.compile(self.module) if self.compile else self.module
        self.processes.check_same(self.module)

    def take_step(
        self, micro_batches: Sequence[Batch], shares: Sequence[float] | None = None
    ) -> dict[str, float] | None:
        """Take one optimizer step over this rank's micro-batches; returns terms averaged over all ranks.

        `shares` are the micro-batches' weights in the step's mean; over all ranks they add up to 1. By default all
        count the same. Returns None, with nothing changed, where a signal asked any rank to stop before the end of the
        step. Raises NonFiniteLossError on every rank, naming the step, if any rank's loss or the gradient is not
        finite.
        """
        if shares is None:
            shares = [1 / (len(micro_batches) * self.processes.world_size)] * len(micro_batches)
        while True:
            sums, trouble = self._accumulate(micro_batches, shares)
            stopped, out_of_memory = self._agree(trouble)
            if stopped:
                self.optimizer.zero_grad(set_to_none=True)
                self.stop.asked = True
                return None
            if not out_of_memory:
                return self._update(sums)
            self._halve()

    def _accumulate(self, micro_batches: Sequence[Batch], shares: Sequence[float]) -> tuple[dict[str, Tensor], Tensor]:
        """Return summed terms and what went wrong on this rank, counts of (stop asked, out of memory)."""
        trouble = torch.zeros(2)
        sums: dict[str, Tensor] = {}
        self.module.train()
        self.optimizer.zero_grad(set_to_none=True)
        try:
            for number, (batch, share) in enumerate(zip(micro_batches, shares, strict=True)):
                # Dropout depends on the step and the place in it, so that a resumed run, or one of another world size,
                # draws what the uninterrupted one would have.
                place = self.processes.rank + number * self.processes.world_size
                torch.manual_seed(int(np.random.SeedSequence((self.seed, self.step, place)).generate_state(1)[0]))
                n_rows = len(next(iter(batch.values())))
                for part in split(batch, self.halvings):
                    if self.stop.asked:
                        trouble[_STOPPED] = 1
                        return sums, trouble
                    weight = share * len(next(iter(part.values()))) / n_rows
                    for name, term in self._backward(part, weight).items():
                        sums[name] = sums.get(name, 0.0) + weight * term
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            trouble[_OUT_OF_MEMORY] = 1
        return sums, trouble

    def _backward(self, batch: Batch, weight: float) -> dict[str, Tensor]:
        device = self.processes.device
        with self.watch.part("forward"):
            on_device = {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
            low = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.precision)
            with torch.autocast(device.type, low, enabled=low is not None):
                terms = self._forward(on_device)
        with self.watch.part("backward"):
            self.scaler.scale(terms["loss"] * weight).backward()
        return {name: term.detach().float() for name, term in terms.items()}

    def _agree(self, trouble: Tensor) -> tuple[bool, bool]:
        with self.watch.part("communicate"):
            stopped, out_of_memory = self.processes.sum(trouble).tolist()
        return stopped > 0, out_of_memory > 0

    def _halve(self) -> None:
        if self.halvings == MAX_HALVINGS:
            raise MemoryError(
                f"step {self.step + 1}: out of memory even with micro-batches halved {MAX_HALVINGS} times"
            )
        self.optimizer.zero_grad(set_to_none=True)
        release()
        self.halvings += 1
        logger.warning(
            "step %d: out of memory; micro-batches are now cut into %d parts, the step keeps its windows",
            self.step + 1,
            2**self.halvings,
        )

    def _update(self, sums: Mapping[str, Tensor]) -> dict[str, float]:
        with self.watch.part("communicate"):
            agreed = self.processes.sum(torch.stack(list(sums.values())))
            values = dict(zip(sums, agreed.tolist(), strict=True))
            if not torch.isfinite(agreed).all():
                raise NonFiniteLossError(f"step {self.step + 1}: a loss is not finite: {values}")
            self.processes.sum_gradients(self.module)
        with self.watch.part("update"):
            self.scaler.unscale_(self.optimizer)
            norm = nn.utils.clip_grad_norm_(self.module.parameters(), self.clip_norm).item()
            values |= {"grad_norm": norm, "learning_rate": self.optimizer.param_groups[-1]["lr"]}
            if not np.isfinite(norm):
                self._not_finite(norm)
            scale = self.scaler.get_scale()
            self.scaler.step(self.optimizer)  # leaves the step out where scaled gradients overflowed
            self.scaler.update()
            if self.scaler.get_scale() >= scale:
                self.scheduler.step()
            self.step += 1
            if self.average is not None:
                self.average.update(self.module, self.step)
        if self.scaler.is_enabled():
            values["loss_scale"] = self.scaler.get_scale()
        return values

    def _not_finite(self, norm: float) -> None:
        """Raise unless the loss scale of fp16 may simply be too large still."""
        if not self.scaler.is_enabled() or self.scaler.get_scale() <= 1.0:
            raise NonFiniteLossError(f"step {self.step + 1}: the gradient's norm is {norm}")

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint needs to go on from here."""
        return {
            "model": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "scaler": self.scaler.state_dict(),
            "average": self.average.state_dict() if self.average is not None else None,
            "halvings": self.halvings,
            "rng": rng_state(),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint's state."""
        self.module.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.scaler.load_state_dict(state["scaler"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.halvings = int(state["halvings"])
        set_rng_state(state["rng"])
        self.step = int(state["step"])


def rng_state() -> dict[str, Any]:
    """Return the state of every library's global generator, in kinds that a checkpoint may hold."""
    kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)  # noqa: NPY002
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": (kind, torch.from_numpy(np.asarray(keys, dtype=np.int64)), position, has_gauss, cached),
        "python": random.getstate(),
    }


def set_rng_state(state: Mapping[str, Any]) -> None:
    """Set every library's global generator to a saved state; a GPU's only where there are as many as then."""
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
    kind, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, cached))  # noqa: NPY002
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))


@dataclass(frozen=True, kw_only=True)
class StepBatches:
    """What one step trains on, on this rank."""

    micro_batches: Sequence[Batch]
    eeg_hours: float
    """Of the whole step, over all ranks."""
    order_crc: int = 0
    """CRC-32 of the numbers of all windows of the step, in order: equal runs log equal ones."""
    shares: Sequence[float] | None = None
    """Weight of each micro-batch in the step's mean; None for equal ones."""


def run_steps(
    trainer: Trainer,
    batches: Iterable[StepBatches],
    *,
    n_steps: int,
    label: str,
    tracker: Tracker,
    save: Callable[[Trainer], None],
    save_every: int,
    validate: Callable[[Trainer], Mapping[str, float]] | None = None,
    validate_every: int = 0,
) -> bool:
    """Take steps until `n_steps` are taken; returns False if a signal stopped the run (it is saved then).

    `validate` is called every `validate_every` steps, before the step's save; its values are logged with the step's.
    """
    bar = tqdm(
        total=n_steps,
        initial=trainer.step,
        desc=label,
        unit="step",
        disable=None if trainer.processes.is_main else True,
    )
    saved = trainer.step
    with bar:
        for batch, load_s, began in _timed(batches):
            values = trainer.take_step(batch.micro_batches, batch.shares)
            if values is not None:
                values |= {"load_s": load_s, **trainer.watch.read(), "step_s": time.perf_counter() - began}
                values["eeg_hours_per_s"] = batch.eeg_hours / values["step_s"]
                values["order_crc"] = batch.order_crc
                if validate is not None and validate_every and trainer.step % validate_every == 0:
                    values |= validate(trainer)
                tracker.log(trainer.step, values)
                bar.update()
                bar.set_postfix(loss=f"{values['loss']:.4f}")
            if trainer.step > saved and (values is None or trainer.step % save_every == 0 or trainer.step == n_steps):
                save(trainer)
                saved = trainer.step
            if values is None:
                return False
    return True


def _timed(batches: Iterable[StepBatches]) -> Iterator[tuple[StepBatches, float, float]]:
    """Yield each batch, the seconds spent waiting for it, and when the waiting began."""
    waiting = iter(batches)
    while True:
        began = time.perf_counter()
        batch = next(waiting, None)
        if batch is None:
            return
        yield batch, time.perf_counter() - began, began
