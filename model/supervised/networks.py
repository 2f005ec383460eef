"""What supervised networks are made of: their shape, and pooling that knows where the label speaks.

Shapes: B batch, D width, N step of time.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class NetworkShape:
    """What goes in and what comes out."""

    n_chans: int
    sfreq: float
    n_classes: int
    span_s: tuple[float, float] | None = None
    """The stretch that the label is about, seconds from the window's start; None for the whole window."""
    window_s: float | None = None
    """Length of the task's windows, seconds."""
    ch_names: tuple[str, ...] = ()
    """What the channels are called, where they are electrodes."""


class SpanPool(nn.Module):
    """Mean and spread over time of the whole window and, apart, of the label's span."""

    def __init__(self, step_s: float, span_s: tuple[float, float] | None) -> None:
        super().__init__()
        self.span = None if span_s is None else (round(span_s[0] / step_s), round(span_s[1] / step_s))

    def width(self, dim: int) -> int:
        """Return how wide `dim` becomes."""
        return dim * (2 if self.span is None else 4)

    def forward(self, x_BDN: Tensor) -> Tensor:
        """Return the pooled steps, shape (B, width); raises ValueError where the window ends before the span."""
        stretches = [x_BDN]
        if self.span is not None:
            if x_BDN.shape[-1] < self.span[1]:
                raise ValueError(f"{x_BDN.shape[-1]} steps end before the label's span, steps {self.span}")
            stretches.append(x_BDN[..., self.span[0] : self.span[1]])
        pooled = [(x.mean(-1), (x.var(-1, correction=0) + 1e-6).sqrt()) for x in stretches]
        return torch.cat([part for pair in pooled for part in pair], -1)
