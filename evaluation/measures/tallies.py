"""Per-subject tallies of a model's predictions: sufficient statistics for resampling subjects.

Every additive metric is a weighted sum of subjects' tallies, and AUROC is a quadratic form in the weights: with
`pairs[s, t]` the number of (positive of s, negative of t) that are ranked rightly, its numerator is w' pairs w.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from evaluation.measures import metrics
from evaluation.schemas.predictions import probabilities, targets

PAIRED_CELLS = 10
"""Subjects are paired where their square is at most so many times the windows: beyond, ranking resamples is faster."""


@dataclass(frozen=True, kw_only=True)
class Tallies:
    """Sufficient statistics of S subjects and K classes."""

    classes: tuple[str, ...]
    subjects: tuple[str, ...]
    window_keys: tuple[str, ...] = field(repr=False)
    """Of the rows, in their order: two models are only compared on the same windows."""
    sums: np.ndarray = field(repr=False)
    """Windows, KL, log loss, Brier; shape (S, 4)."""
    confusion: np.ndarray = field(repr=False)
    """Shape (S, K, K)."""
    bins: np.ndarray = field(repr=False)
    """Count, confidence, right; shape (S, N_BINS, 3)."""
    pairs: np.ndarray | None = field(repr=False)
    """Shape (K, S, S); None beyond PAIRED_CELLS."""
    grave: np.ndarray = field(repr=False)
    """bool, shape (K, K)."""
    codes: np.ndarray = field(repr=False)
    """Subject of each row."""
    true_index: np.ndarray = field(repr=False)
    """Class of each row."""
    scores: np.ndarray = field(repr=False)
    """Probabilities, shape (n_windows, K)."""

    @property
    def n_subjects(self) -> int:
        """Number of subjects."""
        return len(self.subjects)


def tally(
    frame: pd.DataFrame,
    classes: tuple[str, ...],
    *,
    grave: Sequence[tuple[str, str]] = (),
    people: Sequence[str] | None = None,
) -> Tallies:
    """Return the tallies of one model's rows (`Predictions.of`), subjects in sorted order.

    `people` names the subjects, sorted, where some may have no rows, so that their resamples stay paired with others'.
    """
    prob, target = probabilities(frame, classes), targets(frame, classes)
    index = {name: i for i, name in enumerate(classes)}
    true_index = frame["label"].map(index).to_numpy(dtype=np.int64)
    ids = frame["subject_id"].to_numpy(dtype=str)
    subjects = np.unique(ids) if people is None else np.asarray(people, dtype=str)
    codes = np.searchsorted(subjects, ids)
    n_subjects, n_classes = len(subjects), len(classes)
    shares = metrics.predicted_shares(prob)
    rows = np.column_stack(
        [np.ones(len(prob)), metrics.kl_rows(target, prob), metrics.log_loss_rows(true_index, prob),
         metrics.brier_rows(true_index, prob)]
    )  # fmt: skip
    confusion = _sum_by(codes * n_classes + true_index, shares, n_subjects * n_classes)
    right = shares[np.arange(len(prob)), true_index]
    in_bin = codes * metrics.N_BINS + metrics.confidence_bins(prob)
    bins = _sum_by(in_bin, np.column_stack([np.ones(len(prob)), prob.max(axis=1), right]), n_subjects * metrics.N_BINS)
    mask = np.zeros((n_classes, n_classes), dtype=bool)
    for true, predicted in grave:
        mask[index[true], index[predicted]] = True
    pairs = None
    if n_subjects**2 <= PAIRED_CELLS * len(prob):
        pairs = np.stack([ranked_pairs(prob[:, k], true_index == k, codes, n_subjects) for k in range(n_classes)])
    return Tallies(
        classes=classes,
        subjects=tuple(str(name) for name in subjects),
        window_keys=tuple(frame["window_key"]),
        sums=_sum_by(codes, rows, n_subjects),
        confusion=confusion.reshape(n_subjects, n_classes, n_classes),
        bins=bins.reshape(n_subjects, metrics.N_BINS, 3),
        pairs=pairs,
        grave=mask,
        codes=codes,
        true_index=true_index,
        scores=prob,
    )


def _sum_by(codes: np.ndarray, rows: np.ndarray, n: int) -> np.ndarray:
    return np.column_stack([np.bincount(codes, weights=column, minlength=n) for column in rows.T])


def ranked_pairs(scores: np.ndarray, positive: np.ndarray, codes: np.ndarray, n_subjects: int) -> np.ndarray:
    """Return how many (positive of s, negative of t) have the positive above, ties half; shape (S, S)."""
    pairs = np.zeros((n_subjects, n_subjects))
    order = np.argsort(scores[positive], kind="stable")
    up, up_codes = scores[positive][order], codes[positive][order]
    negatives = scores[~positive]
    by_subject = np.lexsort((negatives, codes[~positive]))
    ends = np.searchsorted(codes[~positive][by_subject], np.arange(n_subjects + 1))
    for t in np.flatnonzero(np.diff(ends)):
        down = negatives[by_subject[ends[t] : ends[t + 1]]]
        below = 0.5 * (np.searchsorted(down, up, side="left") + np.searchsorted(down, up, side="right"))
        pairs[:, t] = np.bincount(up_codes, weights=below, minlength=n_subjects)
    return pairs


def evaluate(tallies: Tallies, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Return every metric for every row of subject weights; each of shape (n_boot,), nan where undefined.

    `weights` has shape (n_boot, n_subjects): how often a subject was drawn. Ones give the metrics of the data.
    """
    weights = np.asarray(weights, dtype=np.float64)
    n_classes = len(tallies.classes)
    sums = weights @ tallies.sums
    confusion = (weights @ tallies.confusion.reshape(len(tallies.confusion), -1)).reshape(-1, n_classes, n_classes)
    bins = (weights @ tallies.bins.reshape(len(tallies.bins), -1)).reshape(-1, metrics.N_BINS, 3)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = sums[:, 1:] / sums[:, :1]
    areas = _areas(tallies, weights, confusion.sum(axis=-1))
    recalls, precisions = metrics.recall(confusion), metrics.precision(confusion)
    values = {
        "kl": means[:, 0],
        "balanced_accuracy": metrics.balanced_accuracy(confusion),
        "kappa": metrics.cohen_kappa(confusion),
        "weighted_f1": metrics.weighted_f1(confusion),
        "auroc_macro": metrics.nanmean_classes(areas),
        "accuracy": metrics.accuracy(confusion),
        "ece": metrics.expected_calibration_error(bins),
        "brier": means[:, 2],
        "log_loss": means[:, 1],
        **_graves(tallies, confusion),
    }
    for name, columns in (("auroc", areas), ("recall", recalls), ("precision", precisions)):
        values |= {f"{name}[{cls}]": columns[:, k] for k, cls in enumerate(tallies.classes)}
    return values


