"""Adapters: a few new weights inside every block, which start as the identity, beside weights that stay frozen.

Two kinds: "bottleneck" (Houlsby et al. 2019), a narrow residual layer after the attention over time and after the
feed-forward; "lora" (Hu et al. 2022), a low-rank addition to every matrix of both attentions and the
feed-forward, which `merge_adapters` turns into those matrices' own values: for a model that is as fast as before.

    add_adapters(classifier, kind="lora", rank=8)
    freeze(classifier, ["stem", "trunk"])          # model.freezing: adapters and head are what is left to learn

Shapes: D width, K rank.
"""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KINDS = ("bottleneck", "lora")


class Bottleneck(nn.Module):
    """Down to `rank`, up again, added to what came in; the way up starts at zero."""

    def __init__(self, dim: int, rank: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(dim, rank), nn.Linear(rank, dim)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the adapted values, same shape, last dimension D."""
        return x + self.up(F.gelu(self.down(x)))


class LoraLinear(nn.Linear):
    """A linear layer with a product of two narrow matrices added to its own; its names and values stay."""

    def __init__(self, base: nn.Linear, rank: int) -> None:
        factory: dict[str, Any] = {"device": base.weight.device, "dtype": base.weight.dtype}
        super().__init__(base.in_features, base.out_features, bias=base.bias is not None, **factory)
        self.weight, self.bias = base.weight, base.bias
        self.adapter_down = nn.Parameter(torch.empty(rank, base.in_features, **factory))
        self.adapter_up = nn.Parameter(torch.zeros(base.out_features, rank, **factory))
        nn.init.normal_(self.adapter_down, std=base.in_features**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Return what the layer and the addition make of x."""
        return super().forward(x) + F.linear(F.linear(x, self.adapter_down), self.adapter_up)

    def merge(self) -> nn.Linear:
        """Return a plain layer that does the same."""
        plain = nn.Linear(self.in_features, self.out_features, bias=self.bias is not None, device="meta")
        plain.weight = nn.Parameter((self.weight + self.adapter_up @ self.adapter_down).detach())
        plain.bias = self.bias
        return plain


def add_adapters(model: nn.Module, *, kind: str, rank: int) -> None:
    """Put adapters into every block of an encoder, or of the encoder of a model, and record it in its config.

    A model saved with adapters loads with them. Raises ValueError for an unknown kind, a rank below 1, and an encoder
    that has adapters already.
    """
    encoder = encoder_of(model)
    if kind not in KINDS:
        raise ValueError(f"kind={kind!r} is none of {list(KINDS)}")
    if rank < 1:
        raise ValueError(f"rank={rank} must be at least 1")
    if any("adapter" in name for name, _ in encoder.named_parameters()):
        raise ValueError("the encoder has adapters already; merge them first, or start from the encoder without")
    insert(encoder, kind=kind, rank=rank)
    _tell(model, {"kind": kind, "rank": rank})


def insert(encoder: nn.Module, *, kind: str, rank: int) -> None:
    """Put adapters into every block, without a word to the config."""
    for block in _blocks(encoder):
        if kind == "bottleneck":
            dim = block.get_submodule("temporal_norm").normalized_shape[0]
            block.temporal_adapter, block.mlp_adapter = Bottleneck(dim, rank), Bottleneck(dim, rank)
            continue
        for owner, name, layer in _adapted_layers(block):
            setattr(owner, name, LoraLinear(layer, rank))


def merge_adapters(model: nn.Module) -> None:
    """Replace low-rank additions by matrices that hold them; raises ValueError for adapters that no matrix can hold."""
    layers = [
        (owner, name, layer)
        for block in _blocks(encoder_of(model))
        for owner, name, layer in _adapted_layers(block)
        if isinstance(layer, LoraLinear)
    ]
    if not layers:
        raise ValueError("nothing to merge: only adapters of kind 'lora' can be, and the encoder has none")
    for owner, name, layer in layers:
        setattr(owner, name, layer.merge())
    _tell(model, None)


def encoder_of(model: nn.Module) -> nn.Module:
    """Return the encoder of a model, which may be the encoder itself; raises ValueError where there is none."""
    encoder = getattr(model, "encoder", model)
    if not isinstance(getattr(encoder, "blocks", None), nn.ModuleList):
        raise ValueError(f"{type(model).__name__} has no encoder with blocks")
    return encoder


def _blocks(encoder: nn.Module) -> Iterator[nn.Module]:
    yield from encoder.get_submodule("blocks").children()


def _adapted_layers(block: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Linear]]:
    """Yield (owner, name, layer) of the matrices of a block that low-rank additions go to."""
    for name in ("temporal.qkv", "temporal.out", "spatial.query_key", "spatial.out", "mlp.0", "mlp.2"):
        path, _, last = name.rpartition(".")
        if path in dict(block.named_children()):
            owner = block.get_submodule(path)
            yield owner, last, getattr(owner, last)


def _tell(model: nn.Module, adapter: dict[str, Any] | None) -> None:
    """Write the adapters into copies of the configs: other models may share the ones that were given."""
    for part in {encoder_of(model), model}:
        config = getattr(part, "config", None)
        if config is None:
            continue
        part.config = config = deepcopy(config)
        of_encoder = getattr(config, "encoder", None)
        if isinstance(of_encoder, dict):  # a classifier's config holds its encoder's
            of_encoder["adapter"] = adapter
        else:
            config.adapter = adapter
