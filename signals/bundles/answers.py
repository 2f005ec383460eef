"""From the logits of a bundle's members to one answer per window: mean or meta-learner, temperature, uncertainty."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from signals.bundles.calibration import (
    Conformal,
    Uncertainty,
    activated,
    decompose,
    entropy,
    in_set,
    of_each,
    softmax,
    tempered,
    tempered_each,
)

Combiner = Callable[[np.ndarray], np.ndarray]
"""A meta-learner: members' probabilities, float32, shape (n_windows, n_members, n_classes), to logits."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """One row per window."""

    probabilities: np.ndarray
    """Calibrated, float64, shape (n_windows, n_classes)."""
    uncertainty: Uncertainty


def answers_of_each(member_logits: np.ndarray, *, temperature: float) -> Answers:
    """Return the answers of members on a multi-label task: the mean of their probabilities, each class for itself.

    Uncertainty is that of yes and no, mean over classes; its parts as in `uncertainty`.
    """
    calibrated = probabilities_of_each(member_logits, temperature=temperature)
    total = entropy(of_each(calibrated)).mean(axis=-1)
    if len(member_logits) == 1:
        return Answers(probabilities=calibrated, uncertainty=Uncertainty(total=total))
    pairs = of_each(activated(member_logits / temperature, multilabel=True))
    whole, within = entropy(pairs.mean(axis=0)).mean(axis=-1), entropy(pairs).mean(axis=(0, -1))
    share = np.divide(whole - within, whole, out=np.zeros_like(total), where=whole > 0).clip(0, 1)
    parts = Uncertainty(total=total, aleatoric=total * (1 - share), epistemic=total * share)
    return Answers(probabilities=calibrated, uncertainty=parts)


def probabilities_of_each(member_logits: np.ndarray, *, temperature: float) -> np.ndarray:
    """Return the calibrated mean of members' probabilities, each class for itself, shape (n_windows, n_classes)."""
    return tempered_each(activated(member_logits, multilabel=True).mean(axis=0), temperature)


def answers(member_logits: np.ndarray, *, temperature: float, combiner: Combiner | None = None) -> Answers:
    """Return the answers of members whose logits have shape (n_members, n_windows, n_classes)."""
    calibrated = tempered(combined(member_logits, combiner), temperature)
    return Answers(probabilities=calibrated, uncertainty=uncertainty(member_logits, calibrated, temperature))


def combined(member_logits: np.ndarray, combiner: Combiner | None = None) -> np.ndarray:
    """Return the mean of the members' probabilities, or the meta-learner's, float64, shape (n_windows, n_classes)."""
    members = softmax(member_logits)
    if combiner is None:
        return np.asarray(members.mean(axis=0))
    return softmax(combiner(members.swapaxes(0, 1).astype(np.float32)))


def uncertainty(member_logits: np.ndarray, calibrated: np.ndarray, temperature: float) -> Uncertainty:
    """Return how uncertain an answer is: its own entropy, split as that of its members.

    Total is the entropy of the calibrated probabilities. Of several members, at the same temperature, the epistemic
    share is that of their disagreement in the entropy of their mean; where the answer is that mean, this is the
    decomposition itself. One member has no parts.
    """
    total = entropy(calibrated)
    if len(member_logits) == 1:
        return Uncertainty(total=total)
    parts = decompose(softmax(member_logits / temperature))
    assert parts.epistemic is not None  # decompose gives both
    share = np.divide(parts.epistemic, parts.total, out=np.zeros_like(total), where=parts.total > 0)
    return Uncertainty(total=total, aleatoric=total * (1 - share), epistemic=total * share)


def prediction_set(probabilities: np.ndarray, conformal: Conformal, classes: Sequence[str]) -> tuple[str, ...]:
    """Return the classes of one window that reach their thresholds, in the task's order; it may be empty."""
    inside = in_set(probabilities, np.array(conformal.thresholds))
    return tuple(name for name, is_in in zip(classes, inside, strict=True) if is_in)
