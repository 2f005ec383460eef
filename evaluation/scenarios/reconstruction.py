"""How well masked signal was reconstructed, against methods that need no training.

Training writes a reconstruction file: Parquet, one row per held-out window, length of gap and method, with sums over
the masked samples only, so that any grouping can be scored without the samples:

    window_key, subject_id, site_id        text
    span_ms_low, span_ms_high              float: the gap's length lies in [low, high) milliseconds
    method                                 text: "model", "linear" (interpolated across the gap), "mean", "spline"
                                           (spherical, from the visible channels), "ar" (autoregressive, per channel),
                                           "filling" (what the model starts from, untrained)
    n_samples                              int: masked samples, channels counted one by one
    sum_squared_error                      float: sum of (y - x)^2
    sum_x, sum_y, sum_xy, sum_xx, sum_yy   float: x is the truth, y the estimate, both normalised alike
    band                                   text, may be missing: "all", or the band that both were filtered to

Every window and gap has one row per method, so that methods are compared on the same samples.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from evaluation.measures.bootstrap import resamples
from evaluation.measures.intervals import ONE_SUBJECT, POSITIVE, SIGNED, Estimate, Scale, t_interval
from signals.files import atomic_file

METHODS = ("model", "linear", "mean", "spline", "ar", "filling")
SUMS = ("n_samples", "sum_squared_error", "sum_x", "sum_y", "sum_xy", "sum_xx", "sum_yy")
_TEXT = ("window_key", "subject_id", "site_id", "method")
RECONSTRUCTION_COLUMNS = ("window_key", "subject_id", "site_id", "span_ms_low", "span_ms_high", "method", *SUMS)
"""Columns of a reconstruction file, as described in this module's docstring."""
LONG_MS = 60.0
"""Gaps of this length and more are scored together too: interpolation nearly fills shorter ones."""


@dataclass(frozen=True, kw_only=True)
class SpanScore:
    """One method on gaps of one length; `low_ms` 0 and `high_ms` infinite for all gaps together."""

    band: str
    """"all", or the band that truth and estimate were filtered to."""
    low_ms: float
    high_ms: float
    method: str
    n_windows: int
    n_subjects: int
    mse: Estimate
    r: Estimate
    """Pearson correlation of estimate and truth over all masked samples."""
    ratio_to_linear: Estimate
    """Squared error over that of linear interpolation across the gap: below 1 is better."""
    ratio_to_mean: Estimate
    ratio_to_spline: Estimate
    ratio_to_ar: Estimate
    ratio_to_filling: Estimate


def check_reconstruction(frame: pd.DataFrame) -> None:
    """Raise ValueError where a frame contradicts the contract of this module."""
    missing = [column for column in RECONSTRUCTION_COLUMNS if column not in frame.columns]
    if missing:
        raise ValueError(f"reconstruction is missing the columns {missing}")
    if frame.empty:
        raise ValueError("reconstruction holds no rows")
    if unknown := sorted(set(frame["method"]) - set(METHODS)):
        raise ValueError(f"reconstruction names the methods {unknown}, known are {list(METHODS)}")
    numbers = frame[["span_ms_low", *SUMS]].to_numpy(dtype=np.float64)
    if not np.isfinite(numbers).all() or (frame["n_samples"] <= 0).any() or (frame["sum_squared_error"] < 0).any():
        raise ValueError("reconstruction holds a row without samples, with a negative error, or with a nan")
    bands = ["band"] if "band" in frame.columns else []
    if bands and "all" not in set(frame["band"]):
        raise ValueError("reconstruction has bands, but none that is 'all'")
    key = ["window_key", "span_ms_low", *bands, "method"]
    if frame.duplicated(key).any():
        raise ValueError(f"reconstruction holds a window twice: {frame[frame.duplicated(key)].iloc[0][key].to_dict()}")
    per_gap = frame.groupby(["window_key", "span_ms_low", *bands])["method"].size()
    if per_gap.nunique() != 1 or per_gap.iloc[0] != frame["method"].nunique():
        raise ValueError("a method is missing for some window: methods are compared on the same samples")
    if "model" not in set(frame["method"]):
        raise ValueError("reconstruction holds no rows of the method 'model'")


def write_reconstruction(path: Path, frame: pd.DataFrame) -> None:
    """Write a reconstruction file atomically; raises ValueError for rows that contradict the contract."""
    check_reconstruction(frame)
    columns = [*RECONSTRUCTION_COLUMNS, *(name for name in ("band",) if name in frame.columns)]
    with atomic_file(path) as file:
        pq.write_table(pa.Table.from_pandas(frame[columns], preserve_index=False), file)


