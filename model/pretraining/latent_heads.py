"""Heads for whole hidden tokens: a teacher's latents, standardised log spectra, and samples of short gaps.

None of them sees the stem's patches: what they predict has come through the trunk. Where tokens are hidden is what
`model.pretraining.token_masks` draws; the contract of heads is that of `model.heads`.

Shapes: B batch, C channel, T sample, N trunk token, S sample of a token, D width, F spectral line.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.encoder_config import EncoderConfig
from model.heads import Head, Tensors, register_head
from model.layers.stem import n_spectral_lines
from model.pretraining.token_masks import samples, whole_tokens
from signals.window import MEASURED

LEAST_SPREAD = 0.35
"""Of a spectral line over a window's visible tokens, in log amplitude: 3 dB."""


class TokenHead(Head):
    """A head that counts tokens of measured channels that are hidden as a whole; two layers lead to its answer."""

    def __init__(self, config: EncoderConfig, width: int) -> None:
        super().__init__()
        self.config = config
        self.predict = nn.Sequential(nn.Linear(config.dim, 2 * config.dim), nn.GELU(), nn.Linear(2 * config.dim, width))

    def hidden(self, batch: Tensors) -> Tensor:
        """Return the tokens that count, bool, (B, C, N)."""
        measured_BC1 = (batch["ch_state_BC"] == MEASURED)[..., None]
        return whole_tokens(batch["mask_BCT"], self.config.token_times) & measured_BC1

    def count(self, batch: Tensors) -> Tensor:
        """Return the number of tokens that count."""
        return self.hidden(batch).sum()


@register_head("latents")
class LatentHead(TokenHead):
    """Predicts what a teacher that sees the whole window makes of hidden tokens (Baevski et al. 2022, data2vec).

    batch: "true_latents_BCND" of `model.pretraining.teacher.Teacher`, "mask_BCT", "ch_state_BC".
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(config, config.dim)

    def forward(self, out: Tensors, batch: Tensors) -> dict[str, Tensor]:
        """Return "latents_BCND"."""
        return {"latents_BCND": self.predict(out["tokens_BCND"])}

    def total(self, results: Tensors, batch: Tensors) -> Tensor:
        """Return the squared errors, mean over the width, over tokens that count."""
        error_BCN = (results["latents_BCND"].float() - batch["true_latents_BCND"].float()).square().mean(-1)
        return (error_BCN * self.hidden(batch)).sum()


@register_head("decibels")
class DecibelHead(TokenHead):
    """Predicts how the log spectra of hidden tokens differ from what is visible of the window.

    A line's level is measured against its mean over the visible tokens of measured channels, in units of its spread
    over them, of at least 3 dB: lines that hardly change count as much as those that do. The slow spectra of visible
    tokens reach into hidden seconds, so that mean and spread know a little of them. Windows without a visible token do
    not count. batch: "true_spectra_BCNF", as `Encoder.spectra` gives them, "mask_BCT", "ch_state_BC".
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(config, n_spectral_lines(config))

    def forward(self, out: Tensors, batch: Tensors) -> dict[str, Tensor]:
        """Return "standard_BCNF", and, where the truth is in the batch, "spectra_BCNF" in log amplitude."""
        standard_BCNF = self.predict(out["tokens_BCND"])
        if "true_spectra_BCNF" not in batch:
            return {"standard_BCNF": standard_BCNF}
        mean_B11F, spread_B11F = self._visible(batch)
        return {"standard_BCNF": standard_BCNF, "spectra_BCNF": standard_BCNF.float() * spread_B11F + mean_B11F}

    def total(self, results: Tensors, batch: Tensors) -> Tensor:
        """Return the squared errors, mean over lines, over tokens that count."""
        mean_B11F, spread_B11F = self._visible(batch)
        true_BCNF = (batch["true_spectra_BCNF"].float() - mean_B11F) / spread_B11F
        error_BCN = (results["standard_BCNF"].float() - true_BCNF).square().mean(-1)
        return (error_BCN * self.hidden(batch)).sum()

    def hidden(self, batch: Tensors) -> Tensor:
        """Return the tokens that count, of windows in which some token is visible."""
        return super().hidden(batch) & self._seen(batch).flatten(1).any(1)[:, None, None]

    def _seen(self, batch: Tensors) -> Tensor:
        hidden_BCN = whole_tokens(batch["mask_BCT"], self.config.token_times)
        return ~hidden_BCN & (batch["ch_state_BC"] == MEASURED)[..., None]

    def _visible(self, batch: Tensors) -> tuple[Tensor, Tensor]:
        """Return the mean and the spread of each line over the visible tokens of a window, (B, 1, 1, F)."""
        seen_BCN1 = self._seen(batch)[..., None].float()
        n_B111 = seen_BCN1.sum((1, 2), keepdim=True).clamp(min=1)
        true_BCNF = batch["true_spectra_BCNF"].float()
        mean_B11F = (true_BCNF * seen_BCN1).sum((1, 2), keepdim=True) / n_B111
        spread_B11F = ((true_BCNF - mean_B11F).square() * seen_BCN1).sum((1, 2), keepdim=True) / n_B111
        return mean_B11F, spread_B11F.sqrt().clamp(min=LEAST_SPREAD)


@register_head("gaps")
class GapHead(Head):
    """Predicts the samples of gaps within visible tokens from the trunk's tokens alone.

    batch: "x_BCT" truth, "filled_BCT", "mask_BCT", "ch_state_BC". Hidden samples of measured channels count, but for
    those of tokens that are hidden as a whole; the Huber loss keeps artifacts from ruling it.
    """

    def __init__(self, config: EncoderConfig, *, huber_delta: float = 3.0) -> None:
        super().__init__()
        self.config, self.huber_delta = config, huber_delta
        self.samples = nn.Sequential(
            nn.Linear(config.dim, 2 * config.dim), nn.GELU(), nn.Linear(2 * config.dim, config.token_times)
        )

    def forward(self, out: Tensors, batch: Tensors) -> dict[str, Tensor]:
        """Return "reconstruction_BCT"; what is not in a gap is as it was filled."""
        filled_BCT = batch["filled_BCT"]
        samples_BCT = self.samples(out["tokens_BCND"]).flatten(2)[..., : filled_BCT.shape[-1]].float()
        return {"reconstruction_BCT": torch.where(self._gaps(batch), samples_BCT, filled_BCT)}

    def total(self, results: Tensors, batch: Tensors) -> Tensor:
        """Return the Huber loss over samples of gaps of measured channels."""
        error_BCT = F.huber_loss(
            results["reconstruction_BCT"], batch["x_BCT"], reduction="none", delta=self.huber_delta
        )
        return (error_BCT * self._counted(batch)).sum()

    def count(self, batch: Tensors) -> Tensor:
        """Return the number of those samples."""
        return self._counted(batch).sum()

    def _counted(self, batch: Tensors) -> Tensor:
        return self._gaps(batch) & (batch["ch_state_BC"] == MEASURED)[..., None]

    def _gaps(self, batch: Tensors) -> Tensor:
        mask_BCT, n = batch["mask_BCT"], self.config.token_times
        return mask_BCT & ~samples(whole_tokens(mask_BCT, n), n, mask_BCT.shape[-1])
