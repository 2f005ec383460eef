"""A multi-scale one-dimensional network: waves of several lengths side by side, then residual blocks.

Szegedy et al. 2015 (branches of several kernels), He et al. 2016, Hu et al. 2018 (`ResidualBlock`). For twelve leads
the kernels are as long as a Q wave, a QRS complex and a T wave; it takes any channels and rate.

Shapes: B batch, C channel, T sample, D width, N step of time, K class.
"""

import torch
from torch import Tensor, nn

from model.supervised.networks import NetworkShape, SpanPool
from model.supervised.resnet_gru import ResidualBlock

KERNELS_S = (0.05, 0.11, 0.31)
"""About a Q wave, a QRS complex, a T wave."""


class MultiScaleNet(nn.Module):
    """Branches of several kernel lengths at half the rate, residual blocks, pooling, one linear layer."""

    def __init__(
        self,
        shape: NetworkShape,
        *,
        dropout: float = 0.25,
        widths: tuple[int, ...] = (24, 32, 48),
        kernels_s: tuple[float, ...] = KERNELS_S,
    ) -> None:
        """Take the width of all branches together, then of each residual block, which halves the rate."""
        super().__init__()
        branch = -(-widths[0] // len(kernels_s))
        lengths = [max(3, round(length_s * shape.sfreq)) | 1 for length_s in kernels_s]
        self.branches = nn.ModuleList(
            nn.Conv1d(shape.n_chans, branch, length, 2, length // 2, bias=False) for length in lengths
        )
        first = branch * len(kernels_s)
        self.join = nn.Sequential(nn.BatchNorm1d(first), nn.ReLU())
        sizes = zip((first, *widths[1:-1]), widths[1:], widths[1:], strict=True)
        self.blocks = nn.Sequential(*(ResidualBlock(*size) for size in sizes))
        self.dim, self.step_s = widths[-1], 2 ** len(widths) / shape.sfreq
        self.pool = SpanPool(self.step_s, shape.span_s)
        self.dropout = nn.Dropout(dropout)
        self.classes = nn.Linear(self.pool.width(self.dim), shape.n_classes)

    def steps(self, x_BCT: Tensor) -> Tensor:
        """Return what is made of each step of time, shape (B, D, N)."""
        steps_BDN: Tensor = self.blocks(self.join(torch.cat([branch(x_BCT) for branch in self.branches], 1)))
        return steps_BDN

    def forward(self, x_BCT: Tensor) -> tuple[Tensor, Tensor]:
        """Return (logits_BK, embedding_BD)."""
        embedding_BD = self.pool(self.steps(x_BCT))
        return self.classes(self.dropout(embedding_BD)), embedding_BD