def read_reconstruction(path: Path) -> pd.DataFrame:
    """Read and check a reconstruction file; raises ValueError if it is not one."""
    frame = pq.read_table(path).to_pandas()
    check_reconstruction(frame)
    return frame


def score_reconstruction(frame: pd.DataFrame, *, n_boot: int, seed: int) -> list[SpanScore]:
    """Return every method's score in all bands, then in each: all gaps, each length, long ones together.

    Intervals resample subjects.
    """
    if "band" not in frame.columns:
        frame = frame.assign(band="all")
    bands = sorted(frame["band"].unique(), key=lambda band: (band != "all", list(frame["band"]).index(band)))
    return [
        score
        for band in bands
        for low, high, part in _gaps(frame[frame["band"] == band])
        for score in score_gaps(part, low, high, n_boot=n_boot, seed=seed, band=str(band))
    ]


def _gaps(frame: pd.DataFrame) -> Iterator[tuple[float, float, pd.DataFrame]]:
    yield 0.0, float("inf"), frame
    lengths = sorted(frame.groupby(["span_ms_low", "span_ms_high"]))
    for (low, high), part in lengths:
        yield float(low), float(high), part
    long = frame[frame["span_ms_low"] >= LONG_MS]
    if 1 < long["span_ms_low"].nunique() < len(lengths):
        yield LONG_MS, float(long["span_ms_high"].max()), long


def score_gaps(
    frame: pd.DataFrame, low: float, high: float, *, n_boot: int, seed: int, band: str = "all"
) -> list[SpanScore]:
    """Return every method's score on the gaps of these rows, which are of one band; `low` and `high` name them."""
    sums = {
        method: frame[frame["method"] == method].groupby("subject_id")[list(SUMS)].sum().sort_index()
        for method in METHODS
        if (frame["method"] == method).any()
    }
    n_subjects = len(sums["model"])
    drawn = {method: [_scores(np.ones((1, n_subjects)), table)] for method, table in sums.items()}
    if n_subjects > 1:
        for weights in resamples(n_subjects, n_boot=n_boot, seed=seed):
            for method, table in sums.items():
                drawn[method].append(_scores(weights, table))
    rows = {method: np.concatenate(parts) for method, parts in drawn.items()}
    return [
        SpanScore(
            band=band, low_ms=low, high_ms=high, method=method, n_windows=int(frame["window_key"].nunique()),
            n_subjects=n_subjects,
            mse=_estimate(values[:, 0], "no samples", n_subjects),
            r=_estimate(values[:, 1], "truth or estimate is constant", n_subjects, scale=SIGNED),
            **{f"ratio_to_{name}": _ratio(values, rows.get(name), name, n_subjects) for name in METHODS[1:]},
        )
        for method, values in rows.items()
    ]  # fmt: skip


def _scores(weights: np.ndarray, table: pd.DataFrame) -> np.ndarray:
    """Return (mse, r) per row of subject weights, shape (n_boot, 2)."""
    n, error, x, y, xy, xx, yy = (weights @ table.to_numpy(dtype=np.float64)).T
    var_x, var_y = xx / n - (x / n) ** 2, yy / n - (y / n) ** 2
    # A constant leaves rounding noise of about 1e-16 of its square, no variance.
    moving = (var_x > 1e-12 * xx / n) & (var_y > 1e-12 * yy / n)
    r = np.full(len(n), np.nan)
    np.divide(xy / n - x * y / n**2, np.sqrt(np.abs(var_x * var_y)), out=r, where=moving)
    return np.column_stack([error / n, r])


def _ratio(values: np.ndarray, baseline: np.ndarray | None, name: str, n_subjects: int) -> Estimate:
    if baseline is None:
        return _estimate(np.full(1, np.nan), f"the file has no rows of {name}", n_subjects)
    ratio = np.full(len(values), np.nan)
    np.divide(values[:, 0], baseline[:, 0], out=ratio, where=baseline[:, 0] > 0)
    return _estimate(ratio, f"{name} makes no error", n_subjects)


def _estimate(values: np.ndarray, undefined: str, n_subjects: int, *, scale: Scale = POSITIVE) -> Estimate:
    """Return the estimate whose value stands first and whose resamples follow."""
    nan = float("nan")
    if not np.isfinite(values[0]):
        return Estimate(nan, nan, nan, undefined)
    if len(values) == 1:
        return Estimate(float(values[0]), nan, nan, ONE_SUBJECT)
    value = float(values[0])
    return Estimate(value, *t_interval(value, values[1:], n_units=n_subjects, scale=scale))
