"""Tokens of a window to one row of numbers that keeps the place on the head, for any montage.

What a channel's tokens are like, their mean and their spread over time, makes a map over the head. A mean over channels
would lose it: closed eyes show at the back of the head, lateralised discharges on one side. So each map is
described by its spherical harmonics up to degree 2, nine numbers that any set of electrodes gives.

Shapes: B batch, C channel, N trunk token, D width, H harmonic, Q query, F feature.
"""

import torch
from torch import Tensor, nn

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
