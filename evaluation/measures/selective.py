"""Selective prediction: how much is right if the model may keep silent where it is unsure.

Windows are taken in order of the probability of the predicted class. The risk at coverage c is the share of mistakes
among the surest c of them; the area under that curve is the AURC (Geifman & El-Yaniv 2017; Geifman 2019).
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from evaluation.measures.bootstrap import resamples
from evaluation.measures.intervals import ONE_SUBJECT, SHARE, Estimate, share_interval, t_interval
from evaluation.measures.metrics import predicted_shares
from evaluation.operating.nesting import outer_groups
from evaluation.schemas.predictions import probabilities

COVERAGES = (0.5, 0.8, 0.9, 1.0)
RISKS = (0.05, 0.1, 0.2)
_N_BINS = 100
_N_POINTS = 50


@dataclass(frozen=True, kw_only=True)
class Selective:
    """The risk-coverage curve of one model."""

    aurc: Estimate
    """Lower is better; the interval is that of the curve in 100 steps of equal counts."""
    aurc_best: float
    """What a model of as many mistakes would have if all of them were its least confident windows."""
    aurc_random: float
    """Share of mistakes: the AURC of a random order."""
    curve: tuple[tuple[float, float, float, float], ...] = field(repr=False)
    """(coverage, risk, low, high)."""
    risks: dict[float, Estimate]
    """Risk at each coverage of COVERAGES."""
    limited: tuple["Limited", ...]
    """What is answered, and at which risk, when the risk is to stay within each of RISKS."""


@dataclass(frozen=True, kw_only=True)
class Limited:
    """Abstention by a confidence below which the model does not answer, chosen on other folds to keep a risk."""

    allowed: float
    """Share of mistakes that was aimed at where the confidence was chosen."""
    answered: float
    """Share of windows that are answered where it is applied."""
    risk: Estimate
    """Share of mistakes among them."""
    nested: bool
    """Whether the confidence was chosen on other data than it is scored on."""


def mistakes(prob: np.ndarray, true_index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (confidence, share of mistake), each of shape (n_windows,); tied classes share the prediction."""
    return prob.max(axis=1), 1.0 - predicted_shares(prob)[np.arange(len(prob)), true_index]


