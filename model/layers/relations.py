"""How the channels of a window relate: a small vector for every ordered pair of them, from place and covariance.

A ridge that fills one channel from the others weighs samples by the inverse of their covariance, which differs from
recording to recording. So each pair of channels starts from its geometry and from how the two went together over the
whole window, in three bands, and pairs are then related through third channels by products (the triangle update of
Jumper et al. 2021, AlphaFold), with which powers and inverses of a matrix can be approached. What comes out weighs how
samples are mixed before the stem, biases the attention over channels in every block, and weighs what fills a hidden
channel. A hidden channel has no samples: its pairs hold its place, and what third channels bring.

It costs C³ a window, nothing a token.

Shapes: B batch, C channel, T sample, K band, F feature, R width of a relation, M mixture.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.encoder_config import EncoderConfig
from model.montage import Montage

N_BANDS = 3
N_GEOMETRY = 9
_SLOW_TIMES, _FAST_TIMES = 65, 9
"""Moving averages: what passes the long one is slow (below about 2 Hz at 256 Hz), what the short one leaves is fast."""


def in_bands(x_BCT: Tensor, *, causal: bool = False) -> Tensor:
    """Return the signal, its slow part and its fast part, shape (B, K, C, T)."""
    slow, short = (_smoothed(x_BCT, n, causal=causal) for n in (_SLOW_TIMES, _FAST_TIMES))
    return torch.stack([x_BCT, slow, x_BCT - short], 1)


def _smoothed(x_BCT: Tensor, n: int, *, causal: bool) -> Tensor:
    """Return the moving average of n samples, 0 beyond the ends, by running sums: the same work for any n."""
    before, behind = (n, 0) if causal else (n // 2 + 1, n // 2)
    sums_BCT = F.pad(x_BCT, (before, behind)).cumsum(-1)
    return (sums_BCT[..., n:] - sums_BCT[..., :-n]) / n


class Relations(nn.Module):
    """Vectors of pairs of channels, "relations_BCCR": rows hear, columns are heard."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.positions, self.covariance = config.positions, config.covariance and not config.causal
        width = config.relation_dim
        n_features = N_GEOMETRY + 3 * N_BANDS + 2
        self.enter = nn.Sequential(nn.Linear(n_features, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.layers = nn.ModuleList(RelationLayer(width) for _ in range(config.relation_depth))
        self.norm = nn.LayerNorm(width)

    def forward(
        self, x_BCT: Tensor, shown_BC: Tensor, here_BC: Tensor, montage: Montage, seen_BCN: Tensor | None = None
    ) -> Tensor:
        """Return the relations, shape (B, C, C, R); channels that are not `here` reach nobody else's.

        x_BCT: 0 at hidden samples. shown_BC: channels with samples to relate. here_BC: electrodes that take part.
        seen_BCN: tokens that are not hidden; products are then means over what is seen of both channels.
        """
        pairs = [self._geometry(montage), self._covariance(x_BCT, shown_BC, seen_BCN)]
        flags = [shown_BC[:, :, None, None].expand(-1, -1, shown_BC.shape[1], -1)]
        flags.append(shown_BC[:, None, :, None].expand(-1, shown_BC.shape[1], -1, -1))
        z_BCCR = self.enter(torch.cat([*pairs, *(flag.to(x_BCT) for flag in flags)], -1))
        together_BCC1 = (here_BC[:, :, None] & here_BC[:, None]).to(x_BCT)[..., None]
        for layer in self.layers:
            z_BCCR = layer(z_BCCR, together_BCC1)
        return self.norm(z_BCCR)

    def _geometry(self, montage: Montage) -> Tensor:
        """Return cosine, side, offset, closeness at two scales, neighbourhood and identity, (B, C, C, N_GEOMETRY)."""
        position_BC3 = montage.position_BC3
        itself_CC = torch.eye(position_BC3.shape[1], device=position_BC3.device, dtype=position_BC3.dtype)
        itself_BCC1 = itself_CC.expand(position_BC3.shape[0], -1, -1)[..., None]
        if not self.positions:
            return F.pad(itself_BCC1, (N_GEOMETRY - 1, 0))
        cosine_BCC1 = (position_BC3 @ position_BC3.transpose(1, 2))[..., None]
        offset_BCC3 = position_BC3[:, None] - position_BC3[:, :, None]
        opposite_BCC1 = position_BC3[:, :, None, :1] * position_BC3[:, None, :, :1]
        distance_BCC1 = (offset_BCC3.square().sum(-1, keepdim=True) + 1e-6).sqrt()
        near = [torch.exp(-4.0 * distance_BCC1), torch.exp(-1.5 * distance_BCC1)]
        adjacent_BCC1 = montage.adjacency_BCC[..., None].to(position_BC3)
        return torch.cat([cosine_BCC1, opposite_BCC1, offset_BCC3, *near, adjacent_BCC1, itself_BCC1], -1)

    def _covariance(self, x_BCT: Tensor, shown_BC: Tensor, seen_BCN: Tensor | None = None) -> Tensor:
        """Return correlations by band, and the log power of either channel beside the mean one's, (B, C, C, 3 K)."""
        B, C = shown_BC.shape
        if not self.covariance:
            return x_BCT.new_zeros(B, C, C, 3 * N_BANDS)
        x_BKCT = in_bands(x_BCT)
        covariance_BKCC = (x_BKCT @ x_BKCT.transpose(-1, -2)).float() / x_BCT.shape[-1]
        if seen_BCN is not None:
            n_BCC = seen_BCN.float() @ seen_BCN.float().transpose(1, 2)
            covariance_BKCC = covariance_BKCC * (seen_BCN.shape[-1] / n_BCC.clamp(min=1))[:, None]
        shown_B1C = shown_BC[:, None].float()
        # The diagonal; ONNX has no operator for it.
        power_BKC = (covariance_BKCC * torch.eye(C, device=x_BCT.device)).sum(-1) * shown_B1C
        mean_BK1 = power_BKC.sum(-1, keepdim=True) / shown_B1C.sum(-1, keepdim=True).clamp(min=1)
        size_BKC = (power_BKC + 1e-6 * mean_BK1 + 1e-12).sqrt()
        both_B1CC = shown_B1C[..., None] * shown_B1C[..., None, :]
        correlation_BKCC = covariance_BKCC / (size_BKC[..., None] * size_BKC[..., None, :]) * both_B1CC
        if seen_BCN is not None:  # products and powers are then of different seconds
            correlation_BKCC = correlation_BKCC.clamp(-1, 1)
        level_BKC = torch.log((power_BKC + 1e-3 * mean_BK1 + 1e-9) / (mean_BK1 + 1e-9)) * shown_B1C
        of_row, of_column = level_BKC[..., None].expand(-1, -1, -1, C), level_BKC[..., None, :].expand(-1, -1, C, -1)
        return torch.cat([correlation_BKCC, of_row, of_column], 1).permute(0, 2, 3, 1).to(x_BCT)


class RelationLayer(nn.Module):
    """Relates pairs through third channels, then each by itself; both residual."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = max(8, 2 * width // 3)
        self.pair_norm, self.product_norm = nn.LayerNorm(width), nn.LayerNorm(inner)
        self.sides, self.gates = nn.Linear(width, 2 * inner), nn.Linear(width, 2 * inner)
        self.out = nn.Linear(inner, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, z_BCCR: Tensor, together_BCC1: Tensor) -> Tensor:
        """Return the pairs' new vectors; third channels are those that are `together` with either."""
        y_BCCR = self.pair_norm(z_BCCR)
        sides = (self.sides(y_BCCR) * self.gates(y_BCCR).sigmoid() * together_BCC1).permute(0, 3, 1, 2)
        first, second = sides.chunk(2, dim=1)
        n_third_B111 = together_BCC1.amax(2).sum(1)[:, :, None, None].clamp(min=1)
        through = (first @ second / n_third_B111.sqrt()).permute(0, 2, 3, 1)
        z_BCCR = z_BCCR + self.out(self.product_norm(through))
        return z_BCCR + self.mlp(z_BCCR)


class Mixing(nn.Module):
    """What other channels weigh in a channel's mixtures, by relations: signed, and not summing to 1."""

    def __init__(self, relation_dim: int, n_mixtures: int) -> None:
        super().__init__()
        self.weight = nn.Linear(relation_dim, n_mixtures)

    def forward(self, relations_BCCR: Tensor, shown_BC: Tensor) -> Tensor:
        """Return weights, shape (B, M, C, C): rows mix shown columns, of which a channel itself is none."""
        others_CC = ~torch.eye(shown_BC.shape[1], device=shown_BC.device).bool()
        heard_BCC = shown_BC[:, None] & others_CC
        n_B111 = shown_BC.sum(-1)[:, None, None, None].clamp(min=1)
        weight_BMCC = self.weight(relations_BCCR).permute(0, 3, 1, 2)
        return weight_BMCC * heard_BCC[:, None] / n_B111.to(weight_BMCC)
