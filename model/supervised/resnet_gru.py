"""A one-dimensional residual network with squeeze-and-excitation, a bidirectional GRU and self-attention on raw EEG.

He et al. 2016 (residual blocks), Hu et al. 2018 (squeeze-and-excitation), Cho et al. 2014 (GRU), Vaswani et al. 2017
(attention).

Shapes: B batch, C channel, T sample, D width, N step of time, K class.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.supervised.networks import NetworkShape, SpanPool

STEM_STRIDE, STEM_KERNEL, BLOCK_KERNEL = 4, 15, 7


class StepNetwork(nn.Module):
    """Convolutions shorten 256 Hz to 4 steps a second; the GRU and attention relate the steps to each other."""

    def __init__(
        self,
        n_chans: int,
        *,
        dropout: float = 0.25,
        widths: tuple[int, ...] = (24, 48, 48),
        inner: tuple[int, ...] | None = None,
        units: int | None = None,
        n_heads: int = 4,
        last_pool: int = 2,
    ) -> None:
        """Take one residual block for each of `widths`, each of which halves the rate.

        inner: channels between the two convolutions of each block; as many as its width without. units: of each
        direction of the GRU; half of the last width without. Raises ValueError for more units than that.
        """
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv1d(n_chans, widths[0], STEM_KERNEL, STEM_STRIDE, STEM_KERNEL // 2, bias=False),
            nn.BatchNorm1d(widths[0]),
            nn.ReLU(),
        )
        sizes = zip((widths[0], *widths[:-1]), inner or widths, widths, strict=True)
        self.blocks = nn.Sequential(*(ResidualBlock(*size) for size in sizes), nn.AvgPool1d(last_pool))
        self.dim, self.step_times = widths[-1], STEM_STRIDE * 2 ** len(widths) * last_pool
        if units is not None and not 1 <= units <= self.dim // 2:
            raise ValueError(f"units={units} must be at least 1 and at most {self.dim // 2}")
        self.gru = nn.GRU(self.dim, units or self.dim // 2, batch_first=True, bidirectional=True)
        self.scatter = nn.Identity() if units is None else Scatter(2 * units, self.dim)
        self.attention = nn.MultiheadAttention(self.dim, n_heads, dropout=dropout, batch_first=True)
        self.norm = nn.LayerNorm(self.dim)

    def steps(self, x_BCT: Tensor) -> Tensor:
        """Return a row for each `step_times` samples, of all channels together, shape (B, N, D)."""
        x_BND = self.scatter(self.gru(self.blocks(self.stem(x_BCT)).transpose(1, 2))[0])
        attended_BND, _ = self.attention(x_BND, x_BND, x_BND, need_weights=False)
        return self.norm(x_BND + attended_BND)


class ResNetGRU(StepNetwork):
    """Classes of a window from its steps of time (`StepNetwork`)."""

    def __init__(self, shape: NetworkShape, *, dropout: float = 0.25, **options: Any) -> None:
        """Take the options of `StepNetwork`; raises ValueError as it does."""
        super().__init__(shape.n_chans, dropout=dropout, **options)
        self.pool = SpanPool(self.step_times / shape.sfreq, shape.span_s)
        self.dropout = nn.Dropout(dropout)
        self.classes = nn.Linear(self.pool.width(self.dim), shape.n_classes)

    def forward(self, x_BCT: Tensor) -> tuple[Tensor, Tensor]:
        """Return (logits_BK, embedding_BD)."""
        embedding_BD = self.pool(self.steps(x_BCT).transpose(1, 2))
        return self.classes(self.dropout(embedding_BD)), embedding_BD


class Scatter(nn.Module):
    """Units of a narrower GRU at their places among the full width; zero where no unit is."""

    source_D: Tensor

    def __init__(self, n_units: int, dim: int) -> None:
        super().__init__()
        # Which unit fills each place; n_units, one past the last, for none.
        self.register_buffer("source_D", torch.arange(dim).clamp(max=n_units))

    def forward(self, x_BNU: Tensor) -> Tensor:
        """Return the full width, shape (B, N, D)."""
        return F.pad(x_BNU, (0, 1))[..., self.source_D]


class ResidualBlock(nn.Module):
    """Two convolutions at half the rate, squeezed and excited, beside a shortcut."""

    def __init__(self, before: int, inner: int, after: int, *, reduction: int = 4) -> None:
        super().__init__()
        pad = BLOCK_KERNEL // 2
        self.body = nn.Sequential(
            nn.Conv1d(before, inner, BLOCK_KERNEL, 2, pad, bias=False),
            nn.BatchNorm1d(inner),
            nn.ReLU(),
            nn.Conv1d(inner, after, BLOCK_KERNEL, 1, pad, bias=False),
            nn.BatchNorm1d(after),
        )
        self.excite = nn.Sequential(
            nn.Linear(after, after // reduction), nn.ReLU(), nn.Linear(after // reduction, after), nn.Sigmoid()
        )
        self.shortcut = nn.Sequential(nn.Conv1d(before, after, 1, 2, bias=False), nn.BatchNorm1d(after))

    def forward(self, x_BDT: Tensor) -> Tensor:
        """Return half as many steps, shape (B, after, ceil(T / 2))."""
        y_BDT = self.body(x_BDT)
        y_BDT = y_BDT * self.excite(y_BDT.mean(-1))[..., None]
        return torch.relu(y_BDT + self.shortcut(x_BDT))
