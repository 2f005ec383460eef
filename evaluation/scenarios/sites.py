"""Results by site: a mean over sites hides the one where a model fails."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from evaluation.measures.bootstrap import draws, estimates
from evaluation.measures.intervals import Estimate, over_sites
from evaluation.measures.metrics import HIGHER_IS_BETTER
from evaluation.measures.tallies import tally

BOUNDS = {
    "kl": (0.0, float("inf")), "balanced_accuracy": (0.0, 1.0), "kappa": (-1.0, 1.0), "auroc_macro": (0.0, 1.0),
    "weighted_f1": (0.0, 1.0), "ece": (0.0, 1.0),
}  # fmt: skip
"""Range of each metric."""
SITE_METRICS = ("kl", "balanced_accuracy", "kappa", "auroc_macro", "weighted_f1", "ece")


@dataclass(frozen=True, kw_only=True)
class SiteRow:
    """One model at one site (or in one fold)."""

    name: str
    n_windows: int
    n_subjects: int
    class_counts: Mapping[str, int]
    metrics: Mapping[str, Estimate] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class AcrossSites:
    """One metric over sites, each site counting once."""

    mean: float
    worst: float
    worst_site: str
    best: float
    spread: float
    """Best minus worst."""
    sd: float
    """Standard deviation over sites (n - 1); nan for fewer than two."""
    n_sites: int
    """Sites where the metric is defined."""
    mean_over_hospitals: Estimate
    """The mean, with an interval for the mean over all hospitals that these are a sample of."""
    new_hospital: Estimate
    """The mean, with a prediction interval for one more hospital."""
    reason: str = ""


def site_rows(
    frame: pd.DataFrame, classes: tuple[str, ...], *, by: str = "site_id", n_boot: int, seed: int
) -> list[SiteRow]:
    """Return one row for each value of `by` ("site_id" or "fold") of one model's rows, in sorted order."""
    rows = []
    for name, part in sorted(frame.groupby(by), key=lambda item: str(item[0])):
        tallies = tally(part, classes)
        known = estimates(tallies, draws(tallies, n_boot=n_boot, seed=seed))
        counts = part["label"].value_counts()
        rows.append(
            SiteRow(
                name=str(name),
                n_windows=len(part),
                n_subjects=tallies.n_subjects,
                class_counts={cls: int(counts.get(cls, 0)) for cls in classes},
                metrics={metric: known[metric] for metric in SITE_METRICS},
            )
        )
    return rows


def across_sites(rows: Sequence[SiteRow], metric: str) -> AcrossSites:
    """Return mean, worst site and spread of a metric over the sites where it is defined."""
    known = [(row.metrics[metric].value, row.name) for row in rows if np.isfinite(row.metrics[metric].value)]
    values = np.array([value for value, _ in known])
    intervals = over_sites(values, bounds=BOUNDS[metric])
    if not known:
        nan = float("nan")
        return AcrossSites(mean=nan, worst=nan, worst_site="", best=nan, spread=nan, sd=nan, n_sites=0,
                           mean_over_hospitals=intervals.mean, new_hospital=intervals.new_site,
                           reason="undefined at every site")  # fmt: skip
    ordered = sorted(known, reverse=not HIGHER_IS_BETTER[metric])
    return AcrossSites(
        mean=float(values.mean()),
        worst=ordered[0][0],
        worst_site=ordered[0][1],
        best=ordered[-1][0],
        spread=float(values.max() - values.min()),
        sd=float(values.std(ddof=1)) if len(values) > 1 else float("nan"),
        n_sites=len(values),
        mean_over_hospitals=intervals.mean,
        new_hospital=intervals.new_site,
        reason="" if len(values) > 1 else "defined at one site only: no spread",
    )
