"""Stress curves: how the score falls as the input gets worse, from predictions of disturbed windows.

A stress file is Parquet with the columns of a predictions file less `fold` (evaluation.schemas.predictions) and:

    stress       text: what was done ("channels removed", "muscle artifact", "mains hum", "gain", ...)
    level        float, at least 0: how much; 0 is the undisturbed window, and every model and stress has it
    unit         text: what level counts ("channels", "µV", "%"); "" where levels are kinds, not amounts
    level_name   text: what the level is called on the page ("linked ears", "4 s"); "" for the number and unit

A level holds the windows of level 0 of its model and stress, or fewer where the preparation refused some.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from evaluation.measures.bootstrap import Estimate, draws, estimates, percentile_interval
from evaluation.measures.metrics import HIGHER_IS_BETTER
from evaluation.measures.tallies import tally
from evaluation.schemas.predictions import ID_COLUMNS, Predictions, check_rows, read_rows, write_rows

STRESS_COLUMNS = (*(name for name in ID_COLUMNS if name != "fold"), "stress", "level", "unit", "level_name")
STRESS_METRICS = ("balanced_accuracy", "auroc_macro", "kl")


@dataclass(frozen=True, kw_only=True)
class StressLevel:
    """Scores at one level."""

    level: float
    name: str
    n_windows: int
    n_refused: int
    """Windows of level 0 that have no prediction at this level."""
    metrics: dict[str, Estimate] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class StressCurve:
    """One model under one stress."""

    model: str
    stress: str
    unit: str
    levels: tuple[StressLevel, ...]
    retained: dict[str, Estimate]
    """Area under the share of the score above chance that is kept: 1 is no loss, 0 is chance."""


def check_stress(stress: Predictions) -> None:
    """Raise ValueError where rows contradict the contract of this module."""
    check_rows(stress, columns=STRESS_COLUMNS, key=("model", "stress", "level", "window_key"))
    frame = stress.frame
    if not np.isfinite(frame["level"]).all() or (frame["level"] < 0).any():
        raise ValueError("stress levels must be finite and at least 0, the undisturbed window")
    for (model, name), rows in frame.groupby(["model", "stress"]):
        whole = set(rows.loc[rows["level"] == 0, "window_key"])
        if not whole:
            raise ValueError(f"stress {name!r} of {model} has no level 0, the undisturbed windows")
        if strangers := set(rows["window_key"]) - whole:
            raise ValueError(
                f"stress {name!r} of {model} has windows that are missing at level 0: {sorted(strangers)[0]}"
            )
        if rows["unit"].nunique() > 1:
            raise ValueError(f"stress {name!r} of {model} mixes units {sorted(set(rows['unit']))}")


def write_stress(path: Path, stress: Predictions) -> None:
    """Write a stress file atomically; raises ValueError for rows that contradict the contract."""
    check_stress(stress)
    write_rows(path, stress, kind="stress")


def read_stress(path: Path) -> Predictions:
    """Read and check a stress file; raises ValueError if it is not one."""
    stress = read_rows(path, kind="stress")
    check_stress(stress)
    return stress


def stress_curves(stress: Predictions, *, n_boot: int, seed: int) -> list[StressCurve]:
    """Return a curve for every model and stress, in order of first appearance; subjects are resampled."""
    groups = dict.fromkeys(zip(stress.frame["model"], stress.frame["stress"], strict=True))
    return [_curve(stress, model, name, n_boot=n_boot, seed=seed) for model, name in groups]


def _curve(stress: Predictions, model: str, name: str, *, n_boot: int, seed: int) -> StressCurve:
    frame = stress.frame[(stress.frame["model"] == model) & (stress.frame["stress"] == name)]
    amounts = np.unique(frame["level"])
    people = sorted(set(frame["subject_id"].astype(str)))
    unit = str(frame["unit"].iloc[0])
    n_whole, levels = int((frame["level"] == 0).sum()), []
    values: dict[str, list[np.ndarray]] = {metric: [] for metric in STRESS_METRICS}
    for amount in amounts:
        rows = frame[frame["level"] == amount].sort_values("window_key", kind="stable").reset_index(drop=True)
        tallies = tally(rows, stress.classes, people=people)
        drawn = draws(tallies, n_boot=n_boot, seed=seed)
        known = estimates(tallies, drawn)
        label = str(rows["level_name"].iloc[0]) or f"{amount:g} {unit}".strip()
        levels.append(
            StressLevel(level=float(amount), name=label, n_windows=len(rows), n_refused=n_whole - len(rows),
                        metrics={metric: known[metric] for metric in STRESS_METRICS})
        )  # fmt: skip
        for metric in STRESS_METRICS:
            values[metric].append(np.r_[known[metric].value, drawn.get(metric, np.zeros(0))])
    retained = {
        metric: retained_area(np.stack(values[metric]), amounts, chance=chance_score(metric, len(stress.classes)),
                              nominal=not unit)
        for metric in STRESS_METRICS if HIGHER_IS_BETTER[metric]
    }  # fmt: skip
    return StressCurve(model=model, stress=name, unit=unit, levels=tuple(levels), retained=retained)


def chance_score(metric: str, n_classes: int) -> float:
    """Return the score of equal probabilities."""
    return {"balanced_accuracy": 1 / n_classes, "auroc_macro": 0.5}[metric]


def retained_area(
    values: np.ndarray, levels: Sequence[float] | np.ndarray, *, chance: float, nominal: bool
) -> Estimate:
    """Return the mean share of the score above chance that is kept over the levels, with its interval.

    `values` has shape (n_levels, 1 + n_boot), the data first, level 0 first. Amounts are weighed by the trapezoid rule
    over the range of levels; kinds (`nominal`) count alike, level 0 apart. Undefined without a second level, or where
    the undisturbed score is no better than chance.
    """
    nan = float("nan")
    if len(levels) < 2:
        return Estimate(nan, nan, nan, "there is one level only")
    gained = values - chance
    if not gained[0, 0] > 0:
        return Estimate(nan, nan, nan, "the undisturbed score is no better than chance")
    shares = np.divide(gained, gained[0], out=np.full(gained.shape, nan), where=gained[0] > 0)
    if nominal:
        areas = shares[1:].mean(axis=0)
    else:
        steps = np.diff(np.asarray(levels, dtype=np.float64))
        areas = (steps[:, None] * (shares[1:] + shares[:-1]) / 2).sum(axis=0) / steps.sum()
    if not np.isfinite(areas[0]):
        return Estimate(nan, nan, nan, "the score is undefined at some level")
    if len(areas) == 1:
        return Estimate(float(areas[0]), nan, nan, "no resamples")
    return Estimate(float(areas[0]), *percentile_interval(areas[1:]))
