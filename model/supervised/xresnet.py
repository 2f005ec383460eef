"""A deep one-dimensional residual network of bottlenecks, as PTB-XL's benchmark has it: xresnet1d101.

He et al. 2019 (doi:10.1109/CVPR.2019.00065, the stem and the shortcut), Strodthoff et al. 2021
(doi:10.1109/JBHI.2020.3022989, one-dimensional, all stages of one width). Pooling is this project's, which knows where
a label speaks.

Shapes: B batch, C channel, T sample, D width, N step of time, K class.
"""

import torch
from torch import Tensor, nn

from model.supervised.networks import NetworkShape, SpanPool

STEM, KERNEL, EXPANSION = (32, 32, 64), 5, 4
LAYERS_101 = (3, 4, 23, 3)


class XResNet(nn.Module):
    """A stem of three convolutions, stages of bottlenecks of which each but the first halves the rate, pooling."""

    def __init__(
        self, shape: NetworkShape, *, dropout: float = 0.25, layers: tuple[int, ...] = LAYERS_101, inner: int = 64
    ) -> None:
        """Take the number of bottlenecks of each stage, and how many channels each has inside."""
        super().__init__()
        sizes = zip((shape.n_chans, *STEM[:-1]), STEM, (2, 1, 1), strict=True)
        stem = [_convolution(before, after, KERNEL, stride) for before, after, stride in sizes]
        blocks: list[nn.Module] = []
        before, after = STEM[-1], inner * EXPANSION
        for stage, n_blocks in enumerate(layers):
            for number in range(n_blocks):
                blocks.append(Bottleneck(before, inner, stride=2 if stage and not number else 1))
                before = after
        self.body = nn.Sequential(*stem, nn.MaxPool1d(3, 2, 1), *blocks)
        self.pool = SpanPool(4 * 2 ** (len(layers) - 1) / shape.sfreq, shape.span_s)
        self.dropout = nn.Dropout(dropout)
        self.classes = nn.Linear(self.pool.width(after), shape.n_classes)

    def forward(self, x_BCT: Tensor) -> tuple[Tensor, Tensor]:
        """Return (logits_BK, embedding_BD)."""
        embedding_BD = self.pool(self.body(x_BCT))
        return self.classes(self.dropout(embedding_BD)), embedding_BD


class Bottleneck(nn.Module):
    """Convolutions of 1, 5 and 1 samples beside a shortcut, which averages where the rate is halved."""

    def __init__(self, before: int, inner: int, *, stride: int) -> None:
        super().__init__()
        after = inner * EXPANSION
        last = _convolution(inner, after, 1, 1, active=False)
        nn.init.zeros_(last[1].weight)  # a block begins as its shortcut
        self.body = nn.Sequential(_convolution(before, inner, 1, 1), _convolution(inner, inner, KERNEL, stride), last)
        shortcut: list[nn.Module] = [nn.AvgPool1d(2, ceil_mode=True)] if stride > 1 else []
        if before != after:
            shortcut.append(_convolution(before, after, 1, 1, active=False))
        self.shortcut = nn.Sequential(*shortcut)

    def forward(self, x_BDT: Tensor) -> Tensor:
        """Return the steps that go on, shape (B, 4 * inner, ceil(T / stride))."""
        return torch.relu(self.body(x_BDT) + self.shortcut(x_BDT))


def _convolution(before: int, after: int, kernel: int, stride: int, *, active: bool = True) -> nn.Sequential:
    layers = [nn.Conv1d(before, after, kernel, stride, kernel // 2, bias=False), nn.BatchNorm1d(after)]
    return nn.Sequential(*layers, *([nn.ReLU()] if active else []))
