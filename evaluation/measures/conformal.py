"""Sets of classes that promise to hold the label, and how often they do: site by site, patient by patient.

Split conformal prediction (Vovk 2005; Angelopoulos & Bates 2021) with one threshold for all classes, or with one per
class (class-conditional, Vovk 2012; Sadinle 2019), so that rare classes are covered too. Calibration and test never
share a patient. Two ways to calibrate are compared: on the other folds, as for a new hospital; and on the other
patients of the same fold, as a hospital could do with its own data. The promise holds for exchangeable windows only;
what the first way falls short of and the second does not is the gap between sites.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from evaluation.measures.bootstrap import resamples
from evaluation.measures.intervals import ONE_SUBJECT, Estimate, share_interval
from evaluation.schemas.predictions import probabilities
from signals.bundles.calibration import in_set

ALPHA = 0.1
"""Share of labels that the sets may miss."""
METHODS = ("split", "class-conditional")
CALIBRATIONS = ("other folds", "own patients")
TOO_FEW = "too few windows to calibrate on"


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Sets on one fold; what is undefined is nan, and a reason states why."""

    name: str
    method: str
    """One of METHODS."""
    calibration: str
    """One of CALIBRATIONS."""
    n_windows: int
    n_subjects: int
    coverage: Estimate
    """Share of windows whose set holds the label; the interval resamples patients, the calibration stays."""
    by_class: dict[str, float]
    """Coverage of the windows of each class; nan where the fold has none."""
    worst_subject: float
    """Lowest coverage of a subject."""
    short_subjects: float
    """Share of subjects who are covered less than promised."""
    short_expected: float
    """That share if every window were covered as promised and independently: single misses make a patient short."""
    set_size: float
    """Mean number of classes in a set."""
    subjects: tuple[float, ...] = field(repr=False)
    """Coverage of each subject, in ascending order."""


def least_probability(true_prob: np.ndarray, *, alpha: float = ALPHA) -> float:
    """Return the threshold that keeps the label with probability 1 - alpha; nan for too few calibration windows.

    With n windows it is the k-th smallest probability of the true class, k = floor(alpha (n + 1)).
    """
    k = int(np.floor(alpha * (len(true_prob) + 1)))
    return float(np.sort(true_prob)[k - 1]) if k >= 1 else float("nan")


def thresholds(prob: np.ndarray, true_index: np.ndarray, *, method: str, alpha: float = ALPHA) -> np.ndarray:
    """Return the least probability with which each class enters a set, shape (n_classes,).

    "split": the same for all, nan for too few windows. "class-conditional": from the windows of each class, 0 where
    they are too few, so that the class is in every set and the promise holds.
    """
    true_prob = prob[np.arange(len(prob)), true_index]
    if method == "split":
        return np.full(prob.shape[1], least_probability(true_prob, alpha=alpha))
    levels = [least_probability(true_prob[true_index == k], alpha=alpha) for k in range(prob.shape[1])]
    return np.nan_to_num(np.array(levels), nan=0.0)


def coverage(
    frame: pd.DataFrame, classes: tuple[str, ...], *, n_boot: int, seed: int, alpha: float = ALPHA
) -> list[Coverage]:
    """Return one row per fold, method and calibration of one model's rows, folds in sorted order."""
    prob = probabilities(frame, classes)
    true_index = frame["label"].map({name: k for k, name in enumerate(classes)}).to_numpy(dtype=np.int64)
    folds, subjects = (frame[name].to_numpy(dtype=str) for name in ("fold", "subject_id"))
    rows = []
    for calibration in CALIBRATIONS:
        for method in METHODS:
            sets = np.full(prob.shape, np.nan)
            for test, calibrate in _splits(folds, subjects, calibration):
                level = thresholds(prob[calibrate], true_index[calibrate], method=method, alpha=alpha)
                sets[test] = np.where(np.isfinite(level), in_set(prob[test], level), np.nan)
            for name in np.unique(folds):
                inside = folds == name
                rows.append(
                    Coverage(name=str(name), method=method, calibration=calibration, n_windows=int(inside.sum()),
                             **_summary(sets[inside], true_index[inside], subjects[inside], classes, alpha,
                                        n_boot=n_boot, seed=seed))
                )  # fmt: skip
    return rows


def _splits(folds: np.ndarray, subjects: np.ndarray, calibration: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (test, calibration) masks that share no subject."""
    for fold in np.unique(folds):
        inside = folds == fold
        if calibration == "other folds":
            yield inside, ~inside & ~np.isin(subjects, np.unique(subjects[inside]))
            continue
        for subject in np.unique(subjects[inside]):
            yield inside & (subjects == subject), inside & (subjects != subject)


def _summary(
    sets: np.ndarray, true_index: np.ndarray, subjects: np.ndarray, classes: tuple[str, ...], alpha: float,
    *, n_boot: int, seed: int,
) -> dict[str, Any]:  # fmt: skip
    names, codes = np.unique(subjects, return_inverse=True)
    held = sets[np.arange(len(sets)), true_index]
    nan = float("nan")
    if np.isnan(held).any():
        return {
            "n_subjects": len(names), "coverage": Estimate(nan, nan, nan, TOO_FEW), "worst_subject": nan,
            "by_class": dict.fromkeys(classes, nan), "short_subjects": nan, "short_expected": nan, "set_size": nan,
            "subjects": (),
        }  # fmt: skip
    counts, kept = np.bincount(codes), np.bincount(codes, weights=held)
    each = np.sort(kept / counts)
    low, high, remark = nan, nan, ONE_SUBJECT
    if len(names) > 1:
        drawn = [(w @ kept) / (w @ counts) for w in resamples(len(names), n_boot=n_boot, seed=seed)]
        low, high, remark = share_interval(float(held.mean()), np.concatenate(drawn), n_units=len(names))
    of_class = {
        c: float(held[true_index == k].mean()) if (true_index == k).any() else nan for k, c in enumerate(classes)
    }
    return {
        "n_subjects": len(names),
        "coverage": Estimate(float(held.mean()), low, high, remark),
        "by_class": of_class,
        "worst_subject": float(each[0]),
        "short_subjects": float((each < 1 - alpha).mean()),
        "short_expected": short_expected(counts, alpha),
        "set_size": float(sets.sum(axis=1).mean()),
        "subjects": tuple(float(value) for value in each),
    }


def short_expected(counts: np.ndarray, alpha: float) -> float:
    """Return the mean probability that a subject with so many windows falls short by chance: binomial misses."""
    from scipy.stats import binom

    # Short means covered < (1 - alpha) n, so more than alpha n misses.
    return float(np.mean(binom.sf(np.floor(alpha * counts + 1e-9), counts, alpha)))
