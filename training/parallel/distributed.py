"""One small interface over one or many processes: single, torch's process group (torchrun), or Horovod."""

import hashlib
import logging
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, cast
from uuid import uuid4

import torch
import torch.distributed as dist
from torch import Tensor, nn

logger = logging.getLogger(__name__)

Backend = Literal["auto", "single", "torch", "horovod"]
Sharing = Literal["replicate", "shard"]
"""Whether each process holds the whole model, or its shard of it."""
TIMEOUT = timedelta(minutes=10)
"""After this long without an answer the peers are given up, and the run ends instead of waiting for ever."""


@dataclass(frozen=True, kw_only=True)
class Processes(ABC):
    """This process among its peers."""

    rank: int
    world_size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    @abstractmethod
    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over processes, the same on each, on this process's device."""

    @abstractmethod
    def start_sum(self, values: Tensor) -> Callable[[], Tensor]:
        """Begin to add up over processes, in the values' own place; returns what waits for the sum and gives it."""

    @abstractmethod
    def barrier(self) -> None:
        """Wait for all processes."""

    @abstractmethod
    def close(self) -> None:
        """Leave the group of processes."""

    def check_same(self, module: nn.Module) -> None:
        """Raise RuntimeError unless all processes hold the same parameters: seeds must have given the same weights.

        Every process compares its own digest with the main process's: equal numbers need not add up to a multiple of
        themselves in floating point.
        """
        digest = hashlib.sha256()
        for parameter in module.parameters():
            digest.update(parameter.detach().float().cpu().numpy().tobytes())
        mine = torch.tensor(list(digest.digest()), dtype=torch.float32)
        differs = not torch.equal(self.from_main(mine).cpu(), mine)
        if self.sum(torch.tensor([float(differs)])).item():
            raise RuntimeError("the processes do not hold the same parameters")

    def from_main(self, values: Tensor) -> Tensor:
        """Return the main process's values, on each process's device; all give values of one shape."""
        return self.sum(values if self.is_main else torch.zeros_like(values))

    def gather(self, rows: Tensor) -> Tensor:
        """Return the rows of all processes, in the order of ranks, bit for bit; numbers of rows may differ."""
        n_rows = torch.zeros(self.world_size, dtype=torch.int64)
        n_rows[self.rank] = len(rows)
        ends = self.sum(n_rows).cumsum(0).tolist()
        gathered = torch.zeros((ends[-1], *rows.shape[1:]), dtype=rows.dtype, device=rows.device)
        gathered[ends[self.rank] - len(rows) : ends[self.rank]] = rows
        return self.sum(gathered)


class Single(Processes):
    """Alone."""

    def sum(self, values: Tensor) -> Tensor:
        """Return the values."""
        return values.to(self.device)

    def start_sum(self, values: Tensor) -> Callable[[], Tensor]:
        """Return what gives the values."""
        return lambda: values

    def barrier(self) -> None:
        """Return at once."""

    def close(self) -> None:
        """Do nothing."""


class TorchGroup(Processes):
    """Under torchrun: nccl between GPUs, gloo between CPUs."""

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum by all_reduce."""
        values = values.to(self.device, copy=True)
        dist.all_reduce(values)
        return values

    def start_sum(self, values: Tensor) -> Callable[[], Tensor]:
        """Begin an all_reduce."""
        work = dist.all_reduce(values, async_op=True)

        def wait() -> Tensor:
            work.wait()
            return values

        return wait

    def barrier(self) -> None:
        """Wait for all processes."""
        dist.barrier()

    def close(self) -> None:
        """Destroy the process group."""
        dist.destroy_process_group()


class Horovod(Processes):
    """Under horovodrun. Built from source: infra/horovod."""

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum by Horovod's allreduce."""
        result: Tensor = _horovod().allreduce(values.to(self.device), op=_horovod().Sum)
        return result

    def start_sum(self, values: Tensor) -> Callable[[], Tensor]:
        """Begin Horovod's allreduce."""
        handle = _horovod().allreduce_async_(values, op=_horovod().Sum)
        return lambda: cast(Tensor, _horovod().synchronize(handle))

    def barrier(self) -> None:
        """Wait for all processes."""
        _horovod().barrier()

    def close(self) -> None:
        """Shut Horovod down."""
        _horovod().shutdown()