def risk_curve(confidence: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Return the risk of the most confident 1, 2, ... n windows, shape (n_windows,); ties share their mistakes."""
    order = np.argsort(-confidence)
    _, group, counts = np.unique(-confidence[order], return_inverse=True, return_counts=True)
    shared = (np.bincount(group, weights=wrong[order]) / counts)[group]
    return np.cumsum(shared) / np.arange(1, len(wrong) + 1)


def selective(frame: pd.DataFrame, classes: tuple[str, ...], *, n_boot: int, seed: int) -> Selective:
    """Return the risk-coverage curve of one model's rows; subjects are resampled."""
    index = {name: k for k, name in enumerate(classes)}
    true_index = frame["label"].map(index).to_numpy(dtype=np.int64)
    confidence, wrong = mistakes(probabilities(frame, classes), true_index)
    risk = risk_curve(confidence, wrong)
    n = len(risk)
    places = np.unique(np.clip(np.rint(np.linspace(1 / _N_POINTS, 1, _N_POINTS) * n).astype(int), 1, n))
    drawn = _drawn(frame["subject_id"].to_numpy(dtype=str), confidence, wrong, n_boot=n_boot, seed=seed)
    n_subjects = frame["subject_id"].nunique()

    def at(share: float) -> Estimate:
        values = None if drawn is None else np.array([np.interp(share, *row) for row in drawn])
        return _estimate(float(risk[max(1, round(share * n)) - 1]), values, n_subjects)

    points = []
    for place in places:
        known = at(place / n)
        points.append((place / n, float(risk[place - 1]), known.low, known.high))
    areas = None if drawn is None else np.array([_area(*row) for row in drawn])
    best = np.sort(wrong)
    return Selective(
        aurc=_estimate(float(risk.mean()), areas, n_subjects),
        aurc_best=float((np.cumsum(best) / np.arange(1, n + 1)).mean()),
        aurc_random=float(wrong.mean()),
        curve=tuple(points),
        risks={share: at(share) for share in COVERAGES},
        limited=tuple(_limited(frame, confidence, wrong, allowed=r, n_boot=n_boot, seed=seed) for r in RISKS),
    )


def least_confidence(confidence: np.ndarray, wrong: np.ndarray, *, allowed: float) -> float:
    """Return the confidence down to which windows may be answered with at most this share of mistakes; inf if none."""
    kept = np.flatnonzero(risk_curve(confidence, wrong) <= allowed)
    return float(np.sort(confidence)[::-1][kept[-1]]) if len(kept) else float("inf")


def _limited(
    frame: pd.DataFrame, confidence: np.ndarray, wrong: np.ndarray, *, allowed: float, n_boot: int, seed: int
) -> Limited:
    groups = outer_groups(frame)
    nested = len(np.unique(groups)) > 1
    answered = np.zeros(len(groups), dtype=bool)
    for group in np.unique(groups):
        inside = groups == group
        rest = ~inside if nested else inside
        answered[inside] = confidence[inside] >= least_confidence(confidence[rest], wrong[rest], allowed=allowed)
    codes, names = pd.factorize(frame["subject_id"].astype(str), sort=True)
    n_answered = np.bincount(codes, weights=answered, minlength=len(names))
    n_wrong = np.bincount(codes, weights=answered * wrong, minlength=len(names))
    nan, n_units = float("nan"), int((n_answered > 0).sum())
    risk = Estimate(nan, nan, nan, "no window is answered")
    if n_answered.sum() > 0:
        value = float(n_wrong.sum() / n_answered.sum())
        risk = Estimate(value, nan, nan, ONE_SUBJECT)
        if n_units > 1 and n_boot > 0:
            parts = [
                np.divide(w @ n_wrong, w @ n_answered, out=np.full(len(w), nan), where=w @ n_answered > 0)
                for w in resamples(len(names), n_boot=n_boot, seed=seed)
            ]
            risk = Estimate(value, *share_interval(value, np.concatenate(parts), n_units=n_units))
    return Limited(allowed=allowed, answered=float(answered.mean()), risk=risk, nested=nested)


def _estimate(value: float, drawn: np.ndarray | None, n_subjects: int) -> Estimate:
    if drawn is None:
        return Estimate(value, float("nan"), float("nan"), ONE_SUBJECT if n_subjects < 2 else "no resamples")
    return Estimate(value, *t_interval(value, drawn, n_units=n_subjects, scale=SHARE))


def _drawn(
    subjects: np.ndarray, confidence: np.ndarray, wrong: np.ndarray, *, n_boot: int, seed: int
) -> np.ndarray | None:
    """Return the (coverage, risk) curve of each resample, shape (n_boot, 2, n_bins), or None for one subject."""
    names, codes = np.unique(subjects, return_inverse=True)
    if len(names) < 2 or n_boot < 1:
        return None
    n_bins = min(_N_BINS, len(confidence))
    order = np.argsort(-confidence, kind="stable")
    bins = np.empty(len(order), dtype=np.int64)
    bins[order] = np.arange(len(order)) * n_bins // len(order)
    cells = codes * n_bins + bins
    counts = np.bincount(cells, minlength=len(names) * n_bins).reshape(len(names), n_bins)
    lost = np.bincount(cells, weights=wrong, minlength=len(names) * n_bins).reshape(len(names), n_bins)
    parts = []
    for weights in resamples(len(names), n_boot=n_boot, seed=seed, width=n_bins):
        seen, missed = np.cumsum(weights @ counts, axis=1), np.cumsum(weights @ lost, axis=1)
        risk = np.divide(missed, seen, out=np.zeros_like(missed), where=seen > 0)
        parts.append(np.stack([seen / seen[:, -1:], risk], axis=1))
    return np.concatenate(parts)


def _area(coverage: np.ndarray, risk: np.ndarray) -> float:
    steps = np.diff(coverage, prepend=0.0)
    return float((steps * (risk + np.r_[risk[0], risk[:-1]]) / 2).sum())
