"""Reconstruction scores from sums equal those from samples."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import pearsonr

from evaluation.measures.intervals import ONE_SUBJECT
from evaluation.scenarios.reconstruction import (
    RECONSTRUCTION_COLUMNS,
    read_reconstruction,
    score_reconstruction,
    write_reconstruction,
)


def make_frame(n_subjects: int = 5) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    rng, rows = np.random.default_rng(0), []
    truth, guess = rng.normal(2.0, 1.0, (n_subjects * 2, 50)), np.empty((n_subjects * 2, 50))
    for w, x in enumerate(truth):
        guess[w] = x + 0.5 * rng.normal(size=50)
        estimates = {"model": guess[w], "linear": x + rng.normal(size=50), "mean": np.full(50, 2.0)}
        for method, y in estimates.items():
            row: dict[str, Any] = {
                "window_key": f"w{w}", "subject_id": f"s{w // 2}", "site_id": "a", "span_ms_low": 100.0 * (w % 2),
                "span_ms_high": 100.0 * (w % 2) + 100, "method": method, "n_samples": 50,
                "sum_squared_error": ((y - x) ** 2).sum(), "sum_x": x.sum(), "sum_y": y.sum(),
                "sum_xy": (x * y).sum(), "sum_xx": (x * x).sum(), "sum_yy": (y * y).sum(),
            }  # fmt: skip
            rows.append(row)
    return pd.DataFrame(rows), truth, guess


def test_scores_equal_those_of_the_samples() -> None:
    frame, truth, guess = make_frame()
    scores = {(s.low_ms, s.method): s for s in score_reconstruction(frame, n_boot=100, seed=0) if s.high_ms < np.inf}
    first = scores[0.0, "model"]
    assert first.mse.value == pytest.approx(((truth[::2] - guess[::2]) ** 2).mean())
    assert first.r.value == pytest.approx(pearsonr(truth[::2].ravel(), guess[::2].ravel()).statistic, abs=1e-9)
    assert first.ratio_to_mean.value == pytest.approx(first.mse.value / ((truth[::2] - 2) ** 2).mean())
    assert first.mse.low < first.mse.value < first.mse.high
    assert first.ratio_to_linear.value < 1
    assert (first.n_windows, first.n_subjects) == (5, 5)


def test_a_constant_has_no_correlation_and_says_why() -> None:
    frame, _, _ = make_frame()
    flat = next(s for s in score_reconstruction(frame, n_boot=10, seed=0) if s.method == "mean")
    assert np.isnan(flat.r.value)
    assert "constant" in flat.r.reason


def test_one_subject_has_no_interval() -> None:
    frame, _, _ = make_frame(1)
    score = score_reconstruction(frame, n_boot=10, seed=0)[0]
    assert score.mse.reason == ONE_SUBJECT


def test_file_comes_back(tmp_path: Path) -> None:
    frame, _, _ = make_frame()
    write_reconstruction(tmp_path / "r.parquet", frame)
    pd.testing.assert_frame_equal(read_reconstruction(tmp_path / "r.parquet"), frame)
    assert [p.name for p in tmp_path.iterdir()] == ["r.parquet"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns="sum_xy"), "sum_xy"),
        (lambda f: f.iloc[:0], "no rows"),
        (lambda f: f.assign(method="guess"), "guess"),
        (lambda f: f.assign(n_samples=0), "without samples"),
        (lambda f: pd.concat([f, f]), "twice"),
        (lambda f: f.iloc[1:], "a method is missing"),
        (lambda f: f[f["method"] != "model"], "'model'"),
        (lambda f: f.assign(sum_squared_error=-f["sum_squared_error"]), "negative error"),
        (lambda f: f.assign(sum_x=np.where(f["sum_x"] > 100, np.nan, f["sum_x"])), "with a nan"),
        (lambda f: f[~((f["window_key"] == "w0") & (f["method"] == "linear"))], "a method is missing"),
    ],
)
def test_contradictions_are_refused(change: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_reconstruction(Path("nowhere.parquet"), change(make_frame()[0]))


def test_bands_are_scored_apart_and_do_not_enter_the_whole(tmp_path: Path) -> None:
    frame, _, _ = make_frame()
    alpha = frame.assign(band="alpha", sum_squared_error=frame["sum_squared_error"] * 4)
    write_reconstruction(tmp_path / "r.parquet", pd.concat([frame.assign(band="all"), alpha]))
    scores = score_reconstruction(read_reconstruction(tmp_path / "r.parquet"), n_boot=20, seed=0)
    plain = score_reconstruction(frame, n_boot=20, seed=0)
    assert repr(scores[: len(plain)]) == repr(plain)  # nan is not itself
    last = {s.method: s for s in scores if s.band == "alpha" and s.high_ms == np.inf}
    assert last["model"].mse.value == pytest.approx(4 * plain[0].mse.value)
    with pytest.raises(ValueError, match="none that is 'all'"):
        write_reconstruction(tmp_path / "r.parquet", alpha)


def test_long_gaps_are_scored_together_and_against_every_baseline() -> None:
    frame, truth, guess = make_frame()
    bins = {0.0: (15.0, 60.0), 100.0: (60.0, 200.0)}
    lengths = [bins[low] for low in frame["span_ms_low"]]
    frame = frame.assign(span_ms_low=[a for a, _ in lengths], span_ms_high=[b for _, b in lengths])
    third = frame[frame["span_ms_low"] == 60.0].assign(span_ms_low=200.0, span_ms_high=500.0)
    spline = frame[frame["method"] == "linear"].assign(method="spline", sum_squared_error=1e3)
    frame = pd.concat([frame, third, spline, spline.tail(5).assign(span_ms_low=200.0, span_ms_high=500.0)])
    frame = frame.drop_duplicates(["window_key", "span_ms_low", "method"])
    spline_long = frame[(frame["method"] == "linear") & (frame["span_ms_low"] == 200.0)].assign(method="spline")
    frame = pd.concat([frame[~((frame["method"] == "spline") & (frame["span_ms_low"] == 200.0))], spline_long])
    scores = score_reconstruction(frame, n_boot=20, seed=0)
    spans = [(s.low_ms, s.high_ms) for s in scores if s.method == "model"]
    assert spans == [(0.0, np.inf), (15.0, 60.0), (60.0, 200.0), (200.0, 500.0), (60.0, 500.0)]
    long = next(s for s in scores if (s.low_ms, s.high_ms, s.method) == (60.0, 500.0, "model"))
    assert long.mse.value == pytest.approx(((truth[1::2] - guess[1::2]) ** 2).mean())
    assert long.r.value == pytest.approx(pearsonr(truth[1::2].ravel(), guess[1::2].ravel()).statistic, abs=1e-9)
    assert long.ratio_to_spline.value < 1
    assert np.isnan(long.ratio_to_ar.value)
    assert "no rows of ar" in long.ratio_to_ar.reason


def test_the_file_holds_these_columns_and_bands_stay_in_their_order(tmp_path: Path) -> None:
    frame, _, _ = make_frame()
    both = pd.concat([frame.assign(band="theta"), frame.assign(band="all"), frame.assign(band="alpha")])
    write_reconstruction(tmp_path / "r.parquet", both.assign(note="not of the contract", index=7).set_index("index"))
    stored = pd.read_parquet(tmp_path / "r.parquet")
    assert list(stored.columns) == [*RECONSTRUCTION_COLUMNS, "band"]
    assert stored.index.equals(pd.RangeIndex(len(both)))
    names = dict.fromkeys(score.band for score in score_reconstruction(stored, n_boot=5, seed=0))
    assert list(names) == ["all", "theta", "alpha"]
    write_reconstruction(tmp_path / "s.parquet", frame)
    assert list(pd.read_parquet(tmp_path / "s.parquet").columns) == list(RECONSTRUCTION_COLUMNS)
