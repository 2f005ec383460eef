"""Two encoders of the field, restated from torch.nn parts, for a comparison of shapes at equal parameters and input.

Ours, not theirs: the shapes follow the papers, nothing is trained, and heads are left out. Both cut every second of
200 samples into one token of width 200.

Shapes: B batch, C channel, N second, S sample of a second, D width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SFREQ, WIDTH, DEPTH, MLP = 200, 200, 12, 800


class ConvolutionalStem(nn.Module):
    """Three convolutions along a second, each with group norm and GELU; their channels make the token."""

    def __init__(self, n_maps: int, kernel: int, stride: int, n_groups: int) -> None:
        super().__init__()
        sizes = [(1, kernel, stride), (n_maps, 3, 1), (n_maps, 3, 1)]
        self.layers = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv1d(n_in, n_maps, size, step, padding=(size - 1) // 2),
                    nn.GroupNorm(n_groups, n_maps),
                    nn.GELU(),
                )
                for n_in, size, step in sizes
            )
        )

    def forward(self, x_BCNS: Tensor) -> Tensor:
        """Return tokens, shape (B, C, N, WIDTH)."""
        B, C, N, S = x_BCNS.shape
        return self.layers(x_BCNS.reshape(B * C * N, 1, S)).reshape(B, C, N, -1)


class LabramShape(nn.Module):
    """Full attention over all channels and seconds (Jiang et al. 2024, LaBraM-base: 12 layers of 10 heads)."""

    def __init__(self, n_chans: int, n_seconds: int) -> None:
        super().__init__()
        self.stem = ConvolutionalStem(8, 15, 8, 4)
        self.channel = nn.Parameter(torch.zeros(n_chans, 1, WIDTH))
        self.time = nn.Parameter(torch.zeros(n_seconds, WIDTH))
        self.layers = nn.ModuleList(_layer(10) for _ in range(DEPTH))
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, x_BCT: Tensor) -> Tensor:
        """Return tokens, shape (B, C N, D)."""
        x = (self.stem(x_BCT.unflatten(-1, (-1, SFREQ))) + self.channel + self.time).flatten(1, 2)
        for layer in self.layers:
            x = x + layer["attention"](layer["attention_norm"](x))
            x = x + layer["mlp"](layer["mlp_norm"](x))
        return self.norm(x)


class CbramodShape(nn.Module):
    """Half of the width attends over channels, half over seconds (Wang et al. 2025, CBraMod: 12 layers of 8 heads)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvolutionalStem(25, 49, 25, 5)
        self.spectrum = nn.Linear(SFREQ // 2 + 1, WIDTH)
        self.position = nn.Conv2d(WIDTH, WIDTH, (19, 7), padding=(9, 3), groups=WIDTH)
        self.layers = nn.ModuleList(_layer(4, n_halves=2) for _ in range(DEPTH))
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, x_BCT: Tensor) -> Tensor:
        """Return tokens, shape (B, C, N, D)."""
        x_BCNS = x_BCT.unflatten(-1, (-1, SFREQ))
        power = torch.fft.rfft(x_BCNS.float(), norm="forward").abs()
        x = self.stem(x_BCNS) + self.spectrum(power)
        x = x + self.position(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        for layer in self.layers:
            space, time = layer["attention_norm"](x).chunk(2, -1)
            space = layer["attention"](space.transpose(1, 2).flatten(0, 1)).reshape(space.transpose(1, 2).shape)
            time = layer["other"](time.flatten(0, 1)).reshape(time.shape)
            x = x + torch.cat([space.transpose(1, 2), time], -1)
            x = x + layer["mlp"](layer["mlp_norm"](x))
        return self.norm(x)


def _layer(n_heads: int, *, n_halves: int = 1) -> nn.ModuleDict:
    parts: dict[str, nn.Module] = {
        "attention_norm": nn.LayerNorm(WIDTH),
        "attention": SelfAttention(WIDTH // n_halves, n_heads),
        "mlp_norm": nn.LayerNorm(WIDTH),
        "mlp": nn.Sequential(nn.Linear(WIDTH, MLP), nn.GELU(), nn.Linear(MLP, WIDTH)),
    }
    if n_halves == 2:
        parts["other"] = SelfAttention(WIDTH // 2, n_heads)
    return nn.ModuleDict(parts)


class SelfAttention(nn.Module):
    """Multi-head attention with torch's fused kernel, as ours uses it."""

    def __init__(self, dim: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, tokens, dim) mixed over tokens."""
        n_batch, n_tokens, dim = x.shape
        q, k, v = self.qkv(x).reshape(n_batch, n_tokens, 3, self.n_heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.out(mixed.transpose(1, 2).reshape(n_batch, n_tokens, dim))
