"""How many events are found if only so many false alarms an hour are borne.

An alarm is a window whose probability of a class lies above a threshold; the threshold is the lowest that keeps false
alarms within the allowed rate over the windows of other classes. Windows are counted one by one: no merging of
neighbours into events, for they need not be neighbours in time.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from evaluation.measures.bootstrap import ONE_SUBJECT, Estimate, percentile_interval, resamples
from evaluation.schemas.predictions import probabilities

RATES_PER_H = (1.0, 6.0, 30.0)
THRESHOLD_FIXED = "the threshold is held as chosen on these windows"


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """One class at one allowed rate."""

    name: str
    """The class."""
    allowed_per_h: float
    threshold: float
    """An alarm lies above it."""
    sensitivity: Estimate
    """Share of the class's windows that raise an alarm; its interval keeps the threshold."""
    false_per_h: Estimate
    """False alarms an hour of other classes' signal."""
    hours: float
    """Signal of other classes, hours."""


def lowest_threshold(scores: np.ndarray, positive: np.ndarray, *, n_allowed: int) -> float:
    """Return the lowest threshold that at most `n_allowed` negatives exceed; -inf where all may."""
    negatives = np.sort(scores[~positive])[::-1]
    return float(negatives[n_allowed]) if n_allowed < len(negatives) else float("-inf")


def alarms(frame: pd.DataFrame, classes: tuple[str, ...], *, window_s: float, n_boot: int, seed: int) -> list[Alarm]:
    """Return one row a class and rate for one model's rows; `window_s` is the length of a window, seconds."""
    prob, label = probabilities(frame, classes), frame["label"].to_numpy()
    subjects, codes = np.unique(frame["subject_id"].to_numpy(dtype=str), return_inverse=True)
    weights = [np.ones((1, len(subjects)))]
    if len(subjects) > 1:
        weights += list(resamples(len(subjects), n_boot=n_boot, seed=seed))
    found = []
    for k, name in enumerate(classes):
        positive = label == name
        hours = float((~positive).sum() * window_s / 3600)
        for rate in RATES_PER_H:
            threshold = lowest_threshold(prob[:, k], positive, n_allowed=int(np.floor(rate * hours + 1e-9)))
            alarm = prob[:, k] > threshold
            sums = np.stack(
                [np.bincount(codes, weights=row, minlength=len(subjects))
                 for row in (alarm & positive, positive, alarm & ~positive, ~positive)], axis=1,
            )  # fmt: skip
            hits, n_positive, false, n_negative = np.concatenate([w @ sums for w in weights]).T
            found.append(
                Alarm(name=name, allowed_per_h=rate, threshold=threshold, hours=hours,
                      sensitivity=_share(hits, n_positive, "the class does not occur among the labels"),
                      false_per_h=_share(false, n_negative * (window_s / 3600), "no windows of other classes"))
            )  # fmt: skip
    return found


def _share(part: np.ndarray, whole: np.ndarray, undefined: str) -> Estimate:
    values = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
    nan = float("nan")
    if not np.isfinite(values[0]):
        return Estimate(nan, nan, nan, undefined)
    if len(values) == 1:
        return Estimate(float(values[0]), nan, nan, ONE_SUBJECT)
    low, high, remark = percentile_interval(values[1:])
    return Estimate(float(values[0]), low, high, remark)
