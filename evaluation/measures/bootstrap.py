"""Patient-cluster bootstrap: subjects are drawn with replacement, all of a subject's windows together.

Windows of one patient resemble each other, so windows are no independent draws; patients are (Field & Welsh 2007). The
draws give standard errors for the intervals of `evaluation.measures.intervals`. Models of the same subjects and seed
are scored on the same resamples, so that the difference between two is paired.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from evaluation.measures.intervals import (
    LEVEL,
    ONE_SUBJECT,
    POSITIVE,
    SHARE,
    SIGNED,
    Estimate,
    Scale,
    debiased,
    share_interval,
    t_interval,
)
from evaluation.measures.tallies import Tallies, evaluate, point

_CHUNK_CELLS = 8_000_000
_NAN = float("nan")


@dataclass(frozen=True)
class Difference:
    """First model minus second on the same windows and resamples."""

    value: float
    low: float
    high: float
    p_value: float
    """Two-sided: twice the share of resamples on the far side of zero, at least 2 / (n_boot + 1)."""
    reason: str
    at_floor: bool
    """Whether no resample lies on the far side: p is at most this value, and more resamples would make it smaller."""


def resamples(n_subjects: int, *, n_boot: int, seed: int, width: int | None = None) -> Iterator[np.ndarray]:
    """Yield chunks of weights, float64, shape (n_chunk, n_subjects): how often each subject was drawn.

    `width` is the longest row that is derived from a draw, which bounds a chunk's memory.
    """
    rng = np.random.default_rng(seed)
    chunk = max(1, _CHUNK_CELLS // max(n_subjects, width or 0, 1))
    for start in range(0, n_boot, chunk):
        n_rows = min(chunk, n_boot - start)
        drawn = rng.integers(0, n_subjects, size=(n_rows, n_subjects))
        flat = (drawn + np.arange(n_rows)[:, None] * n_subjects).ravel()
        yield np.bincount(flat, minlength=n_rows * n_subjects).reshape(n_rows, n_subjects).astype(np.float64)


def draws(tallies: Tallies, *, n_boot: int, seed: int) -> dict[str, np.ndarray]:
    """Return every metric on every resample, each of shape (n_boot,); empty for fewer than two subjects."""
    if tallies.n_subjects < 2 or n_boot < 1:
        return {}
    parts = [evaluate(tallies, w) for w in resamples(tallies.n_subjects, n_boot=n_boot, seed=seed)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def estimates(tallies: Tallies, drawn: Mapping[str, np.ndarray], *, level: float = LEVEL) -> dict[str, Estimate]:
    """Return every metric with its interval from `draws`; the ECE is debiased, "ece_plugin" is as it was counted."""
    table = {}
    for name, known in point(tallies).items():
        if known.reason:
            table[name] = Estimate(known.value, _NAN, _NAN, known.reason)
        elif not drawn:
            reason = ONE_SUBJECT if tallies.n_subjects < 2 else "no resamples were drawn"
            table[name] = Estimate(known.value, _NAN, _NAN, reason)
        elif name not in drawn:
            table[name] = Estimate(known.value, _NAN, _NAN, "not resampled")
        else:
            table[name] = interval_of(name, known.value, drawn[name], n_units=n_units(tallies, name), level=level)
    if "ece" in table:
        table["ece_plugin"] = Estimate(point(tallies)["ece"].value, _NAN, _NAN, "biased upwards")
    return table


def interval_of(name: str, value: float, drawn: np.ndarray, *, n_units: int, level: float = LEVEL) -> Estimate:
    """Return a metric with the interval that suits it: exact at the ends of a share, debiased for the ECE, else t."""
    base = name.split("[")[0]
    if base == "ece":
        return debiased(value, drawn, level=level)
    if base in _SHARES:
        return Estimate(value, *share_interval(value, drawn, n_units=n_units, level=level))
    return Estimate(value, *t_interval(value, drawn, n_units=n_units, scale=scale_of(name), level=level))


_SHARES = ("accuracy", "balanced_accuracy", "recall", "precision", "grave_rate", "grave")


def scale_of(name: str) -> Scale:
    """Return the scale on which a metric is nearly normal; `name` may carry a class."""
    base = name.split("[")[0]
    if base in ("kl", "log_loss", "brier", "grave_cost"):
        return POSITIVE
    return SIGNED if base == "kappa" else SHARE


def n_units(tallies: Tallies, name: str) -> int:
    """Return how many subjects a metric rests on: those with windows of its class, for metrics of one class."""
    base, _, cls = name.removesuffix("]").partition("[")
    if not cls:
        return tallies.n_subjects
    k = tallies.classes.index(cls.split(" > ")[0])
    per_subject = tallies.confusion[:, :, k].sum(axis=1) if base == "precision" else tallies.confusion[:, k].sum(axis=1)
    return int((per_subject > 0).sum())


def differences(
    first: tuple[Tallies, Mapping[str, np.ndarray]], second: tuple[Tallies, Mapping[str, np.ndarray]]
) -> dict[str, Difference]:
    """Return first minus second, each given as (tallies, draws) of one seed.

    Raises ValueError where the models did not predict the same windows of the same subjects.
    """
    (ours, our_draws), (theirs, their_draws) = first, second
    if ours.subjects != theirs.subjects or ours.window_keys != theirs.window_keys:
        raise ValueError("models are compared on the same windows only; these predicted different ones")
    ours_at, theirs_at = point(ours), point(theirs)
    table = {}
    for name in our_draws:
        gap = our_draws[name] - their_draws[name]
        value = ours_at[name].value - theirs_at[name].value
        low, high, remark = t_interval(value, gap, n_units=n_units(ours, name))
        reason = ours_at[name].reason or theirs_at[name].reason or remark
        p = two_sided_p(gap)
        table[name] = Difference(value, low, high, p, reason, at_floor=p <= p_floor(gap) + 1e-12)
    return table


def two_sided_p(gap: np.ndarray) -> float:
    """Return the two-sided bootstrap p-value of "no difference"; nan if nothing is defined."""
    gap = gap[np.isfinite(gap)]
    if len(gap) == 0:
        return float("nan")
    tail = min(int((gap <= 0).sum()), int((gap >= 0).sum()))
    return min(1.0, 2 * (tail + 1) / (len(gap) + 1))


def p_floor(gap: np.ndarray) -> float:
    """Return the smallest p-value that these resamples can give: 2 / (n + 1)."""
    return 2 / (int(np.isfinite(gap).sum()) + 1)


def holm(p_values: np.ndarray) -> np.ndarray:
    """Return p-values corrected for several comparisons (Holm 1979), same shape; nan stays nan and does not count."""
    corrected = np.full(len(p_values), np.nan)
    known = np.flatnonzero(np.isfinite(p_values))
    order = known[np.argsort(p_values[known], kind="stable")]
    steps = p_values[order] * (len(order) - np.arange(len(order)))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return corrected
