"""One trainer for pretraining, fine-tuning, distillation and the autoencoder; read it from top to bottom.

A step: every process counts what its micro-batches hold and all add up the counts (1); runs them forward and backward,
each term's sum divided by its count over the whole step, and gradients are added up over processes during the last of
them (2); all agree on how it went (3); gradients are clipped, and the optimizer steps (4). Sums and counts add up in
any order, so any split of a batch into micro-batches and over processes gives the same step.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from tqdm import tqdm

from signals.progress import line
from training.corpus.prefetch import timed
from training.corpus.steps import Batch, StepBatches
from training.monitors.stopwatch import Stopwatch
from training.monitors.tracking import Tracker
from training.parallel.batch_norm import norms_of, synced
from training.parallel.distributed import Processes
from training.parallel.gradients import GradientSums
from training.parallel.memory import MAX_HALVINGS, is_out_of_memory, release, split
from training.parallel.sharding import is_sharded, load_optimizer, load_parameters, slices, whole
from training.trainer.ema import WeightAverage
from training.trainer.generators import rng_state, set_rng_state
from training.trainer.precision import Precision, allow_tf32, autocast, resolve_precision
from training.trainer.stopping import StopRequest

logger = logging.getLogger(__name__)

_STOPPED, _OUT_OF_MEMORY = 0, 1


class Objective(Protocol):
    """What is minimised: an `nn.Module` that gives sums, with what they are divided by. `weights` may leave terms out.

    The loss is the sum over terms of weight x total / count.
    """

    weights: Mapping[str, float]

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        """Return the total of each term over a batch, scalars with gradients."""

    def counts(self, batch: Batch) -> dict[str, Tensor]:
        """Return what each total is divided by, scalars of at least 0 that the batch alone decides."""


_LEAST_COUNT = 1e-12


@dataclass(frozen=True, eq=False)
class Pass:
    """A micro-batch that is run, and what it counts."""

    batch: Batch
    weight: float = 1.0


class NonFiniteLossError(ArithmeticError):
    """A loss or gradient that is not finite on some rank; raised on every rank, before the optimizer steps."""


@dataclass(kw_only=True)
class Trainer:
    """What a run changes as it goes, and how it takes a step."""

    module: nn.Module
    """An `Objective`."""
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
    place: Tensor | None = None
    """Where the reading of this process stands (`StepBatches.place`)."""
    halvings: int = 0
    """How often micro-batches were halved for want of memory."""
    stop: StopRequest = field(default_factory=StopRequest)
    lockstep: bool = field(init=False)
    """Whether passes are meetings of all processes: slices (FSDP2) and batch normalisation are exchanged in them."""
    average: WeightAverage | None = field(init=False, default=None, repr=False)
    whole_copy: nn.Module | None = field(default=None, repr=False)
    """Of a sharded module: an equal one that is whole, to evaluate with."""
    watch: Stopwatch = field(init=False, repr=False)

    def __post_init__(self) -> None:
        device = self.processes.device
        if not is_sharded(self.module):
            self.module.to(device)
            self.processes.check_same(self.module)
        self.lockstep = self.processes.world_size > 1 and bool(is_sharded(self.module) or norms_of(self.module))
        self.precision = resolve_precision(self.precision, device)
        allow_tf32(self.precision, device)
        self.average = WeightAverage(self.module, self.ema_decay) if self.ema_decay else None
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.precision == "fp16")
        self.watch = Stopwatch(device)
        self._forward = torch.compile(self.module) if self.compile else self.module
        self._gradients = GradientSums(self.module, self.processes)
        self._spare: Batch | None = None

    def take_step(self, micro_batches: Sequence[Batch]) -> dict[str, float] | None:
        """Take one optimizer step over this process's micro-batches; returns the step's means over all processes.

        Micro-batches lie on this process's device. Processes may have different numbers of them, of different sizes, or
        none. Returns None, with nothing changed, where a signal stopped any process before the end of the step (in
        lockstep: before its beginning). Raises NonFiniteLossError on every process, naming the step, if any loss or the
        gradient is not finite.
        """
        counts = self._counts(micro_batches)
        if (passes := self._passes(micro_batches)) is None:
            self.stop.requested = True
            return None
        buffers = list(self.module.buffers())
        before = [buffer.clone() for buffer in buffers]
        while True:
            totals, trouble = self._accumulate(passes, counts)
            stopped, out_of_memory = self._agree(trouble)
            if stopped or out_of_memory:  # averages of batch normalisation have moved in the forward passes
                for buffer, value in zip(buffers, before, strict=True):
                    buffer.copy_(value)
            if stopped:
                self.optimizer.zero_grad(set_to_none=True)
                self.stop.requested = True
                return None
            if not out_of_memory:
                return self._update(totals, counts)
            self._halve()

    def _counts(self, batches: Sequence[Batch]) -> dict[str, Tensor]:
        """Return what each term's total is divided by in this step, over all processes, float64."""
        with self.watch.part("communicate"), torch.no_grad():
            counts = torch.zeros(len(self.module.weights), dtype=torch.float64, device=self.processes.device)
            for batch in batches:
                found = self.module.counts(batch)
                counts += torch.stack([found[name].double() for name in self.module.weights])
            return dict(zip(self.module.weights, self.processes.sum(counts), strict=True))

    def _passes(self, batches: Sequence[Batch]) -> list[Pass] | None:
        """Return what this process runs, in order; None where a signal stopped any process before a step in lockstep.

        In lockstep a process of fewer micro-batches than another goes along with a window that counts nothing.
        """
        mine = [Pass(batch) for batch in batches]
        if not self.lockstep:
            return mine
        numbers = torch.zeros(self.processes.world_size + 1)
        numbers[self.processes.rank], numbers[-1] = len(batches), float(self.stop.requested)
        *n_passes, stopped = self.processes.sum(numbers).tolist()
        if stopped:
            return None
        if batches:
            self._spare = {name: values[:1] for name, values in batches[-1].items()}
        missing = int(max(n_passes)) - len(mine)
        if missing and self._spare is None:
            raise ValueError(f"process {self.processes.rank} has no window in its first step: raise the batch")
        return [*mine, *(Pass(self._spare, weight=0.0) for _ in range(missing) if self._spare is not None)]

    def _accumulate(self, passes: Sequence[Pass], counts: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
        """Return totals, and what went wrong on this process: counts of (stop requested, out of memory).

        Gradients are the sums over all processes afterwards, unless anything went wrong on any.
        """
        trouble = torch.zeros(2)
        totals = {name: torch.zeros((), device=self.processes.device) for name in self.module.weights}
        self.module.train()
        self.optimizer.zero_grad(set_to_none=True)
        self._gradients.begin()
        with synced(self.module, self.processes) as weight:
            try:
                for number, one in enumerate(passes):
                    # Dropout depends on the step and the place in it, so that a resumed run, or one of another world
                    # size, draws what the uninterrupted one would have.
                    place = self.processes.rank + number * self.processes.world_size
                    torch.manual_seed(int(np.random.SeedSequence((self.seed, self.step, place)).generate_state(1)[0]))
                    weight.value = one.weight
                    parts = split(one.batch, 0 if self.lockstep else self.halvings)
                    for part in parts:
                        if self.stop.requested and not self.lockstep:
                            trouble[_STOPPED] = 1
                            break
                        is_last = one is passes[-1] and part is parts[-1]
                        for name, total in self._backward(part, counts, one.weight, is_last=is_last).items():
                            totals[name] += total
            except RuntimeError as error:
                if not is_out_of_memory(error) or self.lockstep:
                    raise
                trouble[_OUT_OF_MEMORY] = 1
                release()
        with self.watch.part("communicate"):
            self._gradients.finish()
        return totals, trouble

    def _backward(
        self, batch: Batch, counts: Mapping[str, Tensor], weight: float, *, is_last: bool
    ) -> dict[str, Tensor]:
        device = self.processes.device
        with self.watch.part("forward"), autocast(self.precision, device):
            totals = {name: weight * total for name, total in self._forward(batch).items()}
        if isinstance(self.module, FSDPModule):
            self.module.set_requires_gradient_sync(is_last)
        with self.watch.part("backward"), self._gradients.overlapping() if is_last else nullcontext():
            self.scaler.scale(self._loss(totals, counts)).backward()
        return {name: total.detach().float() for name, total in totals.items()}

    def _loss(self, totals: Mapping[str, Tensor], counts: Mapping[str, Tensor]) -> Tensor:
        """Return the weighted sum of totals over counts; a term of which there is nothing in the step is 0."""
        terms = [
            weight * torch.where(counts[name] > 0, totals[name] / counts[name].clamp(min=_LEAST_COUNT), 0.0).float()
            for name, weight in self.module.weights.items()
        ]
        return torch.stack(terms).sum()

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

    def _update(self, totals: Mapping[str, Tensor], counts: Mapping[str, Tensor]) -> dict[str, float]:
        with self.watch.part("communicate"):
            agreed = dict(zip(totals, self.processes.sum(torch.stack(list(totals.values()))), strict=True))
            terms = {name: (agreed[name] / counts[name].clamp(min=_LEAST_COUNT)).item() for name in totals}
            values = {"loss": self._loss(agreed, counts).item(), **terms}
            if not np.isfinite(list(values.values())).all():
                raise NonFiniteLossError(f"step {self.step + 1}: a loss is not finite: {values}")
        with self.watch.part("update"):
            self.scaler.unscale_(self.optimizer)
            norm = whole(nn.utils.clip_grad_norm_(self.module.parameters(), self.clip_norm)).item()
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

    @contextmanager
    def evaluated(self) -> Iterator[Any]:
        """Give the module as it is to be judged and kept: of averaged weights where there are any, and whole.

        All processes call it alike; what is given is the same on each.
        """
        if self.whole_copy is None:
            with self.average.applied(self.module) if self.average is not None else nullcontext():
                yield self.module
            return
        values = self.module.state_dict() | (self.average.state_dict() if self.average is not None else {})
        self.whole_copy.load_state_dict({name: whole(value).cpu() for name, value in values.items()})
        yield self.whole_copy.to(self.processes.device)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint needs to go on from here: this process's part, where the module is sharded."""
        state = {
            "model": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.state_dict() if self.average is not None else None,
        }
        return {
            **slices(state),
            "scheduler": self.scheduler.state_dict(),
            "scaler": self.scaler.state_dict(),
            "halvings": self.halvings,
            "rng": rng_state(),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint's whole state, sharded or not."""
        load_parameters(self.module, state["model"])
        load_optimizer(self.optimizer, state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.scaler.load_state_dict(state["scaler"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.halvings = int(state["halvings"])
        set_rng_state(state["rng"])
        self.step = int(state["step"])


class Validation(Protocol):
    """Looks at a model between steps, on all processes, and may end the run."""

    @property
    def every(self) -> int:
        """Steps between looks; 0 for none."""

    @property
    def is_over(self) -> bool:
        """Whether the run should end; the same on every process."""

    def __call__(self, trainer: "Trainer") -> Mapping[str, float]:
        """Return values to log, the same on every process."""


def run_steps(
    trainer: Trainer,
    batches: Iterable[StepBatches],
    *,
    n_steps: int,
    label: str,
    tracker: Tracker,
    save: Callable[[Trainer], None],
    save_every: int,
    validation: Validation | None = None,
    before_step: Callable[[int], None] = lambda step: None,
    prepare: Callable[[StepBatches], StepBatches] | None = None,
) -> bool:
    """Take steps until `n_steps` are taken or validation ends the run; returns False if a signal stopped it.

    A run that a signal stopped is saved. Validation comes after its step and before the step's save, so that a run that
    goes on does not validate the same weights again. `before_step` is called with the number of steps taken.
    `prepare` makes a step of raw samples one to train on, on the device.
    """
    bar = tqdm(
        total=n_steps,
        initial=trainer.step,
        desc=label,
        unit="step",
        disable=None if trainer.processes.is_main else True,
        position=line(),
        leave=not line(),
    )
    saved = trainer.step
    with bar:
        for batch, load_s, began in timed(batches):
            if validation is not None and validation.is_over:
                break
            before_step(trainer.step)
            with trainer.watch.part("prepare"):
                batch = batch.to(trainer.processes.device)
                batch = batch if prepare is None else prepare(batch)
            values = trainer.take_step(batch.micro_batches)
            if values is not None:
                trainer.place = batch.place
                values |= {**batch.measures, "load_s": load_s, **_throughput(trainer, batch, began)}
                if validation is not None and validation.every and trainer.step % validation.every == 0:
                    values |= validation(trainer)
                tracker.log(trainer.step, values)
                bar.update()
                bar.set_postfix(loss=f"{values['loss']:.4f}")
            if trainer.step > saved and (values is None or trainer.step % save_every == 0 or trainer.step == n_steps):
                save(trainer)
                saved = trainer.step
            if values is None:
                return False
    return True


def _throughput(trainer: Trainer, batch: StepBatches, began: float) -> dict[str, float]:
    """Return a step's seconds by part, and over all processes its hours of EEG per second and its order's checksum."""
    values = {**trainer.watch.read(), "step_s": time.perf_counter() - began}
    # Sums of whole numbers below 2^53: exact.
    sums = torch.tensor([batch.eeg_hours, batch.order_crc], dtype=torch.float64)
    hours, crc = trainer.processes.sum(sums).tolist()
    return values | {"eeg_hours_per_s": hours / values["step_s"], "order_crc": int(crc) % 2**32}
