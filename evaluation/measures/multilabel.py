"""Measures of multi-label predictions: each class is a question of its own, and people are what is resampled."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.measures.bootstrap import interval_of, resamples
from evaluation.measures.intervals import Estimate
from evaluation.measures.metrics import auprc, auroc, nanmean_classes
from signals.bundles.calibration import shifted_each


@dataclass(frozen=True, kw_only=True)
class ClassScore:
    """One class of a multi-label task."""

    name: str
    n_positive: int
    """Windows that have it."""
    n_subjects: int
    """Subjects who have it in a window or more."""
    auroc: Estimate
    auprc: float
    prevalence: float
    """Share of windows: the AUPRC of a model that knows nothing."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """One model on a multi-label task."""

    macro_auroc: Estimate
    """Mean over the classes that windows have and lack."""
    macro_auprc: float
    classes: tuple[ClassScore, ...]
    n_windows: int
    n_subjects: int


def scores_of(
    prob: np.ndarray, target: np.ndarray, subjects: np.ndarray, classes: Sequence[str], *, n_boot: int, seed: int
) -> Scores:
    """Return the scores of probabilities, shape (n_windows, n_classes), against 0 or 1, same shape.

    Intervals resample subjects with all of their windows. A class without a positive or a negative is undefined and in
    no mean.
    """
    names, codes = np.unique(subjects, return_inverse=True)
    positive = target > 0.5
    values = np.array([float(auroc(prob[:, k], positive[:, k])) for k in range(len(classes))])
    drawn = _drawn(prob, positive, codes, len(names), n_boot=n_boot, seed=seed)
    per_class = tuple(
        ClassScore(
            name=name,
            n_positive=int(positive[:, k].sum()),
            n_subjects=len(np.unique(codes[positive[:, k]])),
            auroc=interval_of("auroc", values[k], drawn[:, k], n_units=len(names)),
            auprc=auprc(prob[:, k], positive[:, k]),
            prevalence=float(positive[:, k].mean()),
        )
        for k, name in enumerate(classes)
    )
    macro = float(nanmean_classes(values))
    known = np.isfinite(values)
    return Scores(
        macro_auroc=interval_of("auroc", macro, nanmean_classes(drawn[:, known]), n_units=len(names)),
        macro_auprc=float(nanmean_classes(np.array([score.auprc for score in per_class]))),
        classes=per_class,
        n_windows=len(prob),
        n_subjects=len(names),
    )


def macro_auroc_draws(
    prob: np.ndarray, target: np.ndarray, subjects: np.ndarray, *, n_boot: int, seed: int
) -> tuple[float, np.ndarray]:
    """Return the macro AUROC and what it is on each resample of subjects, shape (n_boot,).

    The same seed draws the same subjects of the same rows, so that models can be compared pair by pair. Classes are
    those that windows have and lack; nan where there is none, as in a resample that has lost them all.
    """
    names, codes = np.unique(subjects, return_inverse=True)
    positive = target > 0.5
    known = positive.any(axis=0) & ~positive.all(axis=0)
    if not known.any():
        return float("nan"), np.full(n_boot, np.nan)
    prob, positive = prob[:, known], positive[:, known]
    values = np.array([float(auroc(prob[:, k], positive[:, k])) for k in range(prob.shape[1])])
    drawn = _drawn(prob, positive, codes, len(names), n_boot=n_boot, seed=seed)
    return float(nanmean_classes(values)), np.asarray(nanmean_classes(drawn))


def _drawn(
    prob: np.ndarray, positive: np.ndarray, codes: np.ndarray, n_subjects: int, *, n_boot: int, seed: int
) -> np.ndarray:
    """Return the AUROC of each class on each resample of subjects, shape (n_boot, n_classes)."""
    if n_subjects < 2:
        return np.full((0, prob.shape[1]), np.nan)
    chunks = [
        np.stack([auroc(prob[:, k], positive[:, k], weights, codes) for k in range(prob.shape[1])], axis=1)
        for weights in resamples(n_subjects, n_boot=n_boot, seed=seed, width=len(prob))
    ]
    return np.concatenate(chunks)


def fit_decisions(prob: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the probability from which each class is answered, shape (n_classes,): that of the largest F1.

    Fit it on people that the model was not trained on. A class without a positive or a negative keeps 0.5.
    """
    positive = target > 0.5
    return np.array([_best_f1(prob[:, k], positive[:, k]) for k in range(prob.shape[1])])


