"""Split conformal sets: how often a set that promises to hold the label does, fold by fold.

A fold's threshold comes from the predictions of the other folds (Vovk 2005; Angelopoulos & Bates 2021). The promise
holds for exchangeable windows only. Windows of another site are not, so the shortfall measures the gap between sites.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from evaluation.predictions import probabilities

ALPHA = 0.1
"""Share of labels that the sets may miss."""


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Sets on one fold; what is undefined is nan, and `reason` says why."""

    name: str
    n_windows: int
    n_subjects: int
    threshold: float
    """Least probability with which a class enters the set."""
    coverage: float
    """Share of windows whose set holds the label."""
    worst_subject: float
    """Lowest coverage of a subject."""
    set_size: float
    """Mean number of classes in a set."""
    reason: str = ""


def least_probability(true_prob: np.ndarray, *, alpha: float = ALPHA) -> float:
    """Return the threshold that keeps the label with probability 1 - alpha; nan for too few calibration windows.

    With n windows it is the k-th smallest probability of the true class, k = floor(alpha (n + 1)).
    """
    k = int(np.floor(alpha * (len(true_prob) + 1)))
    return float(np.sort(true_prob)[k - 1]) if k >= 1 else float("nan")


def coverage(frame: pd.DataFrame, classes: tuple[str, ...], *, alpha: float = ALPHA) -> list[Coverage]:
    """Return one row a fold of one model's rows, in sorted order."""
    prob = probabilities(frame, classes)
    true_index = frame["label"].map({name: k for k, name in enumerate(classes)}).to_numpy(dtype=np.int64)
    true_prob, folds = prob[np.arange(len(prob)), true_index], frame["fold"].to_numpy(dtype=str)
    rows = []
    for name in np.unique(folds):
        inside = folds == name
        threshold, nan = least_probability(true_prob[~inside], alpha=alpha), float("nan")
        held = pd.Series(true_prob[inside] >= threshold)
        by_subject = held.groupby(frame["subject_id"].to_numpy()[inside]).mean()
        known = bool(np.isfinite(threshold))
        rows.append(
            Coverage(
                name=str(name),
                n_windows=int(inside.sum()),
                n_subjects=len(by_subject),
                threshold=threshold,
                coverage=float(held.mean()) if known else nan,
                worst_subject=float(by_subject.min()) if known else nan,
                set_size=float((prob[inside] >= threshold).sum(axis=1).mean()) if known else nan,
                reason="" if known else "too few windows in other folds to calibrate on",
            )
        )
    return rows
