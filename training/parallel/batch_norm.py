"""Batch normalisation by the statistics of all processes' windows of a pass (SyncBN), on any backend.

A norm keeps its class, weights and averages: only its forward pass is lent another one while a step is taken.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from training.parallel.distributed import Processes

Norm: TypeAlias = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d


def norms_of(module: nn.Module) -> list[Norm]:
    """Return a module's layers of batch normalisation."""
    return [m for m in module.modules() if isinstance(m, Norm)]


@contextmanager
def synced(module: nn.Module, processes: Processes) -> Iterator["Weight"]:
    """Let norms that are in training take their statistics over all processes inside, where there are several.

    All processes take the same passes inside; one whose `Weight` is 0 adds nothing to the statistics.
    """
    weight, norms = Weight(), norms_of(module) if processes.world_size > 1 else []
    for norm in norms:
        norm.forward = partial(_forward, norm, processes, weight)
    try:
        yield weight
    finally:
        for norm in norms:
            del norm.forward


class Weight:
    """What this process's windows count in the statistics of a pass, 1 or 0."""

    value = 1.0


class _Sum(torch.autograd.Function):
    """Sum over processes; a gradient reaches what each process gave."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, processes: Processes) -> Tensor:
        ctx.processes = processes
        return processes.sum(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.processes.sum(gradients[0].contiguous()), None


def _forward(norm: Norm, processes: Processes, weight: Weight, x: Tensor) -> Tensor:
    """Return the normalised values and move the averages, as the layer does with all processes' values at once."""
    if not norm.training:
        return type(norm).forward(norm, x)
    dims = [dim for dim in range(x.ndim) if dim != 1]
    shape = [1, -1, *[1] * (x.ndim - 2)]
    n = torch.full((1,), x.numel() / x.shape[1] * weight.value, device=x.device)
    # About a point that is near the mean, the variance does not cancel.
    pivot = torch.zeros(x.shape[1], device=x.device) if norm.running_mean is None else norm.running_mean.clone()
    offset = (x.float() - pivot.view(shape)) * weight.value
    sums = _Sum.apply(torch.cat([offset.sum(dims), (offset * offset).sum(dims), n]), processes)
    total, squares, count = sums.split([x.shape[1], x.shape[1], 1])
    near = total / count
    mean, variance = pivot + near, (squares / count - near * near).clamp(min=0)
    if norm.running_mean is not None and norm.running_var is not None and norm.num_batches_tracked is not None:
        with torch.no_grad():
            norm.num_batches_tracked += 1
            share = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
            norm.running_mean.lerp_(mean.detach(), share)
            norm.running_var.lerp_((variance * count / (count - 1).clamp(min=1)).detach(), share)
    y = (x.float() - mean.view(shape)) * (variance + norm.eps).rsqrt().view(shape)
    if norm.affine:
        y = y * norm.weight.view(shape) + norm.bias.view(shape)
    return y.to(x.dtype)
