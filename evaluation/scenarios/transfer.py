"""The transfer table: ways of using an encoder, and tuned baselines, on the same windows; seeds apart from patients.

It is read from an ordinary predictions file with several models. "linear-probe/pretrained#seed0" is the way
"linear-probe/pretrained" trained with seed 0; a model without the suffix was trained once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from evaluation.measures.bootstrap import draws, holm, interval_of, p_floor, two_sided_p
from evaluation.measures.intervals import ONE_SUBJECT, Estimate, t_interval
from evaluation.measures.tallies import point, tally
from evaluation.schemas.predictions import Predictions

SEED_MARK = "#seed"
TRANSFER_METRICS = ("balanced_accuracy", "auroc_macro", "kappa", "kl")


@dataclass(frozen=True, kw_only=True)
class TransferRow:
    """One way of using an encoder, all its seeds together."""

    model: str
    n_seeds: int
    metrics: dict[str, Estimate] = field(repr=False)
    """Mean over seeds; the interval resamples patients."""
    seed_sd: dict[str, float]
    """Standard deviation over seeds (n - 1); nan for fewer than two."""


@dataclass(frozen=True, kw_only=True)
class TransferDifference:
    """A way less the reference: means over seeds, on the same resamples of patients."""

    model: str
    reference: str
    metric: str
    value: float
    low: float
    high: float
    p_value: float
    p_holm: float
    reason: str = ""
    at_floor: bool
    """Whether the p-values are at most what is given: no resample lies on the far side."""


def seeds_of(models: Sequence[str]) -> dict[str, list[str]]:
    """Return the models of a file under the name that they share but for the seed, in order of appearance."""
    ways: dict[str, list[str]] = {}
    for model in models:
        ways.setdefault(model.split(SEED_MARK)[0], []).append(model)
    return ways


def transfer_table(
    predictions: Predictions, *, reference: str, n_boot: int, seed: int
) -> tuple[list[TransferRow], list[TransferDifference]]:
    """Return one row per way, and each way's paired difference from the reference, p-values corrected together (Holm).

    Raises ValueError where the reference is not among the ways, or where models predicted different windows.
    """
    ways = seeds_of(predictions.models)
    if reference not in ways:
        raise ValueError(f"reference {reference!r} is not in the transfer file, which has {', '.join(ways)}")
    values = _values(predictions, ways, n_boot=n_boot, seed=seed)
    n_subjects = predictions.frame["subject_id"].nunique()
    rows = [_row(way, table, n_subjects=n_subjects) for way, table in values.items()]
    return rows, _differences(values, reference, n_subjects=n_subjects)


def mean_difference(
    files: Sequence[Predictions], *, model: str, reference: str, metric: str, n_boot: int, seed: int
) -> Estimate:
    """Return how much a way is above a reference, the mean over tasks, one file each; every task counts alike.

    People are drawn again within each task. Tasks are taken for independent, so their variances add up, and the degrees
    of freedom are Satterthwaite's (1946): people who are in several tasks make the interval too narrow. nan, with the
    reason, where a task allows no interval.
    """
    from scipy.stats import t

    gaps, variances, freedoms = [], [], []
    for number, file in enumerate(files):
        ways = {name: models for name, models in seeds_of(file.models).items() if name in (model, reference)}
        values = _values(file, ways, n_boot=n_boot, seed=seed + number)
        gap = values[model][metric].mean(axis=0) - values[reference][metric].mean(axis=0)
        n_units, defined = file.frame["subject_id"].nunique(), gap[1:][np.isfinite(gap[1:])]
        if n_units < 2 or len(defined) < 2:
            return Estimate(float("nan"), float("nan"), float("nan"), f"task {file.task!r} allows no interval")
        gaps.append(float(gap[0]))
        variances.append(float(defined.var(ddof=1)) * n_units / (n_units - 1))
        freedoms.append(n_units - 1)
    value, each = float(np.mean(gaps)), np.array(variances) / len(files) ** 2
    if not each.any():
        return Estimate(value, value, value)
    freedom = each.sum() ** 2 / (each**2 / np.array(freedoms)).sum()
    reach = float(t.ppf(0.975, freedom)) * float(np.sqrt(each.sum()))
    return Estimate(value, value - reach, value + reach)


def _values(
    predictions: Predictions, ways: Mapping[str, Sequence[str]], *, n_boot: int, seed: int
) -> dict[str, dict[str, np.ndarray]]:
    """Return way -> metric -> array of shape (n_seeds, 1 + n_boot), the data's own value first."""
    values: dict[str, dict[str, np.ndarray]] = {}
    windows: tuple[str, ...] | None = None
    for way, models in ways.items():
        collected: dict[str, list[np.ndarray]] = {metric: [] for metric in TRANSFER_METRICS}
        for model in models:
            tallies = tally(predictions.of(model), predictions.classes)
            if windows is not None and tallies.window_keys != windows:
                raise ValueError(
                    f"{model} predicted different windows from {predictions.models[0]}: nothing can be paired"
                )
            windows = tallies.window_keys
            known, drawn = point(tallies), draws(tallies, n_boot=n_boot, seed=seed)
            for metric in TRANSFER_METRICS:
                collected[metric].append(np.r_[known[metric].value, drawn.get(metric, np.zeros(0))])
        values[way] = {metric: np.stack(parts) for metric, parts in collected.items()}
    return values


def _row(way: str, table: Mapping[str, np.ndarray], *, n_subjects: int) -> TransferRow:
    metrics, spread = {}, {}
    for metric, values in table.items():
        value, drawn = float(values[:, 0].mean()), values[:, 1:].mean(axis=0)
        nan = float("nan")
        if not np.isfinite(value) or n_subjects < 2:
            metrics[metric] = Estimate(value, nan, nan, ONE_SUBJECT if n_subjects < 2 else "undefined on these labels")
        else:
            metrics[metric] = interval_of(metric, value, drawn, n_units=n_subjects)
        spread[metric] = float(values[:, 0].std(ddof=1)) if len(values) > 1 else float("nan")
    return TransferRow(model=way, n_seeds=len(next(iter(table.values()))), metrics=metrics, seed_sd=spread)


def _differences(
    values: Mapping[str, Mapping[str, np.ndarray]], reference: str, *, n_subjects: int
) -> list[TransferDifference]:
    rows = []
    for way, table in values.items():
        if way == reference:
            continue
        for metric in TRANSFER_METRICS:
            gap = table[metric].mean(axis=0) - values[reference][metric].mean(axis=0)
            low, high, remark = t_interval(float(gap[0]), gap[1:], n_units=n_subjects)
            p = two_sided_p(gap[1:])
            rows.append((way, metric, float(gap[0]), low, high, p, remark, p <= p_floor(gap[1:]) + 1e-12))
    corrected = holm(np.array([row[5] for row in rows], dtype=np.float64))
    return [
        TransferDifference(model=way, reference=reference, metric=metric, value=value, low=low, high=high,
                           p_value=p, p_holm=float(p_holm), reason=remark, at_floor=at_floor)
        for (way, metric, value, low, high, p, remark, at_floor), p_holm in zip(rows, corrected, strict=True)
    ]  # fmt: skip
