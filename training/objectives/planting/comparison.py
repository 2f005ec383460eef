"""Two models on the same held-out segments: each measure of both, averaged over seeds, and their paired difference.

Intervals resample segments, each of which is a simulated person of its own. Both models, and all their seeds, are
measured on the same resamples; the spread over seeds is no part of an interval and stands beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from signals.patterns.bank import Bank, HeldOut
from training.objectives.planting.evaluation import interval
from training.objectives.planting.measures import Answers, measures_of

N_BOOT = 2000


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The mean over seeds with its 95% interval over segments (percentiles); nan where it is not defined."""

    value: float
    low: float
    high: float
    seed_sd: float
    """Standard deviation over seeds; nan for one."""

    def __str__(self) -> str:
        """Return the value with its interval."""
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One measure of two models over all families."""

    measure: str
    first: Estimate
    second: Estimate
    difference: Estimate
    """First less second, seed by seed."""
    trivial: float
    """The same measure of what knows nothing."""
    n_segments: int


def compare(
    first: Sequence[Answers], second: Sequence[Answers], held_out: HeldOut, bank: Bank, *, n_boot: int = N_BOOT
) -> list[Comparison]:
    """Return every measure of two models, of each the predictions of all its seeds in the same order.

    Raises ValueError for different numbers of seeds, and for predictions of other segments than each other's or these.
    """
    if len(first) != len(second) or not first:
        raise ValueError(f"{len(first)} seeds of one model and {len(second)} of the other: give as many, at least 1")
    truth = first[0].is_discharge_SN
    if any(not np.array_equal(found.is_discharge_SN, truth, equal_nan=True) for found in (*first, *second)):
        raise ValueError("the predictions are of different segments")
    if len(truth) != len(held_out):
        raise ValueError(f"predictions of {len(truth)} segments, and the bank holds {len(held_out)}")
    found = []
    for measure in measures_of(first[0], held_out, bank):
        rows = np.flatnonzero(measure.counts_S)
        rng = np.random.default_rng(0)
        drawn = [rows, *(rng.choice(rows, len(rows)) for _ in range(n_boot if len(rows) > 1 else 0))]
        # One row for the segments as they are, then one for each resample; a column for each seed.
        ours, theirs = (np.array([[measure.of(one, r) for one in m] for r in drawn]) for m in (first, second))
        found.append(
            Comparison(
                measure=measure.name,
                first=_estimate(ours),
                second=_estimate(theirs),
                difference=_estimate(ours - theirs),
                trivial=measure.trivial(rows),
                n_segments=len(rows),
            )
        )
    return found


def _estimate(values: np.ndarray) -> Estimate:
    """Return the estimate of values, shape (1 + n_boot, n_seeds), the first row of the segments as they are."""
    low, high = interval(values[1:].mean(1))
    sd = float(values[0].std(ddof=1)) if values.shape[1] > 1 else float("nan")
    return Estimate(value=float(values[0].mean()), low=low, high=high, seed_sd=sd)
