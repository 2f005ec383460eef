"""A teacher's probabilities of the windows that a student learns from, and what they add to the student's loss.

Shapes: B batch, K class.
"""

from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from signals.bundles.calibration import tempered

MAX_TEMPERATURE = 100.0
"""Above it every distribution is uniform but for rounding, and T^2 outgrows the labels."""


@dataclass(frozen=True, kw_only=True)
class Teaching:
    """A teacher's probabilities, and how much they count beside the labels (Hinton et al. 2015)."""

    probabilities: np.ndarray = field(repr=False)
    """Of each labelled window, float, shape (n, n_classes); nan without."""
    weight: float = 0.5
    """Share of the teacher in the loss; the labels have the rest."""
    temperature: float = 2.0
    """Softens teacher and student alike, so that small probabilities are heard too."""

    def __post_init__(self) -> None:
        check_teaching(self.weight, self.temperature)

    def softened(self, rows: np.ndarray | list[int]) -> np.ndarray:
        """Return softmax(log p / T) of rows, float32, shape (B, n_classes); raises ValueError for a row without."""
        wanted = self.probabilities[rows]
        if np.isnan(wanted).any():
            raise ValueError("the teacher has no probabilities of some windows that are trained on")
        return tempered(wanted, self.temperature).astype(np.float32)

    def total(self, logits_BK: Tensor, taught_BK: Tensor) -> Tensor:
        """Return the sum over windows of T^2 KL(softened teacher || softened student), but for its constant.

        T^2 keeps the size of the gradient independent of the temperature.
        """
        log_prob_BK = (logits_BK.float() / self.temperature).log_softmax(-1)
        return -(taught_BK * log_prob_BK).sum() * self.temperature**2


def check_teaching(weight: float, temperature: float) -> None:
    """Raise ValueError for a share outside 0 to 1, and for a temperature that leaves nothing of a distribution."""
    if not 0 <= weight <= 1:
        raise ValueError(f"weight={weight} must lie between 0 and 1")
    if not 0 < temperature <= MAX_TEMPERATURE:
        raise ValueError(f"temperature={temperature} must be above 0 and at most {MAX_TEMPERATURE:g}")