def _graves(tallies: Tallies, confusion: np.ndarray) -> dict[str, np.ndarray]:
    """Return the rate of grave confusions, the weighted cost, and the share of each pair, one value per resample."""
    n_windows, totals = confusion.sum(axis=(1, 2)), confusion.sum(axis=-1)
    rate = cost = np.full(len(confusion), np.nan)
    if tallies.grave.any():
        rate = (confusion * tallies.grave).sum(axis=(1, 2)) / n_windows
        cost = 1 - metrics.accuracy(confusion) + (metrics.GRAVE_COST - 1) * rate
    values = {"grave_rate": rate, "grave_cost": cost}
    for i, j in np.argwhere(tallies.grave):
        share = np.full(len(confusion), np.nan)
        np.divide(confusion[:, i, j], totals[:, i], out=share, where=totals[:, i] > 0)
        values[f"grave[{tallies.classes[i]} > {tallies.classes[j]}]"] = share
    return values


def _areas(tallies: Tallies, weights: np.ndarray, per_class: np.ndarray) -> np.ndarray:
    """Return AUROC of each class against the rest, shape (n_boot, n_classes); `per_class` holds weighted counts."""
    areas = np.full(per_class.shape, np.nan)
    negatives = per_class.sum(axis=1, keepdims=True) - per_class
    product = per_class * negatives
    for k in range(per_class.shape[1]):
        if tallies.pairs is None:
            areas[:, k] = metrics.auroc(tallies.scores[:, k], tallies.true_index == k, weights, tallies.codes)
            continue
        ranked = np.einsum("bs,bs->b", weights @ tallies.pairs[k], weights)
        np.divide(ranked, product[:, k], out=areas[:, k], where=product[:, k] > 0)
    return areas


def point(tallies: Tallies) -> dict[str, metrics.Metric]:
    """Return every metric of the data itself, with AUPRC besides, which is not resampled."""
    values = evaluate(tallies, np.ones((1, tallies.n_subjects)))
    named = {name: metrics.metric(name, value[0]) for name, value in values.items()}
    areas = np.array(
        [metrics.auprc(tallies.scores[:, k], tallies.true_index == k) for k in range(len(tallies.classes))]
    )
    named["auprc_macro"] = metrics.metric("auprc_macro", float(metrics.nanmean_classes(areas)))
    return named | {
        f"auprc[{cls}]": metrics.metric("auprc", area) for cls, area in zip(tallies.classes, areas, strict=True)
    }
