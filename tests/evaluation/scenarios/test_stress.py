"""Stress files and curves against hand-derived areas."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evaluation.scenarios.stress import chance_score, read_stress, retained_area, stress_curves, write_stress
from evaluation.schemas.predictions import Predictions

CLASSES = ("rest", "task")


def make_stress(right_of: dict[float, float] | None = None, *, n_subjects: int = 6) -> Predictions:
    """Each subject has 10 windows, five a class; of each class the share `right_of[level]` is called rightly."""
    rows = []
    for level, right in (right_of or {0.0: 1.0, 2.0: 0.8, 4.0: 0.6}).items():
        for s in range(n_subjects):
            for w in range(10):
                true = w % 2
                predicted = true if w // 2 < round(5 * right) else 1 - true
                rows.append(
                    {"window_key": f"{s}-{w}", "recording_id": f"r{s}", "subject_id": f"s{s}", "site_id": "x",
                     "model": "m", "label": CLASSES[true], "stress": "channels removed", "level": level,
                     "unit": "channels", "level_name": "", "target_rest": 1.0 - true, "target_task": float(true),
                     "prob_rest": 0.9 - 0.8 * predicted, "prob_task": 0.1 + 0.8 * predicted}
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


def drop(stress: Predictions, *, level: float, subjects: tuple[str, ...]) -> None:
    gone = (stress.frame["level"] == level) & stress.frame["subject_id"].isin(subjects)
    stress.frame.drop(stress.frame[gone].index, inplace=True)


def test_a_refused_window_counts_as_a_guess_and_resamples_stay_paired() -> None:
    stress = make_stress()
    drop(stress, level=4.0, subjects=("s5",))
    [curve] = stress_curves(stress, n_boot=20, seed=0)
    assert [level.n_refused for level in curve.levels] == [0, 0, 10]
    # At level 4, 50 windows at 0.6 and 10 guesses at 0.5: 0.5833, a share of 1/6 above chance 0.5. Answered ones: 0.6.
    assert curve.levels[2].metrics["balanced_accuracy"].value == pytest.approx((50 * 0.6 + 10 * 0.5) / 60)
    assert curve.levels[2].answered["balanced_accuracy"].value == pytest.approx(0.6)
    # Trapezoids over 0, 2, 4: (1 + 0.6) / 2 and (0.6 + 1/6) / 2, their mean 0.5917; answered throughout: as without.
    assert curve.retained["balanced_accuracy"].value == pytest.approx((0.8 + 0.3 + 1 / 12) / 2)
    assert curve.retained_common["balanced_accuracy"].value == pytest.approx(0.6)
    assert curve.n_common == 50


@pytest.mark.parametrize(
    "meta",
    [
        {"levels": {"channels removed": [[0, ""], [2, ""], [4, ""]]}},
        {"refused": {"channels removed": {"4 channels": {"too_few_channels": 60}}}},
    ],
)
def test_a_level_that_was_refused_altogether_stays_and_keeps_nothing(meta: dict[str, object]) -> None:
    stress = make_stress()
    drop(stress, level=4.0, subjects=tuple(f"s{k}" for k in range(6)))
    stress.meta.update(meta)
    [curve] = stress_curves(stress, n_boot=20, seed=0)
    last = curve.levels[-1]
    assert (last.level, last.name, last.n_windows, last.n_refused) == (4.0, "4 channels", 0, 60)
    assert last.metrics["balanced_accuracy"].value == pytest.approx(0.5)
    assert np.isnan(last.answered["balanced_accuracy"].value)
    assert last.answered["balanced_accuracy"].reason == "the preparation refused every window"
    # (1 + 0.6) / 2 and (0.6 + 0) / 2
    assert curve.retained["balanced_accuracy"].value == pytest.approx(0.55)
    assert np.isnan(curve.retained_common["balanced_accuracy"].value)


def test_a_kind_that_was_refused_altogether_is_one_of_the_kinds() -> None:
    stress = make_stress({0.0: 1.0, 1.0: 0.8})
    stress.frame["unit"], stress.frame["level_name"] = "", "Cz"
    stress.meta["refused"] = {"channels removed": {"average": {"not_possible": 60}}}
    [curve] = stress_curves(stress, n_boot=5, seed=0)
    assert [(level.name, level.n_refused) for level in curve.levels[1:]] == [("Cz", 0), ("average", 60)]
    assert curve.retained["balanced_accuracy"].value == pytest.approx(0.3)  # the mean of 0.6 and 0
    stress.frame["unit"] = "µV"
    with pytest.raises(ValueError, match="'average', which is no amount in µV"):
        stress_curves(stress, n_boot=5, seed=0)


def test_to_refuse_the_windows_that_were_wrong_is_no_gain() -> None:
    # Two of six patients are all wrong: 4/6 undisturbed. With those refused and guessed it is (40 + 20 / 2) / 60 = 5/6,
    # twice as far above chance, and over the answered windows 1: neither is a gain of the model.
    stress = make_stress({0.0: 1.0, 1.0: 1.0})
    wrong = stress.frame["subject_id"].isin(["s0", "s1"])
    flipped = 1 - stress.frame.loc[wrong, "prob_rest"]
    stress.frame.loc[wrong, "prob_rest"], stress.frame.loc[wrong, "prob_task"] = flipped, 1 - flipped
    drop(stress, level=1.0, subjects=("s0", "s1"))
    [curve] = stress_curves(stress, n_boot=50, seed=0)
    kept = curve.retained["balanced_accuracy"]
    assert kept.value == pytest.approx(1.0)
    assert kept.high <= 1.0
    assert curve.retained_common["balanced_accuracy"].value == pytest.approx(1.0)
    assert curve.levels[1].answered["balanced_accuracy"].value == pytest.approx(1.0)


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


@pytest.mark.parametrize(
    ("levels", "scores"),
    [([0, 1, 2, 4], [0.9, 0.8, 0.6, 0.55]), ([0.0, 0.5, 20.0], [0.7, 0.9, 0.5]), ([0, 3], [1.0, 0.4])],
)
def test_areas_equal_numpys_trapezoids_with_their_resamples(levels: list[float], scores: list[float]) -> None:
    rng = np.random.default_rng(0)
    values = np.array(scores)[:, None] + np.c_[np.zeros(len(scores)), rng.normal(0, 0.01, (len(scores), 400))]
    kept = retained_area(values, levels, chance=0.5, nominal=False, n_units=30)
    shares = (values - 0.5) / (values[0] - 0.5)
    areas = np.trapezoid(shares, np.array(levels, dtype=float), axis=0) / (levels[-1] - levels[0])
    assert kept.value == pytest.approx(areas[0])
    # t of 29 degrees of freedom at 95% is 2.045
    assert (kept.high - kept.low) / 2 == pytest.approx(2.045 * areas[1:].std(ddof=1), rel=0.08)
    assert kept.reason == ""


def test_levels_are_sorted_by_amount_whatever_their_order_in_the_file() -> None:
    stress = make_stress({4.0: 0.6, 0.0: 1.0, 10.0: 0.4, 2.0: 0.8})
    stress.meta["levels"] = {"channels removed": [[10, ""], [6, "six"], [0, ""]]}
    [curve] = stress_curves(stress, n_boot=10, seed=0)
    assert [(level.level, level.name, level.n_windows, level.n_refused) for level in curve.levels] == [
        (0.0, "0 channels", 60, 0), (2.0, "2 channels", 60, 0), (4.0, "4 channels", 60, 0), (6.0, "six", 0, 60),
        (10.0, "10 channels", 60, 0),
    ]  # fmt: skip
    assert (curve.model, curve.stress, curve.unit, curve.n_common) == ("m", "channels removed", "channels", 0)


def test_one_level_has_no_area_and_few_resamples_no_interval() -> None:
    values = np.array([[0.9], [0.7]])
    assert retained_area(values[:1], [0], chance=0.5, nominal=False).reason == "there is one level only"
    lone = retained_area(values, [0, 1], chance=0.5, nominal=False, n_units=1)
    assert np.isnan(lone.low)
    assert "one subject" in lone.reason
    assert retained_area(values, [0, 1], chance=0.5, nominal=False).reason == "no resamples"
    undefined = retained_area(np.array([[0.9], [np.nan]]), [0, 1], chance=0.5, nominal=False)
    assert undefined.reason == "the score is undefined at some level"


def test_models_and_stresses_are_apart_and_in_the_order_of_the_file() -> None:
    first, second = make_stress(), make_stress({0.0: 1.0, 1.0: 0.6})
    second.frame["stress"], second.frame["model"] = "gain", "other"
    both = Predictions(frame=pd.concat([first.frame, second.frame]), task=first.task, classes=CLASSES, meta={})
    curves = stress_curves(both, n_boot=10, seed=0)
    assert [(curve.model, curve.stress) for curve in curves] == [("m", "channels removed"), ("other", "gain")]
    assert [curve.retained["balanced_accuracy"].value for curve in curves] == pytest.approx([0.6, 0.6])
    assert set(curves[0].retained) == {"balanced_accuracy", "auroc_macro"}
