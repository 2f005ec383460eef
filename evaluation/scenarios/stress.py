"""Stress curves: how the score falls as the input gets worse, from predictions of disturbed windows.

A stress file is Parquet with the columns of a predictions file less `fold` (evaluation.schemas.predictions) and:

    stress       text: what was done ("channels removed", "muscle artifact", "mains hum", "gain", ...)
    level        float, at least 0: how much; 0 is the undisturbed window, and every model and stress has it
    unit         text: what level counts ("channels", "µV", "%"); "" where levels are kinds, not amounts
    level_name   text: what the level is called on the page ("linked ears", "4 s"); "" for the number and unit

A level holds the windows of level 0 of its model and stress, or fewer where the preparation refused some. Metadata:

    levels       {stress: [[level, level_name], ...]}: every level that was run, so that one whose windows were all
                 refused is known; files without it name such levels in `refused`
    refused      {stress: {level_name, or number and unit: {reason: windows}}}

A refusal is a result. Windows are therefore scored twice: all of level 0, a refused window counting as an answer of
equal probabilities (intention to treat); and the windows that were answered at every level, so that levels are compared
on the same windows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from evaluation.measures.bootstrap import draws, estimates
from evaluation.measures.intervals import ONE_SUBJECT, Estimate, t_interval
from evaluation.measures.metrics import HIGHER_IS_BETTER
from evaluation.measures.tallies import Tallies, tally
from evaluation.schemas.predictions import ID_COLUMNS, Predictions, check_rows, read_rows, write_rows

STRESS_COLUMNS = (*(name for name in ID_COLUMNS if name != "fold"), "stress", "level", "unit", "level_name")
STRESS_METRICS = ("balanced_accuracy", "auroc_macro", "kl")
ALL_REFUSED = "the preparation refused every window"
_NAN = float("nan")


@dataclass(frozen=True, kw_only=True)
class StressLevel:
    """Scores at one level."""

    level: float
    name: str
    n_windows: int
    """Windows that were answered."""
    n_refused: int
    """Windows of level 0 that have no prediction at this level."""
    metrics: dict[str, Estimate] = field(repr=False)
    """Over all windows of level 0, refused ones counting as equal probabilities."""
    answered: dict[str, Estimate] = field(repr=False)
    """Over the windows that were answered at this level."""


@dataclass(frozen=True, kw_only=True)
class StressCurve:
    """One model under one stress."""

    model: str
    stress: str
    unit: str
    levels: tuple[StressLevel, ...]
    retained: dict[str, Estimate]
    """Area under the share of the score above chance that is kept: 1 is no loss, 0 is chance. Refused windows count as
    equal probabilities, and a level with refusals keeps at most all of the score."""
    retained_common: dict[str, Estimate]
    """The same over the windows that were answered at every level."""
    n_common: int
    """Windows that were answered at every level."""


@dataclass(frozen=True)
class _Level:
    """One level's amount, name and rows; no rows where all were refused."""

    amount: float
    name: str
    rows: pd.DataFrame


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
        if extra := set(rows["window_key"]) - whole:
            raise ValueError(f"stress {name!r} of {model} has windows that are missing at level 0: {sorted(extra)[0]}")
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
    unit, classes = str(frame["unit"].iloc[0]), stress.classes
    levels = _levels(stress, frame, name, unit)
    whole = levels[0].rows
    people = sorted(set(whole["subject_id"].astype(str)))
    common = set(whole["window_key"]).intersection(*(set(level.rows["window_key"]) for level in levels))
    scored, everyone, shared = [], list[np.ndarray](), list[np.ndarray]()

    def values(rows: pd.DataFrame) -> tuple[dict[str, Estimate], np.ndarray]:
        tallies = tally(rows, classes, people=people)
        return _values(tallies, n_boot=n_boot, seed=seed)

    for level in levels:
        metrics, drawn = values(_with_refused(level.rows, whole, classes))
        everyone.append(drawn)
        answered = dict.fromkeys(STRESS_METRICS, Estimate(_NAN, _NAN, _NAN, ALL_REFUSED))
        if len(level.rows):
            answered = metrics if len(level.rows) == len(whole) else values(level.rows)[0]
        if common:
            shared.append(values(level.rows[level.rows["window_key"].isin(common)])[1])
        scored.append(
            StressLevel(level=level.amount, name=level.name, n_windows=len(level.rows),
                        n_refused=len(whole) - len(level.rows), metrics=metrics, answered=answered)
        )  # fmt: skip
    amounts, capped = [level.amount for level in levels], np.array([row.n_refused > 0 for row in scored])
    no_common = dict.fromkeys(_RETAINED, Estimate(_NAN, _NAN, _NAN, "no window was answered at every level"))
    return StressCurve(
        model=model,
        stress=name,
        unit=unit,
        levels=tuple(scored),
        retained=_retained(everyone, amounts, len(classes), nominal=not unit, n_units=len(people), capped=capped),
        retained_common=_retained(shared, amounts, len(classes), nominal=not unit, n_units=len(people))
        if common
        else no_common,
        n_common=len(common),
    )


_RETAINED = tuple(metric for metric in STRESS_METRICS if HIGHER_IS_BETTER[metric])


