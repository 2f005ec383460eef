"""Tokens of a window to one row of numbers that keeps the place on the head, for any montage; or to one row a second.

What a channel's tokens are like, their mean and their spread over time, makes a map over the head. A mean over channels
would lose it: closed eyes show at the back of the head, lateralised discharges on one side. So each map is
described by its spherical harmonics up to degree 2, nine numbers that any set of electrodes gives.

Shapes: B batch, C channel, N trunk token, D width, H harmonic, Q query, F feature.
"""

import torch
from torch import Tensor, nn

from model.layers.blocks import TemporalAttention

N_HARMONICS = 9
N_LEFT_RIGHT = 3
"""How many of them, the last ones, change their sign between left and right."""


def harmonics(position_C3: Tensor) -> Tensor:
    """Return the real spherical harmonics of degree 0 to 2 at unit vectors, mean square 1 over the sphere, (..., C, H).

    In the order 1, y, z, yz, x^2 - y^2, 2 z^2 - x^2 - y^2, x, xy, xz (x to the right, y forwards, z up). Channels
    without a place, at the origin, have the first alone.
    """
    x, y, z = position_C3.unbind(-1)
    even = [torch.ones_like(x), y * 3**0.5, z * 3**0.5, y * z * 15**0.5]
    even += [(x * x - y * y) * (15**0.5 / 2), (2 * z * z - x * x - y * y) * (5**0.5 / 2)]
    return torch.stack([*even, x * 3**0.5, x * y * 15**0.5, x * z * 15**0.5], -1)


def pooled_statistics(tokens_BCND: Tensor, present_BC: Tensor, position_C3: Tensor) -> Tensor:
    """Return what tokens are like without anything learnt, shape (B, 2 H D): maps of their mean, and of their spread.

    The first D numbers are the mean over channels and time. Of harmonics that change their sign between left and right
    the size is taken, so that a window and its mirror image look alike. Absent channels weigh nothing.
    """
    mean_BCD = tokens_BCND.mean(2)
    spread_BCD = ((tokens_BCND - mean_BCD[:, :, None]).square().mean(2) + 1e-6).sqrt()
    there_BC1 = present_BC[..., None].to(tokens_BCND)
    weight_BHC = (harmonics(position_C3).to(tokens_BCND) * there_BC1).transpose(1, 2)
    n_B11 = there_BC1.sum(1, keepdim=True).clamp(min=1)
    maps_BHD = [weight_BHC @ x_BCD / n_B11 for x_BCD in (mean_BCD, spread_BCD)]
    alike_BHD = [torch.cat([m[:, :-N_LEFT_RIGHT], _size(m[:, -N_LEFT_RIGHT:])], 1) for m in maps_BHD]
    return torch.cat(alike_BHD, 1).flatten(1)


def _size(x: Tensor) -> Tensor:
    """Return |x| with a round bottom, so that slopes do not jump: 0.01 at 0."""
    return (x.square() + 1e-4).sqrt()


class Pool(nn.Module):
    """What a stretch of tokens is like: weighted means, how they lie over the head, and how much they vary in time.

    Means are weighted by attention over channels and time, one a learnt query; the rest is `pooled_statistics`.
    """

    def __init__(self, dim: int, n_queries: int) -> None:
        super().__init__()
        self.width = (n_queries + 2 * N_HARMONICS - 1) * dim
        self.score = nn.Sequential(nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, n_queries))

    def forward(self, tokens_BCND: Tensor, present_BC: Tensor, position_C3: Tensor) -> Tensor:
        """Return the pooled tokens, shape (B, width); `position_C3` as in `harmonics`."""
        score_BCNQ = self.score(tokens_BCND).float().masked_fill(~present_BC[:, :, None, None], -1e9)
        weight_BQM = score_BCNQ.flatten(1, 2).softmax(1).transpose(1, 2)
        means_BF = (weight_BQM.to(tokens_BCND) @ tokens_BCND.flatten(1, 2)).flatten(1)
        statistics_BF = pooled_statistics(tokens_BCND, present_BC, position_C3)
        return torch.cat([means_BF, statistics_BF[:, tokens_BCND.shape[-1] :]], -1)


class Scalp(nn.Module):
    """The tokens of one second as one vector that knows where on the head something was, for any montage.

    Means over channels weighted by attention, one a learnt query, and the coefficients of the spherical harmonics.
    """

    def __init__(self, dim: int, n_queries: int) -> None:
        super().__init__()
        narrow = max(4, dim // 4)
        self.score = nn.Linear(dim, n_queries)
        self.value = nn.Linear(dim, narrow)
        self.out = nn.Linear((n_queries + N_HARMONICS) * narrow, dim)

    def forward(self, tokens_BCND: Tensor, present_BC: Tensor, position_C3: Tensor) -> Tensor:
        """Return one vector a second, shape (B, N, D); absent channels weigh nothing."""
        score_BCNQ = self.score(tokens_BCND).float().masked_fill(~present_BC[:, :, None, None], -1e9)
        attended_BNQC = score_BCNQ.softmax(1).permute(0, 2, 3, 1).to(tokens_BCND)
        there_BC1 = present_BC[..., None].to(tokens_BCND)
        n_B11 = there_BC1.sum(1, keepdim=True).clamp(min=1)
        map_BHC = (harmonics(position_C3).to(tokens_BCND) * there_BC1 / n_B11).transpose(1, 2)
        map_BNHC = map_BHC[:, None].expand(-1, tokens_BCND.shape[2], -1, -1)
        value_BNCD = self.value(tokens_BCND).transpose(1, 2)
        return self.out((torch.cat([attended_BNQC, map_BNHC], 2) @ value_BNCD).flatten(2))


class SequencePool(nn.Module):
    """The window as a sequence of seconds whose order counts: rhythm, interval and course, before time is pooled."""

    def __init__(self, dim: int, n_heads: int, *, depth: int = 1, n_queries: int = 4) -> None:
        super().__init__()
        self.scalp = Scalp(dim, n_queries)
        self.layers = nn.ModuleList(SequenceLayer(dim, n_heads) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)

    def forward(self, tokens_BCND: Tensor, present_BC: Tensor, position_C3: Tensor) -> Tensor:
        """Return the seconds after they have heard each other, shape (B, N, D)."""
        x_BND = self.scalp(tokens_BCND, present_BC, position_C3)
        for layer in self.layers:
            x_BND = layer(x_BND)
        return self.norm(x_BND)


class SequenceLayer(nn.Module):
    """Pre-norm attention over time with rotary positions, and feed-forward."""

    def __init__(self, dim: int, n_heads: int) -> None:
        super().__init__()
        self.norm, self.mlp_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.temporal = TemporalAttention(dim, n_heads, dim // n_heads, causal=False)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, x_BND: Tensor) -> Tensor:
        """Return the sequence, same shape."""
        x_BND = x_BND + self.temporal(self.norm(x_BND)[:, None])[:, 0]
        return x_BND + self.mlp(self.mlp_norm(x_BND))