def start_processes(backend: Backend = "auto") -> Processes:
    """Return this process's place among its peers; joins the group where there is one.

    "auto" is torch's group under torchrun, else Horovod under horovodrun, else single. A GPU a process where there are
    any, else CPUs; threads are shared out between local processes. Raises ValueError, saying what to do, where the
    chosen backend is not there.
    """
    if backend == "auto":
        backend = "torch" if "TORCHELASTIC_RUN_ID" in os.environ or "WORLD_SIZE" in os.environ else "single"
        backend = "horovod" if "HOROVOD_RANK" in os.environ else backend
    if backend == "horovod":
        return _start_horovod()
    rank, world_size, local_rank, local_size = (
        (int(os.environ.get(name, default)) for name, default in _TORCHRUN) if backend == "torch" else (0, 1, 0, 1)
    )
    device = _device(local_rank, local_size)
    if world_size == 1:
        return Single(rank=0, world_size=1, device=device)
    store = None
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        shared = dist.TCPStore(address, port, world_size, is_master=False, timeout=TIMEOUT)
        store = fresh_store(shared, rank, world_size)
    backend_name = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend_name, store=store, rank=rank, world_size=world_size, timeout=TIMEOUT)
    return TorchGroup(rank=rank, world_size=world_size, device=device)


def fresh_store(store: dist.Store, rank: int, world_size: int) -> dist.Store:
    """Return a part of the store that only the processes of this start know.

    torchrun's agent keeps its store over restarts: a new process would find the address that a dead peer had published
    and connect to nobody. So every process leaves a token of its own; the main process answers each token with a name
    for this start, until all have confirmed it. Tokens of the dead are answered too, and nobody reads that.
    """
    token, deadline = uuid4().hex, time.monotonic() + TIMEOUT.total_seconds()
    if rank:
        store.set(f"token/{rank}", token)
        start = store.get(f"start/{token}").decode()
        store.set(f"confirmed/{start}/{rank}", "")
        return dist.PrefixStore(f"start/{start}", store)
    waiting = set(range(1, world_size))
    while waiting:
        for peer in sorted(waiting):
            if store.check([f"token/{peer}"]):
                store.set(f"start/{store.get(f'token/{peer}').decode()}", token)
            if store.check([f"confirmed/{token}/{peer}"]):
                waiting.discard(peer)
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes {sorted(waiting)} did not come within {TIMEOUT}")
        time.sleep(_LOOK_S)
    return dist.PrefixStore(f"start/{token}", store)


_LOOK_S = 0.02
_TORCHRUN = (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"), ("LOCAL_WORLD_SIZE", "1"))


def _start_horovod() -> Processes:
    hvd = _horovod()
    hvd.init()
    device = _device(hvd.local_rank(), hvd.local_size())
    if hvd.size() == 1:
        return Single(rank=0, world_size=1, device=device)
    return Horovod(rank=hvd.rank(), world_size=hvd.size(), device=device)


def _horovod() -> Any:
    try:
        import horovod.torch as hvd
    except ImportError as error:
        raise ValueError(f"Horovod is not installed ({error}): make install-horovod, or start with torchrun") from error
    return hvd


def own_device(local_rank: int = 0) -> torch.device:
    """Return the device of this process: its GPU where there is one, else the CPU."""
    return torch.device("cuda", local_rank) if torch.cuda.is_available() else torch.device("cpu")


def _device(local_rank: int, local_size: int) -> torch.device:
    device = own_device(local_rank)
    if device.type == "cuda":
        torch.cuda.set_device(device)
        return device
    if local_size > 1:
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // local_size))
    return device
