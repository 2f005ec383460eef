"""Smaller ResNet1D-GRUs: channels between the two convolutions of each residual block taken out.

They hold two thirds of the parameters, and nothing else hangs on them: block, GRU and attention stay as wide as they
were, and the network computes what it computed with those channels silent. Units of the GRU stay: its outputs are added
to the attention's and normalised over their number, so that fewer would change every answer.

Shapes: B batch, U channel between the convolutions, T step, K class.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from model.compression.importance import Example, Importance, loss_with_gradients
from model.compression.pruning import best, largest_step
from model.supervised.resnet_gru import ResidualBlock
from model.supervised.supervised import Supervised, SupervisedConfig

NETWORK = "resnet_gru"
"""The one network whose channels can be taken out."""


def residual_blocks(model: Supervised) -> list[ResidualBlock]:
    """Return the residual blocks; raises ValueError for another network."""
    if model.config.network != NETWORK:
        raise ValueError(f"network {model.config.network!r} has no residual blocks of its own; {NETWORK} has")
    return [block for block in model.network.blocks if isinstance(block, ResidualBlock)]


def inner_widths(model: Supervised) -> list[int]:
    """Return the channels between the convolutions of each block."""
    return [block.body[3].in_channels for block in residual_blocks(model)]


def with_inner(config: SupervisedConfig, inner: Sequence[int]) -> SupervisedConfig:
    """Return a copy of the configuration with other numbers of channels between the convolutions."""
    return SupervisedConfig.from_dict({**config.to_dict(), "options": {**config.options, "inner": list(inner)}})


def plan_inner(model: Supervised, share: float) -> list[int]:
    """Return the most channels that make `share` fewer parameters, every block cut by the same ratio.

    Raises ValueError for a share outside (0, 1), and one that cannot be reached.
    """
    whole, before = inner_widths(model), sum(p.numel() for p in model.parameters())
    n_steps = max(whole)

    def inner(step: int) -> list[int]:
        return [max(1, round(size * step / n_steps)) for size in whole]

    def kept(step: int) -> float:
        with torch.device("meta"):
            smaller = Supervised(with_inner(model.config, inner(step)))
        return sum(p.numel() for p in smaller.parameters()) / before

    return inner(largest_step(kept, n_steps, share, what="blocks can lose", before=before))


def channel_scores(model: Supervised, importance: Importance, examples: Iterable[Example]) -> list[Tensor]:
    """Return the importance of each block's channels, shape (U,), as `model.compression.importance` defines it.

    Raises ValueError where "taylor" is given no window.
    """
    blocks = residual_blocks(model)
    if importance == "magnitude":
        return [block.body[0].weight.norm(dim=(1, 2)) * block.body[3].weight.norm(dim=(0, 2)) for block in blocks]
    sums: list[Tensor] = []
    seen: list[Tensor] = []
    handles = [block.body[3].register_forward_pre_hook(lambda _, args: seen.append(args[0])) for block in blocks]
    try:
        for x_BCT, ch_state_BC, _, target_BK in examples:
            seen.clear()
            loss = loss_with_gradients(model.eval(), x_BCT, ch_state_BC, None, target_BK)
            changes = zip(seen, torch.autograd.grad(loss, seen), strict=True)
            sizes = [(value_BUT * grad_BUT).sum(-1).abs().sum(0).detach() for value_BUT, grad_BUT in changes]
            sums = [a + b for a, b in zip(sums, sizes, strict=True)] if sums else sizes
    finally:
        for handle in handles:
            handle.remove()
    if not sums:
        raise ValueError("importance needs at least one window")
    return sums


def narrow(model: Supervised, inner: Sequence[int], scores: Sequence[Tensor]) -> Supervised:
    """Return a new, smaller network that keeps each block's most important channels.

    Raises ValueError for more channels than there are.
    """
    whole = inner_widths(model)
    if len(inner) != len(whole) or any(not 1 <= n <= size for n, size in zip(inner, whole, strict=True)):
        raise ValueError(f"inner={list(inner)} must be at least 1 and at most {whole}, block by block")
    state = model.state_dict()
    for number, (n, score_U) in enumerate(zip(inner, scores, strict=True)):
        kept, body = best(score_U, n), f"network.blocks.{number}.body"
        for name in ("0.weight", "1.weight", "1.bias", "1.running_mean", "1.running_var"):
            state[f"{body}.{name}"] = state[f"{body}.{name}"][kept]
        state[f"{body}.3.weight"] = state[f"{body}.3.weight"][:, kept]
    smaller = Supervised(with_inner(model.config, inner))
    smaller.load_state_dict(state)
    return smaller.eval()
