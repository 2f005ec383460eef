"""Supervised networks: windows in, classes out, trained from nothing on labelled windows alone.

A network is built as `NETWORKS[name](shape, dropout=..., **options)` and called as `network(x_BCT)`; it returns logits
and the embedding that they come from, for windows of any length that holds the label's span.

Shapes: B batch, C channel, T sample, D width, K class.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from model.eegnet import EEGNet
from model.networks import NetworkShape
from model.resnet_gru import ResNetGRU
from signals.modality import Modality
from signals.normalise import Normaliser
from signals.tasks import Task
from signals.windows import ABSENT

NETWORKS: dict[str, Callable[..., nn.Module]] = {"eegnet": EEGNet, "resnet_gru": ResNetGRU}
"""Networks by name."""


class Supervised(nn.Module):
    """A network with what is needed to use it on a window; absent channels are zeros."""

    def __init__(
        self,
        name: str,
        task: Task,
        modality: Modality,
        normaliser: Normaliser,
        *,
        dropout: float,
        **options: Any,
    ) -> None:
        """Build network `name`; raises ValueError, naming those there are, for an unknown one."""
        super().__init__()
        if name not in NETWORKS:
            raise ValueError(f"unknown network {name!r}; networks are {', '.join(sorted(NETWORKS))}")
        self.modality, self.normaliser = modality, normaliser
        shape = NetworkShape(
            n_chans=modality.n_chans, sfreq=modality.sfreq, n_classes=len(task.classes), span_s=task.label_span_s
        )
        self.network = NETWORKS[name](shape, dropout=dropout, **options)

    def forward(self, x_BCT: Tensor, ch_state_BC: Tensor) -> tuple[Tensor, Tensor]:
        """Return (logits_BK, embedding_BD) of normalised windows."""
        logits_BK, embedding_BD = self.network(torch.where((ch_state_BC != ABSENT)[..., None], x_BCT, 0.0))
        return logits_BK, embedding_BD
