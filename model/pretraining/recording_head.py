"""Head that finds another stretch of the same recording among those of others (InfoNCE over windows).

What a window is compared with, its keys, comes with the batch, as made by a teacher before the step from all windows of
it (`training.objectives.recording_contrast`): so the sum over windows does not depend on how a batch is cut. The
contract of heads is that of `model.heads`.

Shapes: B batch, C channel, N trunk token, K key, D width, F feature.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.encoder_config import EncoderConfig
from model.heads import Head, Tensors, register_head
from model.layers.pooling import N_HARMONICS, pooled_statistics
from model.montage import Montage
from signals.window import ABSENT

RECORDING_CONTRAST = "recording_contrast"


@register_head(RECORDING_CONTRAST)
class RecordingHead(Head):
    """Gives a window a direction, near to its own key's and far from those of other people (van den Oord et al. 2018).

    Pooled over the tokens of present channels, two layers lead to it. batch: a `Montage`, "key_BKD" of unit length,
    "own_BK" (which key is of the same recording, at most one) and "candidate_BK" (the own one and those of others),
    bool. Windows without a key of their own, or of nobody else, do not count.
    """

    measures = ("recording_top1",)

    def __init__(self, config: EncoderConfig, *, width: int = 128, temperature: float = 0.1) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature={temperature} must be positive")
        self.width, self.temperature = width, temperature
        n_features = 2 * N_HARMONICS * config.dim
        self.project = nn.Sequential(
            nn.LayerNorm(n_features), nn.Linear(n_features, 2 * config.dim), nn.GELU(), nn.Linear(2 * config.dim, width)
        )

    def forward(self, out: Tensors, batch: Tensors) -> dict[str, Tensor]:
        """Return "direction_BD" of unit length."""
        montage = Montage.from_batch(batch)
        present_BC = (montage.ch_state_BC != ABSENT) & montage.is_primary_BC
        position_BC3 = torch.nan_to_num(montage.position_BC3.float()) * present_BC[..., None]
        pooled_BF = pooled_statistics(out["tokens_BCND"].float(), present_BC, position_BC3)
        return {"direction_BD": F.normalize(self.project(pooled_BF).float(), dim=-1)}

    def total(self, results: Tensors, batch: Tensors) -> Tensor:
        """Return the cross-entropy of finding the own key among the candidates, over windows that count."""
        cosine_BK = self._cosines(results, batch)
        logits_BK = (cosine_BK / self.temperature).masked_fill(~batch["candidate_BK"], -1e9)
        loss_B = logits_BK.logsumexp(1) - (logits_BK * batch["own_BK"]).sum(1)
        return torch.where(self._counted(batch), loss_B, 0.0).sum()

    def count(self, batch: Tensors) -> Tensor:
        """Return the number of windows that have an own key and another's."""
        return self._counted(batch).sum()

    def measured(self, results: Tensors, batch: Tensors) -> dict[str, Tensor]:
        """Return "recording_top1", the number of windows whose own key is nearer than any other's."""
        cosine_BK = self._cosines(results, batch).detach()
        own_B1 = (cosine_BK * batch["own_BK"]).sum(1, keepdim=True)
        as_near_B = ((cosine_BK >= own_B1) & batch["candidate_BK"] & ~batch["own_BK"]).any(1)
        return {"recording_top1": (self._counted(batch) & ~as_near_B).sum().float()}

    def _cosines(self, results: Tensors, batch: Tensors) -> Tensor:
        return torch.einsum("bd,bkd->bk", results["direction_BD"].float(), batch["key_BKD"].float())

    def _counted(self, batch: Tensors) -> Tensor:
        return batch["own_BK"].any(1) & (batch["candidate_BK"] & ~batch["own_BK"]).any(1)
