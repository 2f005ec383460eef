"""ROC and precision-recall curves of a class against the rest, and what one operating point gives.

The operating point is the highest threshold that reaches a sensitivity on the other folds; its sensitivity,
specificity and predictive values are those of the fold that did not choose it. Predictive values hold for the share of
the class among these windows, which stands beside them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from evaluation.measures.bootstrap import resamples
from evaluation.measures.intervals import ONE_SUBJECT, Estimate, share_interval
from evaluation.operating.nesting import outer_groups
from evaluation.schemas.predictions import probabilities

SENSITIVITY = 0.9
"""Sensitivity that the threshold must reach where it is chosen."""
_N_POINTS = 100


@dataclass(frozen=True, kw_only=True)
class ClassCurves:
    """One class against the rest."""

    name: str
    prevalence: float
    """Share of windows of the class."""
    roc: tuple[tuple[float, float], ...] = field(repr=False)
    """(1 - specificity, sensitivity), from (0, 0) to (1, 1)."""
    pr: tuple[tuple[float, float], ...] = field(repr=False)
    """(sensitivity, positive predictive value), from the highest threshold on."""
    sensitivity: Estimate
    specificity: Estimate
    ppv: Estimate
    npv: Estimate
    nested: bool
    """Whether the threshold was chosen on other folds."""


def class_curves(
    frame: pd.DataFrame, classes: tuple[str, ...], *, of: Sequence[str], n_boot: int, seed: int
) -> list[ClassCurves]:
    """Return the curves and the operating point of some classes, for one model's rows; absent classes are left out."""
    prob, label = probabilities(frame, classes), frame["label"].to_numpy()
    rows = []
    for name in of:
        positive = label == name
        if positive.any() and not positive.all():
            rows.append(_curves(frame, name, prob[:, classes.index(name)], positive, n_boot=n_boot, seed=seed))
    return rows


def _curves(
    frame: pd.DataFrame, name: str, scores: np.ndarray, positive: np.ndarray, *, n_boot: int, seed: int
) -> ClassCurves:
    false, true, precision = _steps(scores, positive)
    places = np.unique(np.rint(np.linspace(0, len(false) - 1, _N_POINTS)).astype(int))
    alarm, nested = _operated(frame, scores, positive)
    codes, names = pd.factorize(frame["subject_id"].astype(str), sort=True)
    cells = {
        "tp": alarm & positive, "fn": ~alarm & positive, "fp": alarm & ~positive, "tn": ~alarm & ~positive,
    }  # fmt: skip
    sums = {key: np.bincount(codes, weights=mask, minlength=len(names)) for key, mask in cells.items()}
    weights = [np.ones((1, len(names)))]
    if len(names) > 1:
        weights += list(resamples(len(names), n_boot=n_boot, seed=seed))

    def share(part: str, rest: str) -> Estimate:
        return _share(sums[part], sums[part] + sums[rest], weights)

    return ClassCurves(
        name=name,
        prevalence=float(positive.mean()),
        roc=((0.0, 0.0), *((float(false[i]), float(true[i])) for i in places)),
        pr=tuple((float(true[i]), float(precision[i])) for i in places),
        sensitivity=share("tp", "fn"),
        specificity=share("tn", "fp"),
        ppv=share("tp", "fp"),
        npv=share("tn", "fn"),
        nested=nested,
    )


def _steps(scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return false positive rate, sensitivity and precision at every distinct threshold, falling."""
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.diff(scores[order], append=-np.inf))
    hits, n = np.cumsum(positive[order])[last], last + 1
    return (n - hits) / (~positive).sum(), hits / positive.sum(), hits / n


def _operated(frame: pd.DataFrame, scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, bool]:
    """Return which windows are called the class, each by the threshold of the other groups, and whether that was so."""
    groups = outer_groups(frame)
    names = np.unique(groups)
    called = np.zeros(len(scores), dtype=bool)
    for group in names:
        inside = groups == group
        rest = ~inside if len(names) > 1 else inside
        called[inside] = scores[inside] >= lowest_for(scores[rest & positive], SENSITIVITY)
    return called, len(names) > 1


def lowest_for(scores: np.ndarray, sensitivity: float) -> float:
    """Return the highest threshold that this share of positive scores reaches; inf without any."""
    if not len(scores):
        return float("inf")
    return float(np.sort(scores)[::-1][int(np.ceil(sensitivity * len(scores))) - 1])


def _share(part: np.ndarray, whole: np.ndarray, weights: Sequence[np.ndarray]) -> Estimate:
    nan, total = float("nan"), whole.sum()
    if total == 0:
        return Estimate(nan, nan, nan, "no such windows")
    value = float(part.sum() / total)
    if len(weights) == 1:
        return Estimate(value, nan, nan, ONE_SUBJECT)
    drawn = [np.divide(w @ part, w @ whole, out=np.full(len(w), nan), where=w @ whole > 0) for w in weights[1:]]
    return Estimate(value, *share_interval(value, np.concatenate(drawn), n_units=int((whole > 0).sum())))
