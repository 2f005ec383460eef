"""A compact network in the manner of EEGNet (Lawhern et al. 2018, J Neural Eng 15:056013).

Two differences: the spatial filters come first, which is the same linear map at an eighth of the work, as temporal and
spatial filters commute; and time is pooled, not flattened, so that any length fits and the label's span counts apart.

Shapes: B batch, C channel, T sample, F filter, N pooled step, K class, D width.
"""

import numpy as np
import torch
from scipy import signal
from torch import Tensor, nn

from model.supervised.networks import NetworkShape, SpanPool

_WORKING_HZ = 128.0


class EEGNet(nn.Module):
    """Spatial filters, 128 Hz, half-second temporal filters, a separable convolution, pooling, one linear layer."""

    def __init__(
        self, shape: NetworkShape, *, dropout: float = 0.25, n_filters: int = 16, pools: tuple[int, int] = (4, 8)
    ) -> None:
        """Take `n_filters` pairs of a spatial and a temporal filter; `pools` shorten time after each convolution."""
        super().__init__()
        self.decimate = Decimate(max(1, round(shape.sfreq / _WORKING_HZ)))
        sfreq = shape.sfreq / self.decimate.factor
        self.spatial = nn.Conv1d(shape.n_chans, n_filters, 1, bias=False)
        self.temporal = nn.Sequential(
            _depthwise(n_filters, round(sfreq / 2)),
            nn.BatchNorm1d(n_filters),
            nn.ELU(),
            nn.AvgPool1d(pools[0]),
            nn.Dropout(dropout),
        )
        self.separable = nn.Sequential(
            _depthwise(n_filters, round(sfreq / 2 / pools[0])),
            nn.Conv1d(n_filters, n_filters, 1, bias=False),
            nn.BatchNorm1d(n_filters),
            nn.ELU(),
            nn.AvgPool1d(pools[1]),
            nn.Dropout(dropout),
        )
        self.pool = SpanPool(pools[0] * pools[1] / sfreq, shape.span_s)
        self.classes = nn.Linear(self.pool.width(n_filters), shape.n_classes)

    def forward(self, x_BCT: Tensor) -> tuple[Tensor, Tensor]:
        """Return (logits_BK, embedding_BD)."""
        x_BFT = self.decimate(self.spatial(x_BCT))
        embedding_BD = self.pool(self.separable(self.temporal(x_BFT)))
        return self.classes(embedding_BD), embedding_BD


def _depthwise(n_filters: int, length: int) -> nn.Conv1d:
    return nn.Conv1d(n_filters, n_filters, length | 1, padding=length // 2, groups=n_filters, bias=False)


class Decimate(nn.Module):
    """A fixed low-pass (windowed sinc, 0.8 of the new Nyquist frequency), then every `factor`-th sample."""

    taps_S: Tensor

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor
        taps = signal.firwin(16 * factor + 1, 0.8 / factor) if factor > 1 else np.ones(1)
        self.register_buffer("taps_S", torch.from_numpy(taps).float())  # saved: loading fills in nothing that is not

    def forward(self, x_BCT: Tensor) -> Tensor:
        """Return the signal at a `factor`-th of the rate, shape (B, C, ceil(T / factor))."""
        if self.factor == 1:
            return x_BCT
        n_taps = self.taps_S.shape[0]
        # A product over a strided view: six times as fast on a CPU as a convolution of single channels.
        return nn.functional.pad(x_BCT, (n_taps // 2, n_taps // 2)).unfold(-1, n_taps, self.factor) @ self.taps_S
