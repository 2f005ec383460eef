"""Smaller ResNet1D-GRUs: channels between the convolutions of each residual block, and units of the GRU, taken out.

The channels hold two thirds of the parameters, and nothing else hangs on them. A unit's places in the output stay, as
zeros: what follows is normalised over the full width, and so the network computes what it computed with those channels
and units silent. A unit is silent where its candidate's weights and biases are zero, since its state begins at zero.

Shapes: B batch, U channel between the convolutions or unit of the GRU, T step, K class.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from model.compression.importance import Example, Importance, loss_with_gradients
from model.compression.pruning import best, largest_step
from model.supervised.resnet_gru import ResidualBlock
from model.supervised.supervised import Supervised, SupervisedConfig

NETWORK = "resnet_gru"
"""The one network whose channels and units can be taken out."""
DIRECTIONS = ("", "_reverse")
"""Ends of the names of a GRU's weights: forwards in time, backwards."""
GATED = tuple(f"{kind}_l0" for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
"""Weights of a GRU whose rows are units' gates: reset, update, candidate."""


@dataclass(frozen=True)
class Widths:
    """How much of everything that can be taken out there is."""

    inner: tuple[int, ...]
    """Channels between the convolutions of each block."""
    units: int
    """Units of each direction of the GRU."""


@dataclass(frozen=True)
class WidthScores:
    """How much each of them matters."""

    inner: tuple[Tensor, ...]
    """Block by block, shape (U,)."""
    units: tuple[Tensor, Tensor]
    """Forwards and backwards, shape (U,)."""


def residual_blocks(model: Supervised) -> list[ResidualBlock]:
    """Return the residual blocks; raises ValueError for another network."""
    if model.config.network != NETWORK:
        raise ValueError(f"network {model.config.network!r} has no residual blocks of its own; {NETWORK} has")
    return [block for block in model.network.blocks if isinstance(block, ResidualBlock)]


def widths_of(model: Supervised) -> Widths:
    """Return what there is; raises ValueError for another network."""
    inner = tuple(block.body[3].in_channels for block in residual_blocks(model))
    return Widths(inner, model.network.gru.hidden_size)


def with_widths(config: SupervisedConfig, widths: Widths) -> SupervisedConfig:
    """Return a copy of the configuration with other widths."""
    options = {**config.options, "inner": list(widths.inner), "units": widths.units}
    return SupervisedConfig.from_dict({**config.to_dict(), "options": options})


def plan_widths(model: Supervised, share: float) -> Widths:
    """Return the most channels and units that make `share` fewer parameters, all cut by the same ratio.

    Raises ValueError for a share outside (0, 1), and one that cannot be reached.
    """
    whole, before = widths_of(model), sum(p.numel() for p in model.parameters())
    n_steps = max(*whole.inner, whole.units)

    def cut(step: int) -> Widths:
        inner = tuple(max(1, round(size * step / n_steps)) for size in whole.inner)
        return Widths(inner, max(1, round(whole.units * step / n_steps)))

    def kept(step: int) -> float:
        with torch.device("meta"):
            smaller = Supervised(with_widths(model.config, cut(step)))
        return sum(p.numel() for p in smaller.parameters()) / before

    return cut(largest_step(kept, n_steps, share, what="blocks and GRU can lose", before=before))


def width_scores(model: Supervised, importance: Importance, examples: Iterable[Example]) -> WidthScores:
    """Return the importance of channels and units, as `model.compression.importance` defines it.

    Of a unit "taylor" takes its candidate's weights for what falls silent, so that what it does to other units at later
    steps counts too. Raises ValueError where "taylor" is given no window, and for another network.
    """
    blocks = residual_blocks(model)
    if importance == "magnitude":
        inner = (block.body[0].weight.norm(dim=(1, 2)) * block.body[3].weight.norm(dim=(0, 2)) for block in blocks)
        return WidthScores(tuple(inner), _unit_norms(model))
    sums: list[Tensor] = []
    with _Listening(model, blocks) as listening:
        for x_BCT, ch_state_BC, _, target_BK in examples:
            for one in torch.arange(len(x_BCT)).split(1):  # signs cancel within a window, never between windows
                sizes = listening.changes(x_BCT[one], ch_state_BC[one], target_BK[one])
                sums = [a + b for a, b in zip(sums, sizes, strict=True)] if sums else sizes
    if not sums:
        raise ValueError("importance needs at least one window")
    *channels, forwards, backwards = sums
    return WidthScores(tuple(channels), (forwards, backwards))


class _Listening:
    """What the loss of a window would change by without each channel and unit, to first order."""

    def __init__(self, model: Supervised, blocks: Sequence[ResidualBlock]) -> None:
        self.model, self.blocks = model.eval(), blocks
        self._seen: list[Tensor] = []

    def __enter__(self) -> "_Listening":
        self._weights = [getattr(self.model.network.gru, name + end) for end in DIRECTIONS for name in GATED]
        self._frozen = [weight for weight in self._weights if not weight.requires_grad]
        for weight in self._frozen:
            weight.requires_grad_(True)
        self._handles = [
            block.body[3].register_forward_pre_hook(lambda _, args: self._seen.append(args[0])) for block in self.blocks
        ]
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()
        for weight in self._frozen:
            weight.requires_grad_(False)

    def changes(self, x_BCT: Tensor, ch_state_BC: Tensor, target_BK: Tensor) -> list[Tensor]:
        """Return absolute changes of one window: of each block's channels, units forwards, units backwards."""
        self._seen.clear()
        loss = loss_with_gradients(self.model, x_BCT, ch_state_BC, None, target_BK)
        n_blocks, parts = len(self.blocks), [*self._seen, *self._weights]
        changes = [(part * grad).detach() for part, grad in zip(parts, torch.autograd.grad(loss, parts), strict=True)]
        of_weights = [_candidate(change).flatten(1).sum(1) for change in changes[n_blocks:]]
        units = torch.stack(of_weights).unflatten(0, (len(DIRECTIONS), len(GATED))).sum(1).abs()
        return [change.sum(-1).abs().sum(0) for change in changes[:n_blocks]] + list(units)


def _candidate(weight: Tensor) -> Tensor:
    """Return the candidate's rows of a GRU's weight or bias, (U, inputs) or (U, 1): gates are stacked."""
    rows = weight.unflatten(0, (3, -1))[2]
    return rows if rows.ndim > 1 else rows[:, None]


def _unit_norms(model: Supervised) -> tuple[Tensor, Tensor]:
    """Return the norms of what leads into units times those of what leads out, to later steps and to attention."""
    gru, reads = model.network.gru, model.network.attention.in_proj_weight[:, _places(model)].chunk(2, dim=1)
    norms = []
    for end, read in zip(DIRECTIONS, reads, strict=True):
        into = torch.cat([_candidate(getattr(gru, name + end)) for name in GATED], dim=1).norm(dim=1)
        norms.append((into * torch.cat([getattr(gru, f"weight_hh_l0{end}"), read]).norm(dim=0)).detach())
    forwards, backwards = norms
    return forwards, backwards


def _places(model: Supervised) -> Tensor:
    """Return the place of each unit in the full width, those forwards first."""
    gru, dim = model.network.gru, model.network.attention.embed_dim
    source_D = model.state_dict().get("network.scatter.source_D", torch.arange(dim))
    return torch.nonzero(source_D < 2 * gru.hidden_size)[:, 0]


def narrow(model: Supervised, widths: Widths, scores: WidthScores) -> Supervised:
    """Return a new, smaller network that keeps the most important channels and units.

    Raises ValueError for more of anything than there is.
    """
    whole = widths_of(model)
    pairs = [*zip(widths.inner, whole.inner, strict=False), (widths.units, whole.units)]
    if len(widths.inner) != len(whole.inner) or any(not 1 <= n <= size for n, size in pairs):
        raise ValueError(f"{widths} must be at least 1 and at most {whole}, each for itself")
    state = model.state_dict()
    for number, (n, score_U) in enumerate(zip(widths.inner, scores.inner, strict=True)):
        kept, body = best(score_U, n), f"network.blocks.{number}.body"
        for name in ("0.weight", "1.weight", "1.bias", "1.running_mean", "1.running_var"):
            state[f"{body}.{name}"] = state[f"{body}.{name}"][kept]
        state[f"{body}.3.weight"] = state[f"{body}.3.weight"][:, kept]
    smaller = Supervised(with_widths(model.config, widths))
    smaller.load_state_dict({**state, **_fewer_units(model, state, widths.units, scores.units)})
    return smaller.eval()


def _fewer_units(
    model: Supervised, state: Mapping[str, Tensor], n_units: int, scores: tuple[Tensor, Tensor]
) -> dict[str, Tensor]:
    """Return the GRU's tensors with its most important units, and where in the full width they are."""
    changed, size = {}, model.network.gru.hidden_size
    kept = [best(score_U, n_units) for score_U in scores]
    for end, units in zip(DIRECTIONS, kept, strict=True):
        for name in (f"network.gru.{part}{end}" for part in GATED):
            rows = state[name].unflatten(0, (3, size))[:, units].flatten(0, 1)
            changed[name] = rows[:, units] if "weight_hh" in name else rows
    source_D = torch.full((model.network.attention.embed_dim,), 2 * n_units)
    source_D[_places(model)[torch.cat([kept[0], size + kept[1]])]] = torch.arange(2 * n_units)
    return {**changed, "network.scatter.source_D": source_D}
