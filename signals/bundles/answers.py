"""From the logits of a bundle's members to one answer: mean, temperature, uncertainty, prediction set.

Temperature: Guo et al. 2017. Sets: split conformal prediction (Vovk 2005), thresholds as
`evaluation.measures.conformal` fits them. Uncertainty: entropies in nats; what the members disagree about, the
mutual information of answer and member, is epistemic, the rest aleatoric (Depeweg et al. 2018).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

_TINY = 1e-12


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
    """What was learnt on held-out windows about how far probabilities can be believed."""

    temperature: float = 1.0
    """Log-probabilities are divided by it."""
    conformal: Conformal | None = None
    """None: no prediction sets."""
    abstain_below: float | None = None
    """Confidence under which the model keeps silent."""
    split_digest: str = ""
    """Digest of the split whose held-out windows were used; empty where nothing was calibrated."""

    def __post_init__(self) -> None:
        if not 0 < self.temperature < np.inf:
            raise ValueError(f"temperature={self.temperature} must be a number above 0")
        if self.abstain_below is not None and not 0 <= self.abstain_below <= 1:
            raise ValueError(f"abstain_below={self.abstain_below} must be a probability")

    def check(self, n_classes: int) -> None:
        """Raise ValueError where there is not one threshold a class."""
        if self.conformal is not None and len(self.conformal.thresholds) != n_classes:
            raise ValueError(f"{len(self.conformal.thresholds)} conformal thresholds do not fit {n_classes} classes")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Calibration":
        """Build a calibration from JSON; what is missing has its default. Raises ValueError for what does not fit."""
        try:
            sets = fields.get("conformal")
            below = fields.get("abstain_below")
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
                split_digest=str(fields.get("split_digest") or ""),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"calibration lacks something or is of another form: {error!r}") from None


@dataclass(frozen=True, kw_only=True)
class Uncertainty:
    """Entropies in nats, shape (n_windows,) each; 0 is sure, log(n_classes) knows nothing."""

    total: np.ndarray
    aleatoric: np.ndarray | None = None
    """Mean entropy of the members; None where there is one member only."""
    epistemic: np.ndarray | None = None
    """What the members disagree about: total less aleatoric; None where there is one member only."""


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return probabilities along the last axis, float64."""
    shifted = logits.astype(np.float64)
    exponents = np.exp(shifted - shifted.max(axis=-1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=-1, keepdims=True))


def tempered(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return probabilities whose logarithms were divided by the temperature and which add up to 1 again."""
    return softmax(np.log(np.maximum(probabilities, _TINY)) / temperature)


def mean_of_members(member_logits: np.ndarray) -> np.ndarray:
    """Return the mean probabilities of (n_members, n_windows, n_classes) logits, shape (n_windows, n_classes)."""
    return np.asarray(softmax(member_logits).mean(axis=0))


def uncertainty(member_logits: np.ndarray, calibrated: np.ndarray, temperature: float) -> Uncertainty:
    """Return how unsure an answer is.

    One member: the entropy of its calibrated probabilities. Several: entropies of the members at that temperature, so
    that aleatoric and epistemic add up to the total exactly.
    """
    if len(member_logits) == 1:
        return Uncertainty(total=entropy(calibrated))
    members = softmax(member_logits / temperature)
    total, aleatoric = entropy(members.mean(axis=0)), entropy(members).mean(axis=0)
    # Jensen's inequality makes it at least 0; rounding may take it below.
    return Uncertainty(total=total, aleatoric=aleatoric, epistemic=np.maximum(total - aleatoric, 0.0))


def entropy(probabilities: np.ndarray) -> np.ndarray:
    """Return the entropy along the last axis, nats."""
    return np.asarray(-(probabilities * np.log(np.maximum(probabilities, _TINY))).sum(axis=-1))


def prediction_set(probabilities: np.ndarray, conformal: Conformal, classes: Sequence[str]) -> tuple[str, ...]:
    """Return the classes of one window that reach their thresholds, in the task's order; it may be empty."""
    pairs = zip(classes, probabilities, conformal.thresholds, strict=True)
    # A threshold that could not be fitted (nan) leaves a class in: the promise must hold.
    return tuple(name for name, value, threshold in pairs if not value < threshold)
