"""Tables by site, the summary over sites, and reliability."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from evaluation.measures.calibration import reliability, wilson
from evaluation.measures.intervals import Estimate
from evaluation.measures.tallies import tally
from evaluation.scenarios.sites import SITE_METRICS, SiteRow, across_sites, site_rows

CLASSES = ("rest", "task")


def site(name: str, value: float) -> SiteRow:
    estimate = Estimate(value, np.nan, np.nan)
    return SiteRow(name=name, n_windows=1, n_subjects=1, class_counts={}, metrics=dict.fromkeys(SITE_METRICS, estimate))


def frame_of(rows: list[tuple[str, str, str, float]]) -> pd.DataFrame:
    table: list[dict[str, Any]] = [
        {"window_key": str(i), "subject_id": subject, "site_id": where, "label": label, "prob_task": prob,
         "prob_rest": 1 - prob, "target_task": float(label == "task"), "target_rest": float(label == "rest")}
        for i, (where, subject, label, prob) in enumerate(rows)
    ]  # fmt: skip
    return pd.DataFrame(table)


def test_worst_site_depends_on_the_direction_of_the_metric() -> None:
    rows = [site("a", 0.2), site("b", 0.8), site("c", 0.5)]
    high, low = across_sites(rows, "kappa"), across_sites(rows, "kl")
    assert (high.worst_site, high.worst, high.best) == ("a", 0.2, 0.8)
    assert (low.worst_site, low.worst, low.best) == ("b", 0.8, 0.2)
    assert high.mean == pytest.approx(0.5)
    assert high.spread == pytest.approx(0.6)
    assert high.sd == pytest.approx(0.3)  # sqrt((0.09 + 0.09 + 0) / 2)


def test_undefined_sites_are_left_out_with_a_reason() -> None:
    one = across_sites([site("a", 0.2), site("b", np.nan)], "kappa")
    assert (one.n_sites, one.mean) == (1, 0.2)
    assert one.reason
    assert np.isnan(one.sd)
    none = across_sites([site("a", np.nan)], "kappa")
    assert np.isnan(none.mean)
    assert none.reason


def test_sites_are_scored_by_themselves() -> None:
    windows = [("x", "s1", "rest", 0.1), ("x", "s2", "task", 0.9), ("y", "s3", "rest", 0.9), ("y", "s3", "rest", 0.2)]
    rows = site_rows(frame_of(windows), CLASSES, n_boot=20, seed=0)
    assert [(r.name, r.n_windows, r.n_subjects) for r in rows] == [("x", 2, 2), ("y", 2, 1)]
    assert rows[0].metrics["balanced_accuracy"].value == 1.0
    assert np.isnan(rows[1].metrics["balanced_accuracy"].value)
    assert rows[1].metrics["kl"].value == pytest.approx(-(np.log(0.1) + np.log(0.8)) / 2)
    assert rows[1].class_counts == {"rest": 2, "task": 0}


def test_reliability_bins_hold_every_window() -> None:
    # Confidences 0.9 and 0.9 lie in bin 13, (13/15, 14/15]; 0.6 in bin 8, (8/15, 9/15].
    tallies = tally(frame_of([("x", "s1", "rest", 0.1), ("x", "s1", "rest", 0.9), ("x", "s2", "task", 0.6)]), CLASSES)
    bins = reliability(tallies)
    assert [b.n_windows for b in bins if b.n_windows] == [1, 2]
    assert bins[13].accuracy == 0.5
    assert bins[13].confidence == pytest.approx(0.9)
    assert np.isnan(bins[0].accuracy)
    # Wilson for 1 of 2: centre 0.5, half width 1.96/(1+1.92) * sqrt(0.125 + 0.2401) = 0.4055.
    assert wilson(1, 2) == pytest.approx((0.0945, 0.9055), abs=1e-4)
