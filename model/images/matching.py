"""The loss of a set of points: each true point matched with one query, then focal, L1, L2 and BCE terms.

The match is the cheapest assignment (Kuhn 1955, SciPy's); given it, the loss is differentiable. It is a sum with a
count, as all of training's: the number of true points.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from model.images.points import WAVES, Points

NONE = len(WAVES)
FOCAL_GAMMA, BOX_WEIGHT, KEY_WEIGHT, CONFIDENCE_WEIGHT = 2.0, 5.0, 200.0, 1.0
_NEAR = 0.02
"""Distance, as a share of the picture, within which a point of the right wave counts as right for its confidence."""


@dataclass(frozen=True)
class TruePoints:
    """The points of one picture, as many as there are."""

    wave_M: Tensor
    """Places in `WAVES`, int64."""
    box_M4: Tensor
    key_M2: Tensor


def match(predicted: Points, of: int, true: TruePoints) -> tuple[np.ndarray, np.ndarray]:
    """Return queries and true points that belong together, of the picture at a place in the batch; each once."""
    with torch.no_grad():
        chance = predicted.wave_BQK[of].softmax(-1)[:, true.wave_M]
        key = torch.cdist(predicted.key_BQ2[of], true.key_M2, p=1)
        box = torch.cdist(predicted.box_BQ4[of], true.box_M4, p=1)
        cost = -chance + 5 * key + box
    return linear_sum_assignment(cost.float().cpu().numpy())


def total(predicted: Points, true: list[TruePoints]) -> Tensor:
    """Return the sum of losses over the pictures' points."""
    waves = torch.full(predicted.wave_BQK.shape[:2], NONE, device=predicted.wave_BQK.device)
    right = torch.zeros_like(predicted.confidence_BQ)
    placed = predicted.key_BQ2.sum() * 0.0
    for at, points in enumerate(true):
        query, point = (torch.as_tensor(one) for one in match(predicted, at, points))
        waves[at, query] = points.wave_M[point]
        key = predicted.key_BQ2[at, query]
        placed = placed + BOX_WEIGHT * (predicted.box_BQ4[at, query] - points.box_M4[point]).abs().sum()
        placed = placed + KEY_WEIGHT * (key - points.key_M2[point]).square().sum()
        is_wave = predicted.wave_BQK[at, query].argmax(-1) == points.wave_M[point]
        right[at, query] = ((key - points.key_M2[point]).norm(dim=-1).lt(_NEAR) & is_wave).to(right)
    log_BQK = predicted.wave_BQK.log_softmax(-1)
    log_BQ = log_BQK.gather(-1, waves[..., None])[..., 0]
    focal = -((1 - log_BQ.exp()) ** FOCAL_GAMMA * log_BQ).sum()
    sure = F.binary_cross_entropy_with_logits(predicted.confidence_BQ, right.detach(), reduction="sum")
    return focal + placed + CONFIDENCE_WEIGHT * sure


def count(true: list[TruePoints]) -> int:
    """Return what `total` is divided by."""
    return max(1, sum(len(points.wave_M) for points in true))
