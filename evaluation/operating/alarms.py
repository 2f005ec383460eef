"""Sensitivity that is left when only so many false alarms are allowed: in real time, or per window without times.

With onsets (`start_s`, `hop_s`) windows above a threshold are merged into alarms and windows of the class into events,
recording by recording, and rates are per hour of recording (the rules of SzCORE, `evaluation.operating.events`).
Without them windows are counted one by one, and rates are per window of different classes: no rate per hour is claimed.

The threshold is the lowest one that keeps the rate on the other folds, so it is scored on data that did not choose it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from evaluation.measures.bootstrap import resamples
from evaluation.measures.intervals import ONE_SUBJECT, POSITIVE, Estimate, share_interval, t_interval
from evaluation.operating.events import length_s, score_events, union
from evaluation.operating.nesting import outer_groups
from evaluation.schemas.predictions import TIME_COLUMNS, probabilities

HOUR, WINDOW = "hour", "window"
RATES = {HOUR: (1 / 24, 1.0, 6.0), WINDOW: (0.01, 0.05, 0.1)}
"""False alarms allowed: per hour of recording, or per window of different classes."""
NOT_NESTED = "the threshold was chosen on these windows"
_STEPS = {HOUR: 1.2, WINDOW: 1.03}
"""Ratio of the ranks of neighbouring candidates for a threshold; events take longer to count than windows."""


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """One class at one allowed rate."""

    name: str
    """The class."""
    unit: str
    """HOUR or WINDOW."""
    allowed: float
    """False alarms allowed per unit, where the threshold was chosen."""
    sensitivity: Estimate
    """Share of the class's events (or windows) that raise an alarm; its interval keeps the threshold."""
    false_rate: Estimate
    """False alarms per unit that happened."""
    amount: float
    """Hours of recording, or windows of different classes."""
    n_events: int
    """Events of the class, or its windows."""


@dataclass(frozen=True)
class _Counts:
    """Sums per candidate threshold and subject: detected, events, false alarms, amount; shape (n_candidates, S, 4)."""

    sums: np.ndarray
    groups: np.ndarray
    """Group of each subject."""


def alarms(
    frame: pd.DataFrame,
    classes: tuple[str, ...],
    *,
    of: Sequence[str],
    span_s: tuple[float, float],
    n_boot: int,
    seed: int,
) -> list[Alarm]:
    """Return one row per class of `of` and allowed rate, for one model's rows.

    `span_s` is the stretch of a window that its label describes, seconds from the window's start.
    """
    unit = HOUR if set(TIME_COLUMNS) <= set(frame.columns) else WINDOW
    prob, label = probabilities(frame, classes), frame["label"].to_numpy()
    rows = []
    for name in of:
        scores, positive = prob[:, classes.index(name)], label == name
        counts = _in_time(frame, scores, positive, span_s) if unit == HOUR else _by_window(frame, scores, positive)
        rows += [_alarm(name, unit, allowed, counts, n_boot=n_boot, seed=seed) for allowed in RATES[unit]]
    return rows


def candidates(scores: np.ndarray, positive: np.ndarray, *, step: float) -> np.ndarray:
    """Return thresholds to choose from, falling: the highest negatives, ever further apart, and -inf."""
    negatives = np.unique(scores[~positive])[::-1]
    if not len(negatives):
        return np.array([-np.inf])
    steps = np.unique(np.rint(step ** np.arange(0, np.log(len(negatives)) / np.log(step) + 1)).astype(int)) - 1
    return np.r_[negatives[steps[steps < len(negatives)]], -np.inf]


