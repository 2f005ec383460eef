"""A module whose weights, gradients and optimizer state are shared out over processes: torch's FSDP2.

Each process holds a slice of every parameter along its first dimension; the blocks of a trunk gather theirs when they
run. A checkpoint's tensors become `{"shard": ..., "shape": ...}`, one file per process, and whole tensors again when
they are read, by any number of processes and with or without sharding.

In such a module every pass is a meeting of all processes: all take as many as the one with most, and none can give up
in the middle (`Trainer.take_step`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from training.parallel.distributed import Processes, Sharing, TorchGroup


def share_out(module: nn.Module, processes: Processes, sharing: Sharing) -> nn.Module:
    """Return the module, with "shard" as slices on this process's device; before an optimizer is made of it.

    Raises RuntimeError unless all processes hold the same parameters, ValueError for processes that are not torch's.
    """
    if sharing == "replicate" or processes.world_size == 1:
        return module
    if not isinstance(processes, TorchGroup):
        raise ValueError("sharing=shard is for processes of torchrun: start it so, or leave it at replicate")
    module.to(processes.device)
    processes.check_same(module)
    mesh = init_device_mesh(processes.device.type, (processes.world_size,))
    parts = [block for blocks in module.modules() if isinstance(blocks, nn.ModuleList) for block in blocks]
    for part in [*parts, module]:
        sharded = fully_shard(part, mesh=mesh)
        # Losses are divided by the counts of all processes already; gloo can only add up.
        sharded.set_gradient_divide_factor(1.0)
        sharded.set_force_sum_reduction_for_comms(True)
    return module


def is_sharded(module: nn.Module) -> bool:
    """Return whether a module's parameters are slices."""
    return any(isinstance(parameter, DTensor) for parameter in module.parameters())


def whole(value: Tensor) -> Tensor:
    """Return a tensor as a whole; all processes call it alike."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def slices(state: Any) -> Any:
    """Return containers with each sliced tensor as this process's slice and the shape of the whole."""
    if isinstance(state, DTensor):
        return {_SHARD: state.to_local(), _SHAPE: list(state.shape)}
    if isinstance(state, Mapping):
        return {name: slices(value) for name, value in state.items()}
    if isinstance(state, (list, tuple)):
        return type(state)(slices(value) for value in state)
    return state


def joined(states: Sequence[Any]) -> Any:
    """Return the containers of all processes, in their order, as one with whole tensors."""
    first = states[0]
    if isinstance(first, Mapping) and set(first) == {_SHARD, _SHAPE}:
        return torch.cat([state[_SHARD] for state in states]).reshape(first[_SHAPE])
    if isinstance(first, Mapping):
        return {name: joined([state[name] for state in states]) for name in first}
    if isinstance(first, (list, tuple)):
        return type(first)(joined([state[place] for state in states]) for place in range(len(first)))
    return first


_SHARD, _SHAPE = "shard", "shape"


def like(value: Tensor, target: Tensor) -> Tensor:
    """Return a whole tensor sliced as another one is; as it is where that one is whole."""
    if not isinstance(target, DTensor):
        return value
    # Every process has the whole: nothing is sent.
    return distribute_tensor(value.to(target.device), target.device_mesh, target.placements, src_data_rank=None)


def load_parameters(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load whole tensors into a module, sliced or not."""
    own = module.state_dict()
    module.load_state_dict({name: like(value, own[name]) if name in own else value for name, value in state.items()})


def load_optimizer(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Load an optimizer's state of whole tensors, for parameters that are sliced or not."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    moments = {
        number: {
            name: like(value, parameters[number]) if isinstance(value, Tensor) and value.ndim else value
            for name, value in of_one.items()
        }
        for number, of_one in state["state"].items()
    }
    optimizer.load_state_dict({**state, "state": moments})
