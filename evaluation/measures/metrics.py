"""Metrics of a classification, from rows of probabilities or from (weighted) counts.

Functions that end in `_rows` give one number per window, so that sums over subjects can be resampled. Those that take
`confusion` work on any leading axes, so that thousands of resampled matrices are one call. What is undefined is nan,
never 0.0; `REASONS` states why.

The predicted class is the one of the highest probability; where several tie, the window counts for each of them in
equal shares, so that a model of equal probabilities scores exactly as chance does.
"""

from dataclasses import dataclass

import numpy as np

EPSILON = 1e-15
"""Probabilities are clipped to [EPSILON, 1 - EPSILON], the convention of the HMS competition's metric."""
N_BINS = 15
GRAVE_COST = 5.0
"""What a grave confusion costs where another mistake costs 1: a convention to rank models by, no clinical estimate."""

REASONS = {
    "kl": "no windows",
    "accuracy": "no windows",
    "balanced_accuracy": "fewer than two classes among the labels",
    "kappa": "fewer than two classes among the labels",
    "weighted_f1": "no windows",
    "auroc_macro": "no class has both positive and negative windows",
    "auprc_macro": "no class has positive windows",
    "auroc": "the class has no positive or no negative windows",
    "auprc": "the class has no positive windows",
    "recall": "the class does not occur among the labels",
    "precision": "the class was never predicted",
    "ece": "no windows",
    "brier": "no windows",
    "log_loss": "no windows",
    "grave_rate": "no grave confusions are defined for this task",
    "grave_cost": "no grave confusions are defined for this task",
    "grave": "the class does not occur among the labels",
}
HIGHER_IS_BETTER = {
    "kl": False, "accuracy": True, "balanced_accuracy": True, "kappa": True, "weighted_f1": True, "auroc_within": True,
    "auroc_macro": True,    "auprc_macro": True, "ece": False, "brier": False, "log_loss": False, "grave_rate": False,
    "grave_cost": False,
}  # fmt: skip


@dataclass(frozen=True)
class Metric:
    """A number, or nan and why."""

    value: float
    reason: str = ""


def metric(name: str, value: float) -> Metric:
    """Return the value as a metric; nan gets its reason from `REASONS`. `name` may carry a class: "auroc[LPD]"."""
    return Metric(float(value), "" if np.isfinite(value) else REASONS[name.split("[")[0]])


def kl_rows(target: np.ndarray, prob: np.ndarray) -> np.ndarray:
    """Return KL(target || prob) of each row in nats, shape (n_windows,); both of shape (n_windows, n_classes).

    As in the HMS competition (Harmful Brain Activity Classification, 2024): `prob` is clipped to
    [1e-15, 1 - 1e-15] and not rescaled, and a class without votes adds nothing. The score is the mean over rows.
    """
    clipped = np.clip(prob, EPSILON, 1 - EPSILON)
    voted = target > 0
    ratio = np.where(voted, target, 1.0) / np.where(voted, clipped, 1.0)
    return (target * np.log(ratio)).sum(axis=1)


def log_loss_rows(true_index: np.ndarray, prob: np.ndarray) -> np.ndarray:
    """Return -log of the true class's clipped probability, nats, shape (n_windows,)."""
    return -np.log(np.clip(prob[np.arange(len(prob)), true_index], EPSILON, 1 - EPSILON))


def brier_rows(true_index: np.ndarray, prob: np.ndarray) -> np.ndarray:
    """Return the squared distance of each row to its one-hot label, shape (n_windows,), in [0, 2] (Brier 1950)."""
    return ((prob - np.eye(prob.shape[1])[true_index]) ** 2).sum(axis=1)


def predicted_shares(prob: np.ndarray) -> np.ndarray:
    """Return how much each class is the predicted one, shape (n_windows, n_classes); ties share equally."""
    top = prob == prob.max(axis=1, keepdims=True)
    return top / top.sum(axis=1, keepdims=True)


def confidence_bins(prob: np.ndarray) -> np.ndarray:
    """Return the bin of each row's highest probability, shape (n_windows,): bin b is (b/15, (b+1)/15] (Guo 2017)."""
    edges = np.linspace(0.0, 1.0, N_BINS + 1)
    return np.clip(np.searchsorted(edges, prob.max(axis=1), side="left") - 1, 0, N_BINS - 1)


