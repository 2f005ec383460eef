"""What training minimises: the distance of the model's distribution to the votes, and its variants.

`training.objectives.rarity.LOSSES` has the kinds, and where weights and margins come from.

Shapes: B batch, K class.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.objectives.rarity import LOSSES, LossKind


@dataclass(frozen=True, kw_only=True)
class VoteLoss:
    """A loss of logits to target distributions, votes or one-hot."""

    kind: LossKind = "kl"
    focal_gamma: float = 2.0
    label_smoothing: float = 0.0
    class_weight_K: Tensor | None = None
    """What each class counts; None for 1."""
    margin_K: Tensor | None = None
    """By how many logits a class must win where it is the target; None for 0."""

    def total(self, logits_BK: Tensor, target_BK: Tensor, weight_B: Tensor | None = None) -> Tensor:
        """Return the weighted sum over windows, a scalar; the loss is this over `count`.

        "kl": KL(target || model) but for the target's own entropy, which no weight of the model changes: the
        cross-entropy. "focal": the same with each class's term times (1 - p)^gamma (Lin et al. 2017). Smoothing mixes
        targets with the uniform distribution (Szegedy et al. 2016). Margins are taken off a target's logit by its share
        (LDAM, Cao et al. 2019). `weight_B` weighs whole windows.
        """
        if self.margin_K is not None:
            logits_BK = logits_BK.float() - target_BK * self.margin_K.to(logits_BK)
        log_prob_BK = logits_BK.float().log_softmax(-1)
        terms_BK = -log_prob_BK
        if LOSSES[self.kind].is_focal:
            terms_BK = terms_BK * (1 - log_prob_BK.exp()).pow(self.focal_gamma)
        return (self._weight(target_BK, weight_B) * terms_BK).sum()

    def count(self, target_BK: Tensor, weight_B: Tensor | None = None) -> Tensor:
        """Return the sum of weights, a scalar."""
        return self._weight(target_BK, weight_B).sum()

    def mean(self, logits_BK: Tensor, target_BK: Tensor) -> Tensor:
        """Return the loss of windows that are all there at once, a scalar."""
        return self.total(logits_BK, target_BK) / self.count(target_BK)

    def _weight(self, target_BK: Tensor, weight_B: Tensor | None) -> Tensor:
        target_BK = (1 - self.label_smoothing) * target_BK + self.label_smoothing / target_BK.shape[-1]
        weight_BK = target_BK if self.class_weight_K is None else target_BK * self.class_weight_K.to(target_BK)
        return weight_BK if weight_B is None else weight_BK * weight_B[:, None]


@dataclass(frozen=True, kw_only=True)
class StatementLoss:
    """A loss of logits to 0 or 1 of each class for itself: the binary cross-entropy, or focal."""

    kind: LossKind = "kl"
    focal_gamma: float = 2.0
    label_smoothing: float = 0.0
    positive_weight_K: Tensor | None = None
    """What a positive counts in each class; None for 1."""
    margin_2K: Tensor | None = None
    """By how many logits yes must win where a class is there, and no where it is not; None for 0."""

    def total(self, logits_BK: Tensor, target_BK: Tensor, weight_B: Tensor | None = None) -> Tensor:
        """Return the weighted sum over windows and classes, a scalar; the loss is this over `count`."""
        target_BK = (1 - self.label_smoothing) * target_BK + self.label_smoothing / 2
        margin_2K = torch.zeros(2, 1) if self.margin_2K is None else self.margin_2K
        for_yes_BK, for_no_BK = (
            sign * logits_BK.float() - m.to(logits_BK) for sign, m in zip((1, -1), margin_2K, strict=True)
        )
        yes_BK, no_BK = -nn.functional.logsigmoid(for_yes_BK), -nn.functional.logsigmoid(for_no_BK)
        if LOSSES[self.kind].is_focal:
            prob_BK = logits_BK.float().sigmoid()
            yes_BK, no_BK = yes_BK * (1 - prob_BK).pow(self.focal_gamma), no_BK * prob_BK.pow(self.focal_gamma)
        weight_K = 1.0 if self.positive_weight_K is None else self.positive_weight_K.to(logits_BK)
        terms_BK = weight_K * target_BK * yes_BK + (1 - target_BK) * no_BK
        return (terms_BK if weight_B is None else terms_BK * weight_B[:, None]).sum()

    def count(self, target_BK: Tensor, weight_B: Tensor | None = None) -> Tensor:
        """Return the number of windows, or the sum of their weights, times that of classes, a scalar."""
        n_windows = torch.tensor(float(len(target_BK)), device=target_BK.device) if weight_B is None else weight_B.sum()
        return n_windows * target_BK.shape[-1]

    def mean(self, logits_BK: Tensor, target_BK: Tensor) -> Tensor:
        """Return the loss of windows that are all there at once, a scalar."""
        return self.total(logits_BK, target_BK) / self.count(target_BK)


TaskLoss = VoteLoss | StatementLoss


def vote_weights(n_votes: Tensor, *, power: float) -> Tensor:
    """Return what each window counts, shape (B,): its number of votes to a power, 1 where nobody voted."""
    return torch.where(n_votes > 0, n_votes.clamp(min=1).float().pow(power), 1.0)
