"""Gradients added up over processes in flat buckets that travel while the last backward pass still goes on.

As torch's DistributedDataParallel with `no_sync`: nothing is exchanged but in the last micro-batch of a step. Unlike
there, the buckets never change, so that a run that goes on adds up in the same order and ends with the same bits; and
they are sent in one order by every process, whatever happened on it: a process that was stopped, ran out of memory or
has no micro-batch sends what it has, and nobody waits for it in vain.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from training.parallel.distributed import Processes

BUCKET_BYTES = 32 << 20
"""About the size of a bucket: few messages, and no second copy of the whole model."""


class GradientSums:
    """Adds up the gradients of a module's trainable parameters; one that a process has not used counts as zero there.

    A step is `begin`, backward passes, the last of them within `overlapping`, and `finish`. Slices (FSDP2) are left to
    their module.
    """

    def __init__(self, module: nn.Module, processes: Processes) -> None:
        self._module, self._processes = module, processes
        self._hooked: set[nn.Parameter] = set()
        self._is_last = False
        self.begin()

    def begin(self) -> None:
        """Begin a step: which parameters are trainable may have changed since the last one."""
        parameters = [p for p in self._module.parameters() if p.requires_grad and not isinstance(p, DTensor)]
        # Backward passes reach the last parameters first.
        self._buckets = list(buckets(reversed(parameters))) if self._processes.world_size > 1 else []
        self._bucket_of = {p: number for number, bucket in enumerate(self._buckets) for p in bucket}
        self._missing = [len(bucket) for bucket in self._buckets]
        self._sent: list[Callable[[], Tensor]] = []
        for parameter in self._bucket_of.keys() - self._hooked:
            parameter.register_post_accumulate_grad_hook(self._is_ready)
            self._hooked.add(parameter)

    @contextmanager
    def overlapping(self) -> Iterator[None]:
        """Send each bucket inside as soon as its gradients, and all buckets before it, are complete."""
        self._is_last = True
        try:
            yield
        finally:
            self._is_last = False

    def finish(self) -> None:
        """Send what was not sent, and replace every gradient by its sum over processes."""
        while len(self._sent) < len(self._buckets):
            self._send()
        for bucket, total in zip(self._buckets, self._sent, strict=True):
            for parameter, part in zip(bucket, total().split([p.numel() for p in bucket]), strict=True):
                assert parameter.grad is not None
                parameter.grad.copy_(part.view_as(parameter))
        self._buckets, self._sent = [], []

    def _is_ready(self, parameter: Tensor) -> None:
        number = self._bucket_of.get(parameter) if self._is_last else None
        if number is None:
            return
        self._missing[number] -= 1
        while len(self._sent) < len(self._buckets) and not self._missing[len(self._sent)]:
            self._send()

    def _send(self) -> None:
        bucket = self._buckets[len(self._sent)]
        for parameter in bucket:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        flat = torch.cat([p.grad.reshape(-1) for p in bucket if p.grad is not None])
        self._sent.append(self._processes.start_sum(flat))


def buckets(parameters: Iterable[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Yield runs of parameters of one type, about BUCKET_BYTES each."""
    bucket: list[nn.Parameter] = []
    n_bytes = 0
    for parameter in parameters:
        if bucket and (n_bytes >= BUCKET_BYTES or parameter.dtype != bucket[0].dtype):
            yield bucket
            bucket, n_bytes = [], 0
        bucket.append(parameter)
        n_bytes += parameter.numel() * parameter.element_size()
    if bucket:
        yield bucket
