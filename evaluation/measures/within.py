"""AUROC within folds: each fold is a model of its own, and only the scores of one model are on one scale."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from evaluation.measures import metrics
from evaluation.measures.bootstrap import interval_of, resamples
from evaluation.measures.intervals import ONE_SUBJECT, Estimate
from evaluation.measures.tallies import Tallies, evaluate, tally

MACRO = "auroc_within"


def within_folds(frame: pd.DataFrame, classes: tuple[str, ...], *, n_boot: int, seed: int) -> dict[str, Estimate]:
    """Return "auroc_within", and "auroc_within[CLASS]" per class, for one model's rows.

    The mean over the folds in which it is defined, each fold counting once; subjects are resampled over all folds.
    """
    folds = {str(name): tally(rows, classes) for name, rows in frame.groupby("fold")}
    subjects = sorted(set(frame["subject_id"].astype(str)))
    value = _means(folds, subjects, np.ones((1, len(subjects))), classes)
    drawn = {name: np.empty(0) for name in value}
    if len(subjects) > 1 and n_boot > 0:
        parts = [_means(folds, subjects, w, classes) for w in resamples(len(subjects), n_boot=n_boot, seed=seed)]
        drawn = {name: np.concatenate([part[name] for part in parts]) for name in value}
    return {name: _estimate(name, float(value[name][0]), drawn[name], n_units=len(subjects)) for name in value}


def _means(
    folds: Mapping[str, Tallies], subjects: list[str], weights: np.ndarray, classes: tuple[str, ...]
) -> dict[str, np.ndarray]:
    """Return the means over folds on each row of weights, shape (n, n_subjects)."""
    place = {name: i for i, name in enumerate(subjects)}
    each = [evaluate(known, weights[:, [place[name] for name in known.subjects]]) for known in folds.values()]
    names = {MACRO: "auroc_macro"} | {f"{MACRO}[{cls}]": f"auroc[{cls}]" for cls in classes}
    return {
        ours: metrics.nanmean_classes(np.stack([values[theirs] for values in each], axis=1))
        for ours, theirs in names.items()
    }


def _estimate(name: str, value: float, drawn: np.ndarray, *, n_units: int) -> Estimate:
    nan = float("nan")
    if not np.isfinite(value):
        return Estimate(nan, nan, nan, "no fold has both positive and negative windows")
    if not len(drawn):
        return Estimate(value, nan, nan, ONE_SUBJECT if n_units < 2 else "no resamples were drawn")
    return interval_of(name, value, drawn, n_units=n_units)
