"""Stress files and curves against hand-derived areas."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evaluation.measures.stress import chance_score, read_stress, retained_area, stress_curves, write_stress
from evaluation.schemas.predictions import Predictions

CLASSES = ("rest", "task")


def make_stress(right_of: dict[float, float] | None = None, *, n_subjects: int = 6) -> Predictions:
    """Each subject has 10 windows, five a class; of each class the share `right_of[level]` is called rightly."""
    rows = []
    for level, right in (right_of or {0.0: 1.0, 2.0: 0.8, 4.0: 0.6}).items():
        for s in range(n_subjects):
            for w in range(10):
                true = w % 2
                said = true if w // 2 < round(5 * right) else 1 - true
                rows.append(
                    {"window_key": f"{s}-{w}", "recording_id": f"r{s}", "subject_id": f"s{s}", "site_id": "x",
                     "model": "m", "label": CLASSES[true], "stress": "channels removed", "level": level,
                     "unit": "channels", "level_name": "", "target_rest": 1.0 - true, "target_task": float(true),
                     "prob_rest": 0.9 - 0.8 * said, "prob_task": 0.1 + 0.8 * said}
                )  # fmt: skip
    return Predictions(frame=pd.DataFrame(rows), task="rest-or-task", classes=CLASSES, meta={"command": "c"})


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_stress(tmp_path / "s.parquet", make_stress())
    read = read_stress(tmp_path / "s.parquet")
    pd.testing.assert_frame_equal(read.frame, make_stress().frame, check_dtype=False)
    assert (read.classes, read.meta) == (CLASSES, {"command": "c"})


def test_the_area_is_that_of_the_trapezoids() -> None:
    # Balanced accuracy 1.0, 0.8, 0.6 at levels 0, 2, 4; above chance 0.5: shares 1, 0.6, 0.2; mean height 0.6.
    [curve] = stress_curves(make_stress(), n_boot=20, seed=0)
    assert [level.metrics["balanced_accuracy"].value for level in curve.levels] == pytest.approx([1.0, 0.8, 0.6])
    kept = curve.retained["balanced_accuracy"]
    assert kept.value == pytest.approx(0.6)
    assert kept.low == pytest.approx(0.6)  # every subject is alike, so is every resample
    assert [level.name for level in curve.levels] == ["0 channels", "2 channels", "4 channels"]


def test_uneven_levels_weigh_by_their_distance_and_kinds_alike() -> None:
    values = np.array([[0.9], [0.7], [0.5]])  # shares 1, 0.5, 0 above chance 0.5
    even = retained_area(values, [0, 1, 2], chance=0.5, nominal=False)
    assert even.value == pytest.approx(0.5)
    # 1 of 10 at mean height 0.75, 9 of 10 at 0.25
    assert retained_area(values, [0, 1, 10], chance=0.5, nominal=False).value == pytest.approx(0.3)
    assert retained_area(values, [0, 1, 10], chance=0.5, nominal=True).value == pytest.approx(0.25)


def test_no_loss_is_one_and_chance_has_no_area() -> None:
    [curve] = stress_curves(make_stress({0.0: 0.8, 1.0: 0.8}), n_boot=10, seed=0)
    assert curve.retained["balanced_accuracy"].value == pytest.approx(1.0)
    [curve] = stress_curves(make_stress({0.0: 0.4, 1.0: 0.4}), n_boot=10, seed=0)
    assert np.isnan(curve.retained["balanced_accuracy"].value)
    assert "no better than chance" in curve.retained["balanced_accuracy"].reason
    assert chance_score("auroc_macro", 6) == 0.5


def test_refused_windows_are_counted_and_resamples_stay_paired() -> None:
    stress = make_stress()
    gone = (stress.frame["level"] == 4) & (stress.frame["subject_id"] == "s5")
    stress.frame.drop(stress.frame[gone].index, inplace=True)
    [curve] = stress_curves(stress, n_boot=20, seed=0)
    assert [level.n_refused for level in curve.levels] == [0, 0, 10]
    assert curve.retained["balanced_accuracy"].value == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (lambda f: f.drop(f[f["level"] == 0].index, inplace=True), "has no level 0"),
        (lambda f: f.__setitem__("level", f["level"] - 1), "at least 0"),
        (
            lambda f: f.loc.__setitem__((f["level"] == 2, "window_key"), f["window_key"] + "x"),
            "windows that are missing at level 0",
        ),
        (lambda f: f.loc.__setitem__((f["level"] == 2, "unit"), "µV"), "mixes units"),
        (lambda f: f.drop(columns="stress", inplace=True), "are missing the columns"),
        (lambda f: f.__setitem__("prob_rest", 0.7), "not a distribution"),
    ],
)
def test_what_breaks_the_contract_is_refused(fault: Callable[[pd.DataFrame], None], words: str, tmp_path: Path) -> None:
    stress = make_stress()
    fault(stress.frame)
    with pytest.raises(ValueError, match=words):
        write_stress(tmp_path / "s.parquet", stress)
    assert not list(tmp_path.iterdir())
