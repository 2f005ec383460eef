"""The trunk's block: attention over the tokens of a channel, attention over the channels of a token, feed-forward.

Shapes: B batch, C channel, N trunk token, D width, H head, R width of a relation, L sequence.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.encoder_config import EncoderConfig


@dataclass(frozen=True)
class Company:
    """Who may hear whom in a batch of windows, and how the channels relate; nothing where channels do not meet."""

    relations_BCCR: Tensor | None
    here_BC: Tensor
    """Electrodes that are there: who attends to channels, and is attended to."""


class Block(nn.Module):
    """Pre-norm residual block: attention over time, attention over channels, feed-forward."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.drop = DropPath(0.0)
        self.temporal_norm = nn.LayerNorm(config.dim)
        widths = config.widths
        self.temporal = TemporalAttention(config.dim, widths["temporal_heads"], config.head_dim, causal=config.causal)
        self.graph = config.graph
        if self.graph:
            self.spatial_norm = nn.LayerNorm(config.dim)
            self.spatial = ChannelAttention(config)
        self.mlp_norm = nn.LayerNorm(config.dim)
        # Places for `model.layers.adapters`.
        self.temporal_adapter: nn.Module | None = None
        self.mlp_adapter: nn.Module | None = None
        self.mlp = nn.Sequential(
            nn.Linear(config.dim, widths["mlp_dim"]), nn.GELU(), nn.Linear(widths["mlp_dim"], config.dim)
        )

    def forward(self, x_BCND: Tensor, company: Company) -> Tensor:
        """Return the tokens after both attentions and feed-forward, same shape."""
        temporal_BCND = self.temporal(self.temporal_norm(x_BCND))
        if self.temporal_adapter is not None:
            temporal_BCND = self.temporal_adapter(temporal_BCND)
        x_BCND = x_BCND + self.drop(temporal_BCND)
        if self.graph:
            spatial_BCND = self.spatial(self.spatial_norm(x_BCND), company)
            x_BCND = x_BCND + self.drop(spatial_BCND * company.here_BC[..., None, None])
        mlp_BCND = self.mlp(self.mlp_norm(x_BCND))
        return x_BCND + self.drop(mlp_BCND if self.mlp_adapter is None else self.mlp_adapter(mlp_BCND))


class DropPath(nn.Module):
    """Leaves a branch out for whole windows at random in training (Huang et al. 2016), and weighs the others up."""

    def __init__(self, chance: float) -> None:
        super().__init__()
        self.chance = chance

    def forward(self, x_BCND: Tensor) -> Tensor:
        """Return the branch of the windows that keep it, 0 for the others."""
        if not self.chance or not self.training:
            return x_BCND
        kept_B = torch.rand(x_BCND.shape[0], device=x_BCND.device) >= self.chance
        return x_BCND * (kept_B / (1 - self.chance)).to(x_BCND)[:, None, None, None]


class TemporalAttention(nn.Module):
    """Multi-head attention over the tokens of one channel, with rotary positions (Su et al. 2021, RoFormer)."""

    def __init__(self, dim: int, n_heads: int, head_dim: int, *, causal: bool) -> None:
        super().__init__()
        self.n_heads, self.causal = n_heads, causal
        self.qkv = nn.Linear(dim, 3 * n_heads * head_dim)
        self.out = nn.Linear(n_heads * head_dim, dim)

    def forward(self, x_BCND: Tensor) -> Tensor:
        """Return tokens mixed over time, same shape."""
        B, C, N, _ = x_BCND.shape
        qkv = self.qkv(x_BCND).reshape(B * C, N, 3, self.n_heads, -1)
        q_LHND, k_LHND, v_LHND = qkv.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(rotate(q_LHND), rotate(k_LHND), v_LHND, is_causal=self.causal)
        return self.out(mixed.transpose(1, 2).reshape(B, C, N, -1))


def rotate(x_LHND: Tensor) -> Tensor:
    """Return queries or keys turned by angles that grow with their position (rotary embedding)."""
    n_tokens, half = x_LHND.shape[-2], x_LHND.shape[-1] // 2
    rate = 1000.0 ** (-torch.arange(half, device=x_LHND.device, dtype=torch.float32) / half)
    angle_ND = torch.arange(n_tokens, device=x_LHND.device, dtype=torch.float32)[:, None] * rate
    cos, sin = angle_ND.cos().to(x_LHND), angle_ND.sin().to(x_LHND)
    even, odd = x_LHND[..., :half], x_LHND[..., half:]
    return torch.cat([even * cos - odd * sin, even * sin + odd * cos], -1)


class ChannelAttention(nn.Module):
    """Attention over the electrodes of one token, biased by their relations; torch-geometric's dense convolution mixes.

    Queries and keys come from tokens that have heard their channel's other seconds; the bias from place and from the
    whole window's covariance. All electrodes hear each other: the graph's edges are among the relations.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        from torch_geometric.nn.dense.dense_graph_conv import DenseGraphConv  # takes seconds to import

        self.n_heads = config.n_heads
        self.query_key = nn.Linear(config.dim, 2 * config.n_heads * config.widths["key_dim"])
        self.bias = nn.Linear(config.relation_dim, config.n_heads)
        self.conv = DenseGraphConv(config.head_dim, config.head_dim)
        self.out = nn.Linear(config.dim, config.dim)

    def forward(self, x_BCND: Tensor, company: Company) -> Tensor:
        """Return tokens mixed over channels, same shape."""
        B, C, N, D = x_BCND.shape
        H = self.n_heads
        q_BNHCD, k_BNHCD = self.query_key(x_BCND).reshape(B, C, N, 2, H, -1).permute(3, 0, 2, 4, 1, 5)
        score_BNHCC = q_BNHCD @ k_BNHCD.transpose(-1, -2) * (D // H) ** -0.5
        score_BNHCC = score_BNHCC + self.bias(company.relations_BCCR).permute(0, 3, 1, 2)[:, None]
        itself_CC = torch.eye(C, device=x_BCND.device).bool()
        allowed_BCC = company.here_BC[:, None] | itself_CC
        score_BNHCC = score_BNHCC.float().masked_fill(~allowed_BCC[:, None, None], -1e9)
        weight = score_BNHCC.softmax(-1).to(x_BCND).reshape(-1, C, C)
        value = x_BCND.reshape(B, C, N, H, D // H).permute(0, 2, 3, 1, 4).reshape(-1, C, D // H)
        mixed_BNHCD = self.conv(value, weight).reshape(B, N, H, C, D // H)
        return self.out(mixed_BNHCD.permute(0, 3, 1, 2, 4).reshape(B, C, N, D))
