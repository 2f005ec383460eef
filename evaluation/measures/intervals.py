"""Intervals for few patients and few sites, and for errors that were not seen.

- over subjects: a t interval on the metric's own scale (logit for shares, log for losses, Fisher's z for correlations),
  its standard error from the bootstrap of subjects, widened by sqrt(n / (n - 1)) as the bootstrap's variance is that of
  a population. Percentiles of the same draws cover 78-91% where 95% is stated, with 4 to 8 subjects.
- over sites: a t interval for the mean over hospitals, and a prediction interval for one more hospital, each site
  counting once (Higgins et al. 2009, doi:10.1111/j.1467-985X.2008.00552.x, with equal weights).
- for shares of 0 or 1: the exact interval of Clopper and Pearson (1934) over subjects, one-sided at the end that was
  reached, since no resample shows an error that no patient had.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

LEVEL = 0.95
ONE_SUBJECT = "one subject: no interval can be given"
NO_SPREAD = "every resample gives the same value"
FEW_SITES = "two sites: the interval is hardly informative"


@dataclass(frozen=True)
class Estimate:
    """A metric with its interval; what is undefined is nan, and `reason` states why."""

    value: float
    low: float
    high: float
    reason: str = ""


@dataclass(frozen=True)
class Scale:
    """A scale on which an estimate is nearly normal: there, back, and the slope of the way there."""

    forward: Callable[[float], float]
    inverse: Callable[[float], float]
    slope: Callable[[float], float]
    inside: Callable[[float], bool]
    """Whether the slope is finite at a value."""


IDENTITY = Scale(float, float, lambda x: 1.0, lambda x: True)
SHARE = Scale(
    lambda p: float(np.log(p / (1 - p))),
    lambda z: float(1 / (1 + np.exp(-z))),
    lambda p: 1 / (p * (1 - p)),
    lambda p: 0 < p < 1,
)
POSITIVE = Scale(lambda x: float(np.log(x)), lambda z: float(np.exp(z)), lambda x: 1 / x, lambda x: x > 0)
SIGNED = Scale(
    lambda r: float(np.arctanh(r)), lambda z: float(np.tanh(z)), lambda r: 1 / (1 - r**2), lambda r: abs(r) < 1
)


def t_interval(
    value: float, drawn: np.ndarray, *, n_units: int, scale: Scale = IDENTITY, level: float = LEVEL
) -> tuple[float, float, str]:
    """Return (low, high, remark) of an estimate from its values on resamples of `n_units` subjects.

    nan without two subjects, or where no two resamples differ; the remark states that, or how many resamples were
    undefined.
    """
    from scipy.stats import t

    nan, defined = float("nan"), drawn[np.isfinite(drawn)]
    if n_units < 2:
        return nan, nan, ONE_SUBJECT
    if not np.isfinite(value) or len(defined) < 2:
        return nan, nan, "undefined in every resample"
    error = float(defined.std(ddof=1)) * np.sqrt(n_units / (n_units - 1))
    if not scale.inside(value):
        return nan, nan, NO_SPREAD
    reach = float(t.ppf((1 + level) / 2, n_units - 1)) * error * scale.slope(value)
    middle, lost = scale.forward(value), len(drawn) - len(defined)
    remark = f"undefined in {lost} of {len(drawn)} resamples" if lost else ""
    if reach <= 1e-12:
        return value, value, remark
    return scale.inverse(middle - reach), scale.inverse(middle + reach), remark


def share_interval(value: float, drawn: np.ndarray, *, n_units: int, level: float = LEVEL) -> tuple[float, float, str]:
    """Return (low, high, remark) of a share: `t_interval`, or the exact one over subjects where it is 0 or 1."""
    if n_units > 1 and (value < 1e-12 or value > 1 - 1e-12):
        low, high = exact_interval(round(value) * n_units, n_units, level=level)
        return low, high, f"exact over {n_units} subjects"
    return t_interval(value, drawn, n_units=n_units, scale=SHARE, level=level)


def exact_interval(n_affected: int, n: int, *, level: float = LEVEL) -> tuple[float, float]:
    """Return the Clopper-Pearson interval of a share of `n`; one-sided where none or all are affected."""
    from scipy.stats import beta

    if n < 1:
        return float("nan"), float("nan")
    tail = (1 - level) / (1 if n_affected in (0, n) else 2)
    low = 0.0 if n_affected == 0 else float(beta.ppf(tail, n_affected, n - n_affected + 1))
    high = 1.0 if n_affected == n else float(beta.ppf(1 - tail, n_affected + 1, n - n_affected))
    return low, high


@dataclass(frozen=True, kw_only=True)
class OverSites:
    """The mean of a metric over sites, and where one more site is to be expected."""

    mean: Estimate
    """Interval for the mean over all hospitals that these are a sample of."""
    new_site: Estimate
    """Prediction interval for the result at another hospital of the kind."""


def over_sites(values: np.ndarray, *, bounds: tuple[float, float], level: float = LEVEL) -> OverSites:
    """Return both intervals from one value per site, shape (n_sites,), cut to `bounds`, the metric's range."""
    from scipy.stats import t

    nan, known = float("nan"), values[np.isfinite(values)]
    k = len(known)
    if k < 2:
        reason = "one site: nothing is known of another" if k else "undefined at every site"
        missing = Estimate(float(known.mean()) if k else nan, nan, nan, reason)
        return OverSites(mean=missing, new_site=missing)
    mean, spread, reason = float(known.mean()), float(known.std(ddof=1)), FEW_SITES if k == 2 else ""
    quantile = float(t.ppf((1 + level) / 2, k - 1))

    def around(reach: float) -> Estimate:
        return Estimate(mean, max(bounds[0], mean - reach), min(bounds[1], mean + reach), reason)

    return OverSites(
        mean=around(quantile * spread / np.sqrt(k)), new_site=around(quantile * spread * np.sqrt(1 + 1 / k))
    )


def debiased(value: float, drawn: np.ndarray, *, level: float = LEVEL) -> Estimate:
    """Return a bias-corrected estimate of a quantity that noise alone pushes up from 0, such as the ECE.

    Draws with replacement are biased once more than the data are, so the difference of their mean and the value
    estimates the bias (Efron and Tibshirani 1993, chapter 10); the draws are shifted back by twice of it. Cut at 0.
    """
    defined = drawn[np.isfinite(drawn)]
    if not np.isfinite(value) or len(defined) < 2:
        return Estimate(value, float("nan"), float("nan"), "undefined in every resample")
    bias = float(defined.mean()) - value
    low, high = np.quantile(defined - 2 * bias, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(max(0.0, value - bias), max(0.0, float(low)), max(0.0, float(high)))
