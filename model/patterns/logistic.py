"""A logistic regression as plain arrays: inputs are clipped to the range of its training data, then weighted."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.special import softmax


@dataclass(frozen=True, kw_only=True)
class LogisticModel:
    """Weights of standardised, clipped inputs."""

    names: tuple[str, ...]
    """Inputs, in order."""
    classes: tuple[str, ...]
    """Outputs, in order."""
    low: np.ndarray = field(repr=False)
    """float64, shape (n_inputs,): smaller values count as this, since a linear model extrapolates without limit."""
    high: np.ndarray = field(repr=False)
    weight: np.ndarray = field(repr=False)
    """float64, shape (n_inputs, n_classes)."""
    offset: np.ndarray = field(repr=False)
    """float64, shape (n_classes,)."""

    def logits(self, x: np.ndarray) -> np.ndarray:
        """Return logits, float64, shape (n, n_classes); x (n, n_inputs).

        Raises ValueError for another number of inputs.
        """
        if x.ndim != 2 or x.shape[1] != len(self.names):
            raise ValueError(f"x has shape {x.shape}; it must be (n, {len(self.names)})")
        return np.asarray(np.clip(x, self.low, self.high) @ self.weight + self.offset)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return class probabilities, float64, shape (n, n_classes); as `logits`."""
        return np.asarray(softmax(self.logits(x), axis=1))


def logistic_of(
    mean: np.ndarray,
    scale: np.ndarray,
    coefficients: np.ndarray,
    intercept: np.ndarray,
    *,
    limits: tuple[np.ndarray, np.ndarray],
    names: Sequence[str],
    classes: Sequence[str],
) -> LogisticModel:
    """Return a regression of standardised inputs, (x - mean) / scale, as one of the inputs themselves.

    `coefficients`: shape (n_classes, n_inputs), as scikit-learn has them; `limits`: lowest and highest of each input.
    """
    weight = (coefficients / scale).T
    return LogisticModel(
        names=tuple(names), classes=tuple(classes), low=np.asarray(limits[0], np.float64),
        high=np.asarray(limits[1], np.float64), weight=weight, offset=intercept - mean @ weight,
    )  # fmt: skip
