"""Who a channel is: electrode identity, place on the head, and whether it was measured.

Shapes: B batch, C channel, D width.
"""

import torch
from torch import Tensor, nn

from model.encoder_config import EncoderConfig
from model.montage import N_ELECTRODES, Montage


class ChannelEmbedding(nn.Module):
    """One vector for each channel, which all of its tokens share."""

    frequencies: Tensor

    def __init__(self, config: EncoderConfig, n_freqs: int = 4) -> None:
        super().__init__()
        dim, self.positions = config.dim, config.positions
        if self.positions:
            self.identity = nn.Embedding(N_ELECTRODES, dim)
        self.state = nn.Embedding(3, dim)
        if self.positions:
            nn.init.normal_(self.identity.weight, std=0.02)
        nn.init.normal_(self.state.weight, std=0.02)
        if not self.positions:
            return
        self.register_buffer("frequencies", torch.pi * 2.0 ** torch.arange(n_freqs) / 2)
        self.place = nn.Sequential(nn.Linear(3 + 6 * n_freqs, dim), nn.GELU(), nn.Linear(dim, dim))

    def forward(self, montage: Montage) -> Tensor:
        """Return the vectors, shape (B, C, D)."""
        state_BCD = self.state(montage.ch_state_BC.long())
        if not self.positions:
            return state_BCD
        angle = (montage.position_BC3[..., None] * self.frequencies).flatten(-2)
        place_BCD = self.place(torch.cat([montage.position_BC3, angle.sin(), angle.cos()], -1))
        return place_BCD + self.identity(montage.electrode_ids_BC) + state_BCD
