"""Micro-batches of several montages: windows of nearly as many channels and of one length share a forward pass.

A micro-batch of fewer channels is padded with absent ones, which nothing reads: what is drawn, lost and learnt of a
window is what it would be alone.
"""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from signals.window import ABSENT
from training.corpus.order import MicroBatch

CHANNELS = 8
"""Channels are counted in eights: 19 and 23 share a bucket, 19 and 64 do not."""
Part = tuple[int, MicroBatch]
"""A micro-batch, and the number of its source."""


def bucketed(parts: Sequence[Part], n_chans: Sequence[int], *, most: int) -> list[list[Part]]:
    """Return micro-batches in groups that share a forward pass, of at most `most` windows; order is kept.

    Only windows of different sources are joined: those of one come grouped already. n_chans: of each source.
    """
    groups: list[list[Part]] = []
    open_groups: dict[tuple[int, int], list[Part]] = {}
    for number, micro in parts:
        key = (-(-n_chans[number] // CHANNELS), micro.n_times)
        group = open_groups.get(key)
        if (
            group is None
            or any(other == number for other, _ in group)
            or sum(len(part.windows) for _, part in group) + len(micro.windows) > most
        ):
            group = open_groups[key] = []
            groups.append(group)
        group.append((number, micro))
    return groups


def stacked(batches: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return micro-batches as one, padded to the most channels among them."""
    most = max(batch["ch_state_BC"].shape[1] for batch in batches)
    ready = [padded(batch, most) for batch in batches]
    return {name: torch.cat([batch[name] for batch in ready]) for name in ready[0]}


def padded(batch: Mapping[str, Tensor], n_chans: int) -> dict[str, Tensor]:
    """Return a micro-batch with absent channels behind its own, of which a name's letters say where they stand."""
    return {name: _padded(name, values, n_chans) for name, values in batch.items()}


def _padded(name: str, values: Tensor, n_chans: int) -> Tensor:
    """Return a tensor with each dimension that its name calls C filled up to so many."""
    missing = [0] * 2 * values.ndim
    for place, letter in enumerate(reversed(name.rpartition("_")[2])):
        if letter == "C":
            missing[2 * place + 1] = n_chans - values.shape[-1 - place]
    if not any(missing):
        return values
    filling = ABSENT if name == "ch_state_BC" else False if values.dtype == torch.bool else 0
    return F.pad(values, missing, value=filling)