def _subjects(frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return the subject of each row, and the group of each subject."""
    codes, names = pd.factorize(frame["subject_id"].astype(str), sort=True)
    groups = np.zeros(len(names), dtype=np.int64)
    groups[codes] = outer_groups(frame)
    return np.asarray(codes), groups


def _by_window(frame: pd.DataFrame, scores: np.ndarray, positive: np.ndarray) -> _Counts:
    codes, groups = _subjects(frame)
    n = len(groups)
    whole = [np.bincount(codes, weights=mask, minlength=n) for mask in (positive, ~positive)]
    sums = []
    for threshold in candidates(scores, positive, step=_STEPS[WINDOW]):
        alarm = scores > threshold
        hits, false = (np.bincount(codes, weights=alarm & mask, minlength=n) for mask in (positive, ~positive))
        sums.append(np.stack([hits, whole[0], false, whole[1]], axis=1))
    return _Counts(np.stack(sums), groups)


def _in_time(frame: pd.DataFrame, scores: np.ndarray, positive: np.ndarray, span_s: tuple[float, float]) -> _Counts:
    codes, groups = _subjects(frame)
    levels = candidates(scores, positive, step=_STEPS[HOUR])
    starts = frame["start_s"].to_numpy(dtype=np.float64) + span_s[0]
    # An answer holds until the next one: a hop that is longer than the span is time on the monitor, too.
    ends = starts + np.maximum(frame["hop_s"].to_numpy(dtype=np.float64), span_s[1] - span_s[0])
    sums = np.zeros((len(levels), len(groups), 4))
    for rows in frame.groupby("recording_id").indices.values():
        first = starts[rows].min()
        begin, end, score, true = starts[rows] - first, ends[rows] - first, scores[rows], positive[rows]
        subject, truth = codes[rows[0]], union(begin[true], end[true])
        hours, last = length_s(union(begin, end)) / 3600, float(end.max())
        for i, threshold in enumerate(levels):
            alarm = score > threshold
            known = score_events(truth, union(begin[alarm], end[alarm]), end_s=last)
            sums[i, subject] += (known.n_detected, known.n_events, known.n_false, hours)
    return _Counts(sums, groups)


def _alarm(name: str, unit: str, allowed: float, counts: _Counts, *, n_boot: int, seed: int) -> Alarm:
    chosen, nested = _chosen(counts, allowed)
    n_subjects = len(chosen)
    weights = [np.ones((1, n_subjects))]
    if n_subjects > 1:
        weights += list(resamples(n_subjects, n_boot=n_boot, seed=seed))
    detected, events, false, amount = np.concatenate([w @ chosen for w in weights]).T
    remark = "" if nested else NOT_NESTED
    return Alarm(
        name=name,
        unit=unit,
        allowed=allowed,
        sensitivity=_estimate(
            detected, events, "the class does not occur among the labels", remark, n_units=int((chosen[:, 1] > 0).sum())
        ),
        false_rate=_estimate(
            false, amount, "no windows of different classes", remark, n_units=n_subjects, share=unit == WINDOW
        ),
        amount=float(amount[0]),
        n_events=int(events[0]),
    )


def _chosen(counts: _Counts, allowed: float) -> tuple[np.ndarray, bool]:
    """Return the sums of each subject at the threshold chosen on the other groups, shape (S, 4), and if it was so."""
    groups = np.unique(counts.groups)
    if len(groups) < 2:
        return counts.sums[_lowest(counts.sums.sum(axis=1), allowed)], False
    chosen = np.empty_like(counts.sums[0])
    for group in groups:
        inside = counts.groups == group
        chosen[inside] = counts.sums[_lowest(counts.sums[:, ~inside].sum(axis=1), allowed)][inside]
    return chosen, True


def _lowest(totals: np.ndarray, allowed: float) -> int:
    """Return the candidate before the first one, from above, that breaks the rate; the highest one breaks none."""
    broken = np.flatnonzero(totals[:, 2] > allowed * totals[:, 3] + 1e-9)
    return int(broken[0]) - 1 if len(broken) and broken[0] > 0 else 0 if len(broken) else len(totals) - 1


def _estimate(
    part: np.ndarray, whole: np.ndarray, undefined: str, remark: str, *, n_units: int, share: bool = True
) -> Estimate:
    values = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
    nan = float("nan")
    if not np.isfinite(values[0]):
        return Estimate(nan, nan, nan, undefined)
    if len(values) == 1:
        return Estimate(float(values[0]), nan, nan, ONE_SUBJECT)
    value = float(values[0])
    if share:
        low, high, missing = share_interval(value, values[1:], n_units=n_units)
    else:
        low, high, missing = t_interval(value, values[1:], n_units=n_units, scale=POSITIVE)
    return Estimate(value, low, high, "; ".join(part for part in (missing, remark) if part))
