"""Measures of what models predict of held-out segments, each over any of them, beside what knows nothing.

For discharges that is the line length or the largest deflection of the second, whichever is better; for rates and
votes one answer for all, taken from the bank.

Shapes: S segment, N second, K class.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from evaluation.measures.metrics import auroc
from signals.patterns.bank import Bank, HeldOut
from signals.tasks import SIX_CLASS

ERRORS = frozenset({"rate_error_octaves", "votes_kl"})
"""Measures of which less is better."""
STEADY = ("LPD", "GPD", "LRDA", "GRDA")
"""Classes whose rate is scored: seizures change theirs."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What a model predicts of held-out segments, beside the truth; nan where a head is missing."""

    discharge_SN: np.ndarray
    """Log odds of a discharge in each second, the largest over channels and slots."""
    is_discharge_SN: np.ndarray
    """1 and 0, nan where discharges are not known."""
    line_length_SN: np.ndarray
    peak_SN: np.ndarray
    rate_S: np.ndarray
    """log2 Hz."""
    share_SK: np.ndarray
    """Shares of experts."""


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One measure of `Answers`."""

    name: str
    counts_S: np.ndarray
    """Segments that it can be taken of."""
    of: Callable[[Answers, np.ndarray], float]
    """Its value over segments, by their numbers; nan where it is not defined."""
    trivial: Callable[[np.ndarray], float]
    """The same of what knows nothing."""


def measures_of(truth: Answers, held_out: HeldOut, bank: Bank) -> tuple[Measure, ...]:
    """Return every measure; of `truth` what no model has predicted is taken."""
    return (_discharges(truth), _rates(held_out, bank), *_votes(held_out, bank))


def area_of(truth: np.ndarray, score: np.ndarray) -> float:
    """Return the area under the ROC curve where both are known, nan where one class or any score is missing."""
    known = np.isfinite(truth) & np.isfinite(score)
    return float(auroc(score[known], truth[known] > 0))


def _discharges(truth: Answers) -> Measure:
    def area(score_SN: np.ndarray, rows: np.ndarray) -> float:
        return area_of(truth.is_discharge_SN[rows].ravel(), score_SN[rows].ravel())

    return Measure(
        name="discharge_auroc",
        counts_S=np.isfinite(truth.is_discharge_SN).all(1),
        of=lambda found, rows: area(found.discharge_SN, rows),
        trivial=lambda rows: max(area(score, rows) for score in (truth.line_length_SN, truth.peak_SN)),
    )


def _rates(held_out: HeldOut, bank: Bank) -> Measure:
    steady = [SIX_CLASS.classes.index(name) for name in STEADY]
    truth_S = np.log2(held_out.rate_S2).mean(1)
    usual = np.median(np.log2(bank.rate_E2[np.isin(bank.class_E, steady)]).mean(1))

    def error(rate_S: np.ndarray, rows: np.ndarray) -> float:
        return float(np.median(np.abs(rate_S[rows] - truth_S[rows]))) if len(rows) else float("nan")

    return Measure(
        name="rate_error_octaves",
        counts_S=np.isin(held_out.class_S, steady) & np.isfinite(truth_S),
        of=lambda found, rows: error(found.rate_S, rows),
        trivial=lambda rows: error(np.full_like(truth_S, usual), rows),
    )


def _votes(held_out: HeldOut, bank: Bank) -> tuple[Measure, Measure]:
    share_SK = held_out.votes_SK / held_out.votes_SK.sum(1, keepdims=True)
    low, more = bank.sure[:2]
    sure = low + more / 2
    own_EK = np.eye(share_SK.shape[1])[bank.class_E]
    usual_SK = np.tile((sure * own_EK + (1 - sure) * bank.doubt_EK).mean(0), (len(share_SK), 1))

    def kl(guess_SK: np.ndarray, rows: np.ndarray) -> float:
        truth, guess = share_SK[rows], np.clip(guess_SK[rows], 1e-7, 1)
        return float((truth * (np.log(np.maximum(truth, 1e-12)) - np.log(guess))).sum(1).mean())

    def balanced(guess_SK: np.ndarray, rows: np.ndarray) -> float:
        if not np.isfinite(guess_SK[rows]).all():
            return float("nan")
        truth, best = held_out.class_S[rows], guess_SK[rows].argmax(1)
        return float(np.mean([(best[truth == k] == k).mean() for k in np.unique(truth)]))

    def measure(name: str, value: Callable[[np.ndarray, np.ndarray], float]) -> Measure:
        return Measure(
            name=name,
            counts_S=np.ones(len(share_SK), dtype=bool),
            of=lambda found, rows: value(found.share_SK, rows),
            trivial=lambda rows: value(usual_SK, rows),
        )

    return measure("votes_kl", kl), measure("balanced_accuracy", balanced)
