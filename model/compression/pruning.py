"""Smaller task models: whole heads, channels and blocks taken out.

Tensors get smaller, and so do file, memory and time. All blocks lose the same number of heads and channels, though not
the same ones, so that a plain configuration rebuilds the model, and everything that loads, exports or trains a
`Classifier` takes it as any other. What the attention over channels mixes are slices of the tokens themselves, which
pruning leaves alone; its keys get narrower. What is kept is what `model.compression.importance` finds most important.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from model.classifier import Classifier, ClassifierConfig
from model.compression.importance import Scores
from model.encoder_config import EncoderConfig
from model.heads import usual_hidden_dim
from model.layers.stem import inner_width

Method = Literal["mixed", "heads", "mlp", "stem", "blocks"]
"""What is taken out; "mixed" takes of everything but blocks."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """How much of everything that can be removed there is."""

    blocks: int
    """Blocks of the trunk."""
    temporal_heads: int
    """Heads of each block's attention over time."""
    key_dim: int
    """Key channels of each head of each block's attention over channels."""
    mlp_dim: int
    """Channels of each block's feed-forward."""
    stem_dim: int
    """Channels of a patch; the stem's second convolution has half as many."""
    head_dim: int
    """Hidden channels of the classifier head."""


_PARTS: dict[Method, tuple[str, ...]] = {
    "mixed": ("temporal_heads", "key_dim", "mlp_dim", "stem_dim", "head_dim"),
    "heads": ("temporal_heads", "key_dim"),
    "mlp": ("mlp_dim", "head_dim"),
    "stem": ("stem_dim",),
    "blocks": ("blocks",),
}
"""What a method removes."""


def shape_of(config: ClassifierConfig) -> Shape:
    """Return the shape of a task model."""
    encoder = EncoderConfig(**config.encoder)
    head_dim = usual_hidden_dim(encoder) if config.head_dim is None else config.head_dim
    return Shape(blocks=encoder.depth, stem_dim=encoder.stem_dim, head_dim=head_dim, **encoder.widths)


def with_shape(config: ClassifierConfig, shape: Shape) -> ClassifierConfig:
    """Return a copy of the configuration with another shape."""
    fields = asdict(shape)
    head_dim, depth = fields.pop("head_dim"), fields.pop("blocks")
    changed = {**config.to_dict(), "encoder": {**config.encoder, **fields, "depth": depth}, "head_dim": head_dim}
    return ClassifierConfig.from_dict(changed)