def confusion_matrix(true_index: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return counts, rows the label and columns the prediction, shape (n_classes, n_classes)."""
    return np.eye(shares.shape[1])[true_index].T @ shares


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    numerator, denominator = np.broadcast_arrays(np.asarray(numerator, float), np.asarray(denominator, float))
    return np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=denominator > 0)


def recall(confusion: np.ndarray) -> np.ndarray:
    """Return the share of each class's windows that were recognised, shape (..., n_classes); nan where none occur."""
    return _ratio(np.diagonal(confusion, axis1=-2, axis2=-1), confusion.sum(axis=-1))


def precision(confusion: np.ndarray) -> np.ndarray:
    """Return the share of each class's predictions that are right, shape (..., n_classes); nan where none were made."""
    return _ratio(np.diagonal(confusion, axis1=-2, axis2=-1), confusion.sum(axis=-2))


def accuracy(confusion: np.ndarray) -> np.ndarray:
    """Return the share of right predictions, shape (...,)."""
    return _ratio(np.trace(confusion, axis1=-2, axis2=-1), confusion.sum(axis=(-2, -1)))


def balanced_accuracy(confusion: np.ndarray) -> np.ndarray:
    """Return the mean recall over the classes that occur, shape (...,); nan where fewer than two occur."""
    recalls = recall(confusion)
    present = np.isfinite(recalls)
    total = np.where(present, recalls, 0.0).sum(axis=-1)
    return np.where(present.sum(axis=-1) >= 2, _ratio(total, present.sum(axis=-1)), np.nan)


def cohen_kappa(confusion: np.ndarray) -> np.ndarray:
    """Return agreement beyond chance, shape (...,) (Cohen 1960).

    nan where fewer than two classes occur among the labels: it would be 0 there, however good the predictions.
    """
    n = confusion.sum(axis=(-2, -1))
    by_chance = _ratio((confusion.sum(axis=-1) * confusion.sum(axis=-2)).sum(axis=-1), n**2)
    several = (confusion.sum(axis=-1) > 0).sum(axis=-1) >= 2
    return _ratio(accuracy(confusion) - by_chance, np.where(several, 1 - by_chance, 0.0))


def weighted_f1(confusion: np.ndarray) -> np.ndarray:
    """Return the mean F1 over classes weighted by their windows, shape (...,)."""
    support = confusion.sum(axis=-1)
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    f1 = _ratio(2 * hits, support + confusion.sum(axis=-2))  # nan only where the class is in neither, so weighs 0
    return _ratio((np.nan_to_num(f1) * support).sum(axis=-1), support.sum(axis=-1))


def expected_calibration_error(bins: np.ndarray) -> np.ndarray:
    """Return the ECE, shape (...,), from (count, sum of confidence, number right) per bin, shape (..., n_bins, 3)."""
    gaps = np.abs(bins[..., 1] - bins[..., 2]).sum(axis=-1)
    return _ratio(gaps, bins[..., 0].sum(axis=-1))


def auroc(
    scores: np.ndarray, positive: np.ndarray, weights: np.ndarray | None = None, codes: np.ndarray | None = None
) -> np.ndarray:
    """Return the area under the ROC curve by weighted ranks, shape (n_boot,), or () without weights.

    `scores` and bool `positive` have shape (n_windows,). `weights` has shape (n_boot, n_windows), or (n_boot,
    n_subjects) where `codes`, shape (n_windows,), gives the subject of each window. Ties count half. nan where there
    are no positives or no negatives.
    """
    rows = np.ones((1, len(scores))) if weights is None else weights
    owner = np.arange(len(scores)) if codes is None else codes
    up, down = np.flatnonzero(positive), np.flatnonzero(~positive)
    up, down = up[np.argsort(scores[up], kind="stable")], down[np.argsort(scores[down], kind="stable")]
    left, right = (np.searchsorted(scores[down], scores[up], side=side) for side in ("left", "right"))
    up_owner, down_owner = owner[up], owner[down]
    rows = _counts(rows, len(scores))
    below, area = np.zeros(len(down) + 1, dtype=rows.dtype), np.full(len(rows), np.nan)
    # Row by row: what a row needs stays in the cache, which makes this several times faster than whole matrices.
    for b, row in enumerate(rows):
        np.cumsum(row.take(down_owner), out=below[1:])
        of_up = row.take(up_owner).astype(np.float64)
        pairs = of_up.sum() * float(below[-1])
        if pairs > 0:
            area[b] = 0.5 * (of_up @ below.take(left) + of_up @ below.take(right)) / pairs
    return area[0] if weights is None else area


def _counts(weights: np.ndarray, n: int) -> np.ndarray:
    """Return weights as int32 where they are counts whose sum over n windows fits: these add up 8 times faster."""
    if weights.size and weights.min() >= 0 and weights.max() * n < 2**31:
        whole = weights.astype(np.int32)
        if (whole == weights).all():
            return whole
    return np.asarray(weights, dtype=np.float64)


def auprc(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Return the average precision (a step-wise area under the precision-recall curve); nan without positives.

    weights: how many windows each stands for, shape (n_windows,), where a class was sampled at another frequency.
    """
    if not positive.any():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.r_[np.diff(scores[order]) < 0, True])
    each = np.ones(len(scores)) if weights is None else weights[order]
    hits, seen = np.cumsum(each * positive[order])[last], np.cumsum(each)[last]
    gained = np.diff(np.r_[0, hits]) / hits[-1]
    return float((gained * hits / seen).sum())


def nanmean_classes(values: np.ndarray) -> np.ndarray:
    """Return the mean over the last axis of what is defined, shape (...,); nan where nothing is."""
    defined = np.isfinite(values)
    return _ratio(np.where(defined, values, 0.0).sum(axis=-1), defined.sum(axis=-1))
