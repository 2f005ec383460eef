"""Freezing of named groups of parameters: "stem", "trunk", "head" and "adapter" (`model.layers.adapters`)."""

from collections.abc import Iterable

from torch import nn

GROUPS = ("stem", "trunk", "head", "adapter")


def group_of(parameter_name: str) -> str:
    """Return the group of a parameter, by its dotted name: what is not the encoder's is the head's."""
    parts = parameter_name.split(".")
    if any("adapter" in part for part in parts):
        return "adapter"
    if "encoder" not in parts:
        return "head"
    inner = parts[parts.index("encoder") + 1]
    return "stem" if inner in ("relations", "mixing", "stem", "channel_embedding") else "trunk"


def freeze(model: nn.Module, groups: Iterable[str]) -> None:
    """Let exactly the parameters outside of `groups` be trained; raises ValueError for an unknown group."""
    frozen = set(groups)
    if unknown := frozen - set(GROUPS):
        raise ValueError(f"unknown groups {sorted(unknown)}; groups are {list(GROUPS)}")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(group_of(name) not in frozen)


def freeze_all_but_last(model: nn.Module, *, n_blocks: int = 1) -> None:
    """Let the head, adapters, the encoder's final norm and its last `n_blocks` blocks be trained, nothing else.

    Raises ValueError where the encoder has fewer blocks.
    """
    names = [name for name, _ in model.named_parameters()]
    depth = len({_block_of(name) for name in names} - {None})
    if not 0 <= n_blocks <= depth:
        raise ValueError(f"n_blocks={n_blocks} must be at least 0 and at most the encoder's {depth}")
    for name, parameter in model.named_parameters():
        block = _block_of(name)
        is_last = block is not None and block >= depth - n_blocks
        parameter.requires_grad_(group_of(name) in ("head", "adapter") or is_last or ".encoder.norm." in f".{name}")


def _block_of(parameter_name: str) -> int | None:
    parts = parameter_name.split(".")
    return int(parts[parts.index("blocks") + 1]) if "blocks" in parts else None