def n_parameters(config: ClassifierConfig) -> int:
    """Return how many parameters a task model of this configuration has, without making them."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in Classifier(config).parameters())


def plan(config: ClassifierConfig, method: Method, share: float) -> Shape:
    """Return the largest shape that has at least `share` fewer parameters, every part cut by the same ratio.

    Raises ValueError for an unknown method, a share outside (0, 1), and one that the method cannot reach: it says what
    can be reached.
    """
    if method not in get_args(Method):
        raise ValueError(f"unknown method {method!r}; methods are {', '.join(get_args(Method))}")
    whole, before = shape_of(config), n_parameters(config)
    sizes = {name: getattr(whole, name) for name in _PARTS[method]}
    n_steps = max(sizes.values())

    def shape(step: int) -> Shape:
        return replace(whole, **{name: max(1, round(size * step / n_steps)) for name, size in sizes.items()})

    def kept(step: int) -> float:
        return n_parameters(with_shape(config, shape(step))) / before

    return shape(largest_step(kept, n_steps, share, what=f"method {method!r} can remove", before=before))


def largest_step(kept: Callable[[int], float], n_steps: int, share: float, *, what: str, before: int) -> int:
    """Return the last of the steps 1, 2, ... below `n_steps` that keeps at most 1 - share of the parameters.

    Raises ValueError for a share outside (0, 1), and for one that not even the first step reaches.
    """
    if not 0 < share < 1:
        raise ValueError(f"share={share} must lie between 0 and 1")
    step = bisect_right(range(1, n_steps), 1 - share, key=kept)
    if not step:
        raise ValueError(f"{what} at most {1 - kept(1):.0%} of this model's {before:,} parameters, not {share:.0%}")
    return step


def prune(classifier: Classifier, shape: Shape, scores: Scores) -> Classifier:
    """Return a new, smaller classifier that keeps the most important units; raises ValueError for a larger shape,
    and for one with low-rank adapters.

    Blocks go first: what is kept inside of the others does not depend on them.
    """
    whole = shape_of(classifier.config)
    if (classifier.encoder.config.adapter or {}).get("kind") == "lora":
        raise ValueError(
            "low-rank adapters stand in the way of pruning: merge them first (model.layers.adapters.merge_adapters)"
        )
    if grown := [name for name, size in asdict(shape).items() if not 1 <= size <= getattr(whole, name)]:
        raise ValueError(
            f"{grown[0]}={getattr(shape, grown[0])} must be at least 1, at most {getattr(whole, grown[0])}"
        )
    blocks = best(scores["blocks"], shape.blocks).tolist()
    cuts = _cuts(classifier, shape, scores)
    state = {}
    for name, value in classifier.state_dict().items():
        new_name = _renamed(name, blocks)
        if new_name is not None:
            for dim, index in cuts.get(name, ()):
                value = value.index_select(dim, index)
            state[new_name] = value.clone()
    smaller = Classifier(with_shape(classifier.config, shape))
    smaller.load_state_dict(state)
    return smaller.eval()


def best(scores_U: Tensor, n: int) -> Tensor:
    """Return which units to keep, in their old order; along the last axis."""
    return scores_U.topk(n, dim=-1).indices.sort(dim=-1).values


def _renamed(name: str, blocks: Sequence[int]) -> str | None:
    """Return what a tensor is called where only these blocks are left, None for one of a removed block."""
    head, found, tail = name.partition("encoder.blocks.")
    if not found:
        return name
    number, _, rest = tail.partition(".")
    return f"{head}{found}{blocks.index(int(number))}.{rest}" if int(number) in blocks else None


Cuts = dict[str, list[tuple[int, Tensor]]]
"""Tensor by its old name -> (axis, which to keep)."""


def _cuts(classifier: Classifier, shape: Shape, scores: Scores) -> Cuts:
    cuts: Cuts = {}

    def leads_in(layer: str, index: Tensor) -> None:
        cuts.setdefault(f"{layer}.weight", []).append((0, index))
        cuts.setdefault(f"{layer}.bias", []).append((0, index))

    def leads_out(layer: str, index: Tensor) -> None:
        cuts.setdefault(f"{layer}.weight", []).append((1, index))

    whole, config = shape_of(classifier.config), classifier.encoder.config
    for number, block in enumerate(classifier.encoder.blocks):
        at = f"encoder.blocks.{number}"
        heads = best(scores["temporal_heads"][number], shape.temporal_heads)
        leads_in(f"{at}.temporal.qkv", _flat(heads, (3, whole.temporal_heads, config.head_dim)))
        leads_out(f"{at}.temporal.out", _flat(heads, (1, whole.temporal_heads, config.head_dim)))
        channels = best(scores["mlp_dim"][number], shape.mlp_dim)
        leads_in(f"{at}.mlp.0", channels)
        leads_out(f"{at}.mlp.2", channels)
        if hasattr(block, "spatial"):
            keys_HU = best(scores["key_dim"][number], shape.key_dim)
            numbers_HU = torch.arange(config.n_heads)[:, None] * whole.key_dim + keys_HU
            leads_in(f"{at}.spatial.query_key", _repeated(numbers_HU.flatten(), 2, config.n_heads * whole.key_dim))
    wide, narrow = best(scores["wide"], inner_width(shape.stem_dim)), best(scores["stem_dim"], shape.stem_dim)
    leads_in("encoder.stem.convs.1", wide)
    leads_out("encoder.stem.convs.2", wide)
    leads_in("encoder.stem.convs.2", narrow)
    leads_out("encoder.stem.merge", _repeated(narrow, config.merge, whole.stem_dim))
    hidden = best(scores["head_dim"], shape.head_dim)
    leads_in("head.hidden.1", hidden)
    leads_out("head.classes", hidden)
    return cuts


def _flat(units: Tensor, layout: tuple[int, int, int]) -> Tensor:
    """Return the rows of whole units in a tensor whose axis is laid out as (times, units, rows of a unit)."""
    n_times, n_units, n_rows = layout
    return torch.arange(n_times * n_units * n_rows).reshape(layout)[:, units].flatten()


def _repeated(index: Tensor, n_times: int, size: int) -> Tensor:
    """Return the index in each of `n_times` stretches of `size`."""
    return torch.cat([index + i * size for i in range(n_times)])
