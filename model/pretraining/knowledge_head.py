"""Head that describes a stretch that is hidden on all channels, in the terms of a report, from the rest of the window.

The description is the pattern features of the stretch's truth (`signals.patterns.features.stretch_features`): rate,
sharpness, side, place. It comes with the batch (`training.objectives.stretches.describing`). The contract of heads is
that of `model.heads`.

Shapes: B batch, C channel, N trunk token, M token of the stretch, D width, F feature of a description.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.encoder_config import EncoderConfig
from model.heads import Head, Tensors, register_head
from model.layers.pooling import N_HARMONICS, pooled_statistics
from model.montage import Montage
from signals.patterns.features import stretch_names
from signals.window import ABSENT

MOST_SPREADS = 4.0
"""From the mean, beyond which a feature counts no further."""
LEAST_WINDOWS = 8
"""That mean and spread come from."""


@register_head("knowledge")
class KnowledgeHead(Head):
    """Pools the tokens of the hidden stretch, which have heard the visible ones, to a standardised description.

    batch: a `Montage`, "stretch_B" (first token of the stretch, -1 without one), "description_BF" (nan where it is not
    known). Windows whose stretch has no description do not count. `tokens`: length of a stretch.

    `mean_F` and `spread_F` are those of training windows; `slope_F` is what one feature of the rest of the window
    says of the same feature of the stretch, both standardised, and `rest_mean_F` and `rest_spread_F` standardise it:
    the best that needs no network. They are set before training and stay.
    """

    mean_F: Tensor
    spread_F: Tensor
    rest_mean_F: Tensor
    rest_spread_F: Tensor
    slope_F: Tensor

    def __init__(self, config: EncoderConfig, *, tokens: int = 14) -> None:
        super().__init__()
        self.tokens, n_features = tokens, len(stretch_names())
        for name, value in (("mean", 0.0), ("spread", 1.0), ("rest_mean", 0.0), ("rest_spread", 1.0), ("slope", 0.0)):
            self.register_buffer(f"{name}_F", torch.full((n_features,), value))
        width = 2 * N_HARMONICS * config.dim
        self.predict = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * config.dim), nn.GELU(), nn.Linear(2 * config.dim, n_features)
        )

    def forward(self, out: Tensors, batch: Tensors) -> dict[str, Tensor]:
        """Return "standard_BF", descriptions in spreads from the mean; they say nothing where there is no stretch."""
        tokens_BCND, montage = out["tokens_BCND"].float(), Montage.from_batch(batch)
        last = max(0, tokens_BCND.shape[2] - self.tokens)
        place_BM = batch["stretch_B"].clamp(0, last)[:, None] + torch.arange(
            min(self.tokens, tokens_BCND.shape[2]), device=tokens_BCND.device
        )
        index_BCMD = place_BM[:, None, :, None].expand(-1, tokens_BCND.shape[1], -1, tokens_BCND.shape[3])
        present_BC = (montage.ch_state_BC != ABSENT) & montage.is_primary_BC
        position_BC3 = torch.nan_to_num(montage.position_BC3.float()) * present_BC[..., None]
        pooled_BF = pooled_statistics(tokens_BCND.gather(2, index_BCMD), present_BC, position_BC3)
        return {"standard_BF": self.predict(pooled_BF)}

    def total(self, results: Tensors, batch: Tensors) -> Tensor:
        """Return the Huber losses, mean over features, over windows that count."""
        error_BF = F.huber_loss(
            results["standard_BF"].float(), self.standard(batch["description_BF"]), reduction="none"
        )
        return torch.where(self.counted(batch), error_BF.mean(1), 0.0).sum()

    def count(self, batch: Tensors) -> Tensor:
        """Return the number of windows whose stretch is described."""
        return self.counted(batch).sum()

    def counted(self, batch: Tensors) -> Tensor:
        """Return which windows count, bool, (B,)."""
        return (batch["stretch_B"] >= 0) & batch["description_BF"].isfinite().all(1)

    def standard(self, description_BF: Tensor) -> Tensor:
        """Return descriptions in spreads from the mean, at most `MOST_SPREADS`; 0 for what is not known."""
        return _standard(description_BF, self.mean_F, self.spread_F)

    def from_rest(self, rest_BF: Tensor) -> Tensor:
        """Return what the features of the rest of a window say of the stretch, as `standard` gives it."""
        return self.slope_F * _standard(rest_BF, self.rest_mean_F, self.rest_spread_F)

    @torch.no_grad()
    def fit(self, description_BF: Tensor, rest_BF: Tensor) -> None:
        """Take mean, spread and slope from descriptions of training windows and of the rest of each; both known.

        Raises ValueError for fewer than `LEAST_WINDOWS`.
        """
        if len(description_BF) < LEAST_WINDOWS:
            raise ValueError(self.too_few(len(description_BF)))
        description_BF, rest_BF = (values_BF.to(self.mean_F.device) for values_BF in (description_BF, rest_BF))
        for values_BF, mean_F, spread_F in (
            (description_BF, self.mean_F, self.spread_F), (rest_BF, self.rest_mean_F, self.rest_spread_F)
        ):  # fmt: skip
            mean_F.copy_(values_BF.double().mean(0))
            spread_F.copy_(values_BF.double().std(0).clamp(min=1e-6))
        both_BF = self.standard(description_BF) * _standard(rest_BF, self.rest_mean_F, self.rest_spread_F)
        own_BF = _standard(rest_BF, self.rest_mean_F, self.rest_spread_F).square()
        self.slope_F.copy_(both_BF.sum(0) / own_BF.sum(0).clamp(min=1e-6))

    def too_few(self, n_windows: int) -> str:
        """Return what to do where so few windows can be described."""
        least = 5 * self.tokens / 2
        return (
            f"{n_windows} windows to train on have a stretch that can be described, {LEAST_WINDOWS} needed: windows of "
            f"{least:g} s or more, cut at least as long (--data.crop-s), with the 19 electrodes of the 10-20 system"
        )


def _standard(values_BF: Tensor, mean_F: Tensor, spread_F: Tensor) -> Tensor:
    return ((torch.nan_to_num(values_BF.float()) - mean_F) / spread_F).clamp(-MOST_SPREADS, MOST_SPREADS)
