"""InceptionTime for windows of many channels, as PTB-XL's benchmark has it: inception1d.

Ismail Fawaz et al. 2020 (doi:10.1007/s10618-020-00710-y), Strodthoff et al. 2021 (doi:10.1109/JBHI.2020.3022989).
Kernels are 39, 19 and 9 samples, made for 100 Hz. Pooling is this project's, which knows where a label speaks.

Shapes: B batch, C channel, T sample, D width, K class.
"""

import torch
from torch import Tensor, nn

from model.supervised.networks import NetworkShape, SpanPool

KERNELS = (39, 19, 9)


class InceptionTime(nn.Module):
    """Mixers of convolutions of several lengths side by side, a shortcut past every three of them, pooling."""

    def __init__(self, shape: NetworkShape, *, dropout: float = 0.25, depth: int = 6, width: int = 32) -> None:
        """Take the number of modules, and the channels of each of their four branches."""
        super().__init__()
        dim = width * (len(KERNELS) + 1)
        self.mixers = nn.ModuleList(Mixer(dim if n else shape.n_chans, width) for n in range(depth))
        sources = (shape.n_chans if n == 0 else dim for n in range(depth // 3))
        self.shortcuts = nn.ModuleList(
            nn.Sequential(nn.Conv1d(before, dim, 1, bias=False), nn.BatchNorm1d(dim)) for before in sources
        )
        self.pool = SpanPool(1 / shape.sfreq, shape.span_s)
        self.dropout = nn.Dropout(dropout)
        self.classes = nn.Linear(self.pool.width(dim), shape.n_classes)

    def forward(self, x_BCT: Tensor) -> tuple[Tensor, Tensor]:
        """Return (logits_BK, embedding_BD)."""
        x_BDT = kept_BDT = x_BCT
        for number, mixer in enumerate(self.mixers):
            x_BDT = mixer(x_BDT)
            if number % 3 == 2:
                x_BDT = kept_BDT = torch.relu(x_BDT + self.shortcuts[number // 3](kept_BDT))
        embedding_BD = self.pool(x_BDT)
        return self.classes(self.dropout(embedding_BD)), embedding_BD


class Mixer(nn.Module):
    """Three convolutions of a narrowed input and one of its running maximum, joined."""

    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.narrow = nn.Conv1d(before, width, 1, bias=False) if before > width else nn.Identity()
        inner = width if before > width else before
        self.branches = nn.ModuleList(nn.Conv1d(inner, width, k, padding=k // 2, bias=False) for k in KERNELS)
        self.largest = nn.Sequential(nn.MaxPool1d(3, 1, 1), nn.Conv1d(before, width, 1, bias=False))
        self.join = nn.Sequential(nn.BatchNorm1d(width * (len(KERNELS) + 1)), nn.ReLU())

    def forward(self, x_BDT: Tensor) -> Tensor:
        """Return as many steps, shape (B, 4 * width, T)."""
        narrow_BDT = self.narrow(x_BDT)
        parts = [*(branch(narrow_BDT) for branch in self.branches), self.largest(x_BDT)]
        joined_BDT: Tensor = self.join(torch.cat(parts, 1))
        return joined_BDT
