"""How a loss treats rare classes: one registry of kinds, and the weights and margins that they take from counts.

Class-balanced weights: Cui et al. 2019. Margins for rare classes, and weights that enter late: LDAM-DRW (Cao et
al. 2019). Whatever weighs classes changes what probabilities mean; `odds_shift` states by how much, so that it can be
taken back (`signals.bundles.calibration.shifted_each`).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

LossKind = Literal["kl", "focal", "ldam", "class-balanced"]
EFFECTIVE_BETA = 0.9999
"""Every further window of a class brings this share of what the one before brought."""


@dataclass(frozen=True, kw_only=True)
class LossForm:
    """What a kind of loss does beyond the cross-entropy."""

    about: str
    is_focal: bool = False
    """Whether what is known already counts less."""
    has_margins: bool = False
    """Whether rare classes must win by more."""
    is_effective: bool = False
    """Whether classes weigh by their effective numbers, in place of the recipe's class weights."""
    is_deferred: bool = False
    """Whether weights enter late in the run."""


LOSSES: dict[LossKind, LossForm] = {
    "kl": LossForm(about="cross-entropy; binary where a window may have several classes"),
    "focal": LossForm(about="cross-entropy that looks away from what is known", is_focal=True),
    "ldam": LossForm(
        about="margins for rare classes, class-balanced weights late in the run",
        has_margins=True, is_effective=True, is_deferred=True,
    ),
    "class-balanced": LossForm(about="cross-entropy weighted by effective numbers", is_effective=True),
}  # fmt: skip
"""Every kind of loss by the name that recipes give it."""


def effective_weights(counts: np.ndarray, *, beta: float = EFFECTIVE_BETA) -> np.ndarray:
    """Return the inverse of classes' effective numbers, shape of `counts`, mean 1 over classes that are there.

    A class without any window weighs 0. Raises ValueError for a beta outside of [0, 1).
    """
    if not 0 <= beta < 1:
        raise ValueError(f"beta={beta} must be at least 0 and below 1")
    there = counts > 0
    effective = -np.expm1(np.where(there, counts, 1.0) * np.log(beta)) if beta else np.ones(len(counts))
    weights = np.where(there, (1 - beta) / effective, 0.0)
    return np.asarray(weights * there.sum() / max(float(weights.sum()), 1e-12))


def margins(counts: np.ndarray, *, largest: float) -> np.ndarray:
    """Return by how many logits each class must win, shape of `counts`: n^(-1/4), scaled so that the rarest has
    `largest`. A class without any window has none."""
    there = counts > 0
    roots = np.where(there, np.maximum(counts, 1e-9) ** -0.25, 0.0)
    return np.asarray(largest * roots / max(float(roots.max(initial=0.0)), 1e-12))


def odds_shift(positive_weights: np.ndarray) -> np.ndarray:
    """Return by how much weighted positives raise the logit of each class of a multi-label task: log of the weight.

    The minimum of w p log q + (1 - p) log(1 - q) lies where the odds of q are w times those of p.
    """
    if not (np.asarray(positive_weights) > 0).all():
        raise ValueError(f"positive_weights={np.asarray(positive_weights).tolist()} must be positive")
    return np.log(np.asarray(positive_weights, dtype=np.float64))