def _levels(stress: Predictions, frame: pd.DataFrame, name: str, unit: str) -> list[_Level]:
    """Return every level that was run, in rising order, fully refused ones included."""
    named = {
        float(amount): str(rows["level_name"].iloc[0]) or f"{amount:g} {unit}".strip()
        for amount, rows in frame.groupby("level")
    }
    for amount, label in (stress.meta.get("levels") or {}).get(name) or ():
        named.setdefault(float(amount), str(label) or f"{amount:g} {unit}".strip())
    for label in (stress.meta.get("refused") or {}).get(name) or {}:
        if label not in named.values():
            named.setdefault(_amount(label, unit, highest=max(named)), label)

    def rows_at(amount: float) -> pd.DataFrame:
        rows = frame[frame["level"] == amount]
        return rows.sort_values("window_key", kind="stable").reset_index(drop=True)

    return [_Level(amount, named[amount], rows_at(amount)) for amount in sorted(named)]


def _amount(label: str, unit: str, *, highest: float) -> float:
    """Return the level that a label of `refused` names; for kinds, which have no amount, one above the highest."""
    if not unit:
        return highest + 1
    try:
        return float(label.removesuffix(unit))
    except ValueError:
        raise ValueError(f"the stress file names a refused level {label!r}, which is no amount in {unit}") from None


def _with_refused(rows: pd.DataFrame, whole: pd.DataFrame, classes: tuple[str, ...]) -> pd.DataFrame:
    """Return the rows of a level and, for each window that was refused, equal probabilities."""
    refused = whole[~whole["window_key"].isin(set(rows["window_key"]))]
    if refused.empty:
        return rows
    silent = refused.assign(**{f"prob_{name}": 1.0 / len(classes) for name in classes})
    joined = pd.concat([rows, silent]) if len(rows) else silent
    return joined.sort_values("window_key", kind="stable").reset_index(drop=True)


def _values(tallies: Tallies, *, n_boot: int, seed: int) -> tuple[dict[str, Estimate], np.ndarray]:
    """Return the estimates, and each metric with its resamples, shape (n_metrics, 1 + n_boot)."""
    drawn = draws(tallies, n_boot=n_boot, seed=seed)
    known = estimates(tallies, drawn)
    rows = [np.r_[known[metric].value, drawn.get(metric, np.zeros(0))] for metric in STRESS_METRICS]
    return {metric: known[metric] for metric in STRESS_METRICS}, np.stack(rows)


def chance_score(metric: str, n_classes: int) -> float:
    """Return the score of equal probabilities."""
    return {"balanced_accuracy": 1 / n_classes, "auroc_macro": 0.5}[metric]


def _retained(
    values: Sequence[np.ndarray], amounts: Sequence[float], n_classes: int, *, nominal: bool, n_units: int,
    capped: np.ndarray | None = None,
) -> dict[str, Estimate]:  # fmt: skip
    table = np.stack(values)
    return {
        metric: retained_area(table[:, STRESS_METRICS.index(metric)], amounts, nominal=nominal, capped=capped,
                              n_units=n_units, chance=chance_score(metric, n_classes))
        for metric in _RETAINED
    }  # fmt: skip


def retained_area(
    values: np.ndarray,
    levels: Sequence[float] | np.ndarray,
    *,
    chance: float,
    nominal: bool,
    n_units: int = 0,
    capped: np.ndarray | None = None,
) -> Estimate:
    """Return the mean share of the score above chance that is kept over the levels, with its interval.

    `values` has shape (n_levels, 1 + n_boot), the data first, level 0 first. Amounts are weighted by the trapezoid rule
    over the range of levels; kinds (`nominal`) count alike, level 0 apart. `capped`, shape (n_levels,), marks levels
    that keep at most 1: those with refused windows, since to refuse windows that were wrong is no gain. `n_units` is
    the number of subjects behind the resamples. Undefined without a second level, or where the undisturbed score is no
    better than chance.
    """
    if len(levels) < 2:
        return Estimate(_NAN, _NAN, _NAN, "there is one level only")
    gained = values - chance
    if not gained[0, 0] > 0:
        return Estimate(_NAN, _NAN, _NAN, "the undisturbed score is no better than chance")
    shares = np.divide(gained, gained[0], out=np.full(gained.shape, _NAN), where=gained[0] > 0)
    if capped is not None:
        shares[capped] = np.minimum(shares[capped], 1.0)
    if nominal:
        areas = shares[1:].mean(axis=0)
    else:
        steps = np.diff(np.asarray(levels, dtype=np.float64))
        areas = (steps[:, None] * (shares[1:] + shares[:-1]) / 2).sum(axis=0) / steps.sum()
    if not np.isfinite(areas[0]):
        return Estimate(_NAN, _NAN, _NAN, "the score is undefined at some level")
    if len(areas) == 1:
        return Estimate(float(areas[0]), _NAN, _NAN, ONE_SUBJECT if n_units == 1 else "no resamples")
    low, high, remark = t_interval(float(areas[0]), areas[1:], n_units=n_units)
    if capped is not None and capped.any():
        high = min(high, max(1.0, float(areas[0])))
    return Estimate(float(areas[0]), low, high, remark)
