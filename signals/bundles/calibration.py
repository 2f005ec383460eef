"""The arithmetic of calibrated probabilities, for models, their evaluation and the server alike.

Temperature: Guo et al. 2017. Prediction sets: split conformal prediction (Vovk 2005), with thresholds as
`evaluation.measures.conformal` fits them. Uncertainty: entropies in nats; the mutual information of answer and member,
which is what members disagree about, is epistemic, the rest aleatoric (Depeweg et al. 2018,
doi:10.48550/arXiv.1710.07283).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from scipy import special

FLOOR = 1e-15
"""Least probability whose logarithm is taken; `evaluation.measures.metrics` scores with the same."""
UNCERTAINTY_COLUMNS = ("uncertainty_total", "uncertainty_aleatoric", "uncertainty_epistemic")
"""Columns of a predictions file that may carry `Uncertainty`, nats."""


@dataclass(frozen=True, kw_only=True)
class Conformal:
    """Thresholds of prediction sets."""

    method: str
    """"split" or "class-conditional"."""
    alpha: float
    """Share of labels that the sets may miss."""
    thresholds: tuple[float, ...]
    """Least probability with which each class enters a set."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What held-out windows showed about how far probabilities can be trusted."""

    temperature: float = 1.0
    """Log-probabilities are divided by it."""
    conformal: Conformal | None = None
    """None: no prediction sets."""
    abstain_below: float | None = None
    """Confidence below which the model abstains."""
    decisions: tuple[float, ...] | None = None
    """Probability from which a multi-label task's class is answered, by class; None for one half."""
    split_digest: str = ""
    """Digest of the split whose held-out windows were used; empty where nothing was calibrated."""

    def __post_init__(self) -> None:
        _check_temperature(self.temperature)
        if self.abstain_below is not None and not 0 <= self.abstain_below <= 1:
            raise ValueError(f"abstain_below={self.abstain_below} must be a probability")

    def check(self, n_classes: int) -> None:
        """Raise ValueError unless there is one threshold per class."""
        if self.conformal is not None and len(self.conformal.thresholds) != n_classes:
            raise ValueError(f"{len(self.conformal.thresholds)} conformal thresholds do not fit {n_classes} classes")
        if self.decisions is not None and len(self.decisions) != n_classes:
            raise ValueError(f"{len(self.decisions)} decision thresholds do not fit {n_classes} classes")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Calibration":
        """Build a calibration from JSON; what is missing has its default. Raises ValueError for what does not fit."""
        try:
            sets = fields.get("conformal")
            below, decisions = fields.get("abstain_below"), fields.get("decisions")
            return cls(
                temperature=float(fields.get("temperature", 1.0)),
                conformal=None
                if not sets
                else Conformal(
                    method=str(sets["method"]),
                    alpha=float(sets["alpha"]),
                    thresholds=tuple(float(value) for value in sets["thresholds"]),
                ),
                abstain_below=None if below is None else float(below),
                decisions=None if decisions is None else tuple(float(value) for value in decisions),
                split_digest=str(fields.get("split_digest") or ""),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"the calibration is incomplete or has a different form: {error!r}") from None


@dataclass(frozen=True, kw_only=True)
class Uncertainty:
    """Entropies in nats, shape (n_windows,) each; 0 is certain, log(n_classes) is a uniform distribution."""

    total: np.ndarray = field(repr=False)
    aleatoric: np.ndarray | None = field(default=None, repr=False)
    """None for a single model."""
    epistemic: np.ndarray | None = field(default=None, repr=False)
    """What the members disagree about: total less aleatoric; None for a single model."""

    def columns(self) -> dict[str, np.ndarray]:
        """Return the entropies that are known, by the names of `UNCERTAINTY_COLUMNS`."""
        parts = zip(UNCERTAINTY_COLUMNS, (self.total, self.aleatoric, self.epistemic), strict=True)
        return {name: part for name, part in parts if part is not None}


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return probabilities along the last axis, float64."""
    return np.asarray(special.softmax(np.asarray(logits, np.float64), axis=-1))


def activated(logits: np.ndarray, *, multilabel: bool) -> np.ndarray:
    """Return probabilities along the last axis, float64: of one class of several, or of each class for itself."""
    return np.asarray(special.expit(np.asarray(logits, np.float64))) if multilabel else softmax(logits)


def tempered_each(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return probabilities of a multi-label task whose logits are divided by a temperature, same shape."""
    _check_temperature(temperature)
    inside = np.clip(probabilities, FLOOR, 1 - 1e-12)
    return np.asarray(special.expit(special.logit(inside) / temperature))


def shifted_each(probabilities: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Return probabilities of a multi-label task whose logits are lowered by a shift for each class, same shape.

    Takes back what weighted positives, or another prevalence in training, added to the odds (Elkan 2001); it changes
    no order within a class.
    """
    inside = np.clip(probabilities, FLOOR, 1 - 1e-12)
    return np.asarray(special.expit(special.logit(inside) - np.asarray(shift, np.float64)))


def of_each(probabilities: np.ndarray) -> np.ndarray:
    """Return each class's distribution over yes and no, shape (..., n_classes, 2)."""
    return np.stack([probabilities, 1 - probabilities], axis=-1)


def tempered(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return probabilities whose logarithms are divided by a temperature, same shape; above 1 they are less certain.

    Raises ValueError for a temperature that is not above 0.
    """
    _check_temperature(temperature)
    return softmax(np.log(np.maximum(probabilities, FLOOR)) / temperature)


def _check_temperature(temperature: float) -> None:
    if not 0 < temperature < np.inf:
        raise ValueError(f"temperature={temperature} must be a number above 0")


def entropy(probabilities: np.ndarray) -> np.ndarray:
    """Return the entropy of distributions along the last axis, nats; 0 log 0 is 0."""
    p = np.asarray(probabilities)
    return np.asarray(-np.where(p > 0, p * np.log(np.where(p > 0, p, 1.0)), 0.0).sum(axis=-1))


def decompose(members: np.ndarray) -> Uncertainty:
    """Return the uncertainty of the mean of members' distributions, shape (n_members, n_windows, n_classes).

    Total is the entropy of the mean, aleatoric the mean entropy, epistemic the difference. Members are models of an
    ensemble, or draws of one model with dropout left on. Raises ValueError for a single member, which has none to
    disagree with.
    """
    if members.ndim != 3 or len(members) < 2:
        raise ValueError(f"members of shape {members.shape} must be at least 2 by windows by classes")
    total, aleatoric = entropy(members.mean(axis=0)), entropy(members).mean(axis=0)
    # Jensen's inequality makes it at least 0; rounding may take it below.
    return Uncertainty(total=total, aleatoric=aleatoric, epistemic=np.maximum(total - aleatoric, 0.0))


def in_set(probabilities: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Return which classes reach their thresholds, bool, shape (..., n_classes); none may.

    A threshold that could not be fitted (nan) leaves its class in: the promise of the set must hold.
    """
    return ~(np.asarray(probabilities) < np.asarray(thresholds))
