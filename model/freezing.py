"""Freezing of named groups of parameters: "stem", "trunk" and "head"."""

from collections.abc import Iterable

from torch import nn

GROUPS = ("stem", "trunk", "head")


def group_of(parameter_name: str) -> str:
    """Return the group of a parameter, by its dotted name: what is not the encoder's is the head's."""
    parts = parameter_name.split(".")
    if "encoder" not in parts:
        return "head"
    inner = parts[parts.index("encoder") + 1]
    return "stem" if inner in ("stem", "channel_embedding") else "trunk"


def freeze(model: nn.Module, groups: Iterable[str]) -> None:
    """Let exactly the parameters outside of `groups` be trained; raises ValueError for an unknown group."""
    frozen = set(groups)
    if unknown := frozen - set(GROUPS):
        raise ValueError(f"unknown groups {sorted(unknown)}; groups are {list(GROUPS)}")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(group_of(name) not in frozen)
