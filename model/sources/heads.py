"""Answers beside the diagnosis: an ordinal severity, and whether the diagnosis is right.

Shapes: B batch, D width, K class, S step of severity.
"""

import torch
from torch import Tensor, nn


class SeverityHead(nn.Module):
    """Logits that severity is above each level but the last, from one score and ordered steps (McCullagh 1980)."""

    def __init__(self, dim: int, n_levels: int) -> None:
        super().__init__()
        self.score = nn.Linear(dim, 1)
        self.first = nn.Parameter(torch.zeros(()))
        self.apart_S = nn.Parameter(torch.zeros(n_levels - 2))

    def forward(self, embedding_BD: Tensor) -> Tensor:
        """Return logits of "above level s", shape (B, n_levels - 1), never rising along the row."""
        later_S = self.first + nn.functional.softplus(self.apart_S).cumsum(0)
        return self.score(embedding_BD) - torch.cat([self.first[None], later_S])

    @staticmethod
    def total(severity_BS: Tensor, level_B: Tensor) -> Tensor:
        """Return the sum of binary cross-entropies over steps of windows with a level; -1 is no label."""
        known_B = level_B >= 0
        above_BS = (level_B[:, None] > torch.arange(severity_BS.shape[1], device=level_B.device)).to(severity_BS)
        each_BS = nn.functional.binary_cross_entropy_with_logits(severity_BS, above_BS, reduction="none")
        return (each_BS * known_B[:, None]).sum()

    @staticmethod
    def probabilities(severity_BS: Tensor) -> Tensor:
        """Return the probability of each level, shape (B, n_levels)."""
        above = severity_BS.sigmoid()
        padded = torch.cat([torch.ones_like(above[:, :1]), above, torch.zeros_like(above[:, :1])], 1)
        return padded[:, :-1] - padded[:, 1:]


class ConfidenceHead(nn.Module):
    """The logit that all diagnoses are right at one half, from the embedding and how decided they are.

    It learns from the model's own mistakes and passes no gradient on to what it looks at; mistakes on training windows
    are too few, so that it is fitted again on people that were held out (`studies.hearts.sources`).
    """

    def __init__(self, dim: int, n_classes: int) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(dim + n_classes, 16), nn.GELU(), nn.Linear(16, 1))

    def forward(self, embedding_BD: Tensor, logits_BK: Tensor) -> Tensor:
        """Return the logit, shape (B,)."""
        decided_BK = logits_BK.detach().abs()
        result_B: Tensor = self.hidden(torch.cat([embedding_BD.detach(), decided_BK], 1))[:, 0]
        return result_B

    @staticmethod
    def total(confidence_B: Tensor, logits_BK: Tensor, target_BK: Tensor) -> Tensor:
        """Return the sum of binary cross-entropies to whether every diagnosis is right."""
        right_B = ((logits_BK.detach() > 0) == (target_BK > 0.5)).all(1).to(confidence_B)
        return nn.functional.binary_cross_entropy_with_logits(confidence_B, right_B, reduction="sum")