def _best_f1(prob: np.ndarray, positive: np.ndarray) -> float:
    if not positive.any() or positive.all():
        return 0.5
    order = np.argsort(-prob, kind="stable")
    hits = np.cumsum(positive[order])
    f1 = 2 * hits / (np.arange(1, len(prob) + 1) + positive.sum())
    last = np.r_[np.diff(prob[order]) < 0, True]  # a threshold cannot lie between equal probabilities
    best = int(np.argmax(np.where(last, f1, -1.0)))
    below = prob[order][best + 1] if best + 1 < len(prob) else 0.0
    return float((prob[order][best] + below) / 2)


def f1_of(prob: np.ndarray, target: np.ndarray, decisions: np.ndarray) -> np.ndarray:
    """Return F1 of each class at its decision, shape (n_classes,); nan without a positive."""
    positive, answered = target > 0.5, prob >= decisions
    hits = (positive & answered).sum(axis=0)
    total = positive.sum(axis=0) + answered.sum(axis=0)
    return np.where(positive.any(axis=0), 2 * hits / np.maximum(total, 1), np.nan)


def cross_decided(prob: np.ndarray, target: np.ndarray, groups: np.ndarray, *, n_folds: int, seed: int) -> np.ndarray:
    """Return F1 of each class where every group of people is decided by thresholds that others fitted."""
    names = np.random.default_rng(seed).permutation(np.unique(groups))
    decisions = np.full(prob.shape, 0.5)
    for part in np.array_split(names, min(n_folds, len(names))):
        held = np.isin(groups, part)
        if held.any() and not held.all():
            decisions[held] = fit_decisions(prob[~held], target[~held])
    return f1_of(prob, target, decisions)


def fit_shift(prob: np.ndarray, positive: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Return by how much a class's logit is to be lowered so that its mean probability is its share of windows.

    prob and bool positive have shape (n_windows,), weights too: how many windows each stands for. Fit it on people that
    the model was not trained on. Raises ValueError where no window has the class, or all have.
    """
    from scipy.optimize import brentq
    from scipy.special import logit

    if not positive.any() or positive.all():
        raise ValueError(f"{int(positive.sum())} of {len(positive)} windows have the class: nothing can be fitted")
    share = float(np.average(positive, weights=weights))
    inside = np.clip(prob, 1e-12, 1 - 1e-12)
    low, high = float(logit(inside).min() - logit(share)), float(logit(inside).max() - logit(share))

    def gap(shift: float) -> float:
        return float(np.average(shifted_each(inside, np.full(1, shift)), weights=weights)) - share

    return float(brentq(gap, low - 1.0, high + 1.0))


def balanced_decisions(prob: np.ndarray, target: np.ndarray) -> float:
    """Return the mean of sensitivity and specificity at one half, over the classes that windows have and lack."""
    positive, answered = target > 0.5, prob >= 0.5
    n_yes, n_no = positive.sum(axis=0), (~positive).sum(axis=0)
    known = (n_yes > 0) & (n_no > 0)
    right = (positive & answered).sum(axis=0)[known] / n_yes[known]
    wrong = (~positive & answered).sum(axis=0)[known] / n_no[known]
    return float(np.mean((right + 1 - wrong) / 2)) if known.any() else float("nan")


def binary_loss(prob: np.ndarray, target: np.ndarray) -> float:
    """Return the mean binary cross-entropy over windows and classes, nats."""
    p = np.clip(prob, 1e-7, 1 - 1e-7)
    return -float(np.mean(target * np.log(p) + (1 - target) * np.log(1 - p)))


def shown(estimate: Estimate) -> str:
    """Return a value with its interval, or why there is none."""
    if not np.isfinite(estimate.value):
        return "-"
    if not np.isfinite(estimate.low):
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"
