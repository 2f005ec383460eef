"""The transfer table: seeds apart from patients, pairs against the reference, Holm over all of them."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t
from sklearn.metrics import balanced_accuracy_score

from evaluation.measures.bootstrap import holm
from evaluation.scenarios.transfer import TRANSFER_METRICS, mean_difference, seeds_of, transfer_table
from evaluation.schemas.predictions import Predictions

CLASSES = ("rest", "task")
STRENGTH = {"probe/pretrained#seed0": 1.5, "probe/pretrained#seed1": 1.5, "probe/pretrained#seed2": 1.5,
            "majority": 0.0, "features+boosting#seed0": 1.5, "features+boosting#seed1": 1.5}  # fmt: skip


def make_transfer(n_subjects: int = 12) -> Predictions:
    rows = []
    for m, (model, strength) in enumerate(STRENGTH.items()):
        rng = np.random.default_rng(m)
        for s in range(n_subjects):
            for w in range(20):
                true = w % 2
                p = 1 / (1 + np.exp(-strength * (2 * true - 1) - rng.normal() * (strength > 0)))
                p = 0.7 if strength == 0 else p
                rows.append(
                    {"window_key": f"{s}-{w}", "recording_id": f"r{s}", "subject_id": f"s{s:02d}", "site_id": "x",
                     "fold": "f", "model": model, "label": CLASSES[true], "target_rest": 1.0 - true,
                     "target_task": float(true), "prob_rest": 1 - p, "prob_task": p}
                )  # fmt: skip
    return Predictions(frame=pd.DataFrame(rows), task="rest-or-task", classes=CLASSES, meta={})


def test_seeds_are_gathered_under_their_way() -> None:
    assert seeds_of(list(STRENGTH)) == {
        "probe/pretrained": [f"probe/pretrained#seed{k}" for k in range(3)],
        "majority": ["majority"],
        "features+boosting": [f"features+boosting#seed{k}" for k in range(2)],
    }


def test_rows_are_means_over_seeds_and_their_spread() -> None:
    predictions = make_transfer()
    rows, _ = transfer_table(predictions, reference="majority", n_boot=50, seed=0)
    each = []
    for k in range(3):
        frame = predictions.of(f"probe/pretrained#seed{k}")
        predicted = np.where(frame["prob_task"] > frame["prob_rest"], "task", "rest")
        each.append(balanced_accuracy_score(frame["label"], predicted))
    row = rows[0]
    assert (row.model, row.n_seeds) == ("probe/pretrained", 3)
    assert row.metrics["balanced_accuracy"].value == pytest.approx(np.mean(each), abs=1e-12)
    assert row.seed_sd["balanced_accuracy"] == pytest.approx(np.std(each, ddof=1), abs=1e-12)
    assert row.metrics["balanced_accuracy"].low < np.mean(each) < row.metrics["balanced_accuracy"].high
    assert rows[1].metrics["balanced_accuracy"].value == pytest.approx(0.5)
    assert np.isnan(rows[1].seed_sd["balanced_accuracy"])


def test_differences_are_paired_and_corrected_together() -> None:
    _, found = transfer_table(make_transfer(), reference="probe/pretrained", n_boot=400, seed=0)
    assert len(found) == 2 * len(TRANSFER_METRICS)
    by = {(row.model, row.metric): row for row in found}
    assert by["majority", "balanced_accuracy"].high < 0
    assert by["majority", "balanced_accuracy"].p_holm < 0.05
    equal = by["features+boosting", "auroc_macro"]  # the same strength: nothing to find
    assert equal.low < 0 < equal.high
    corrected = holm(np.array([row.p_value for row in found]))
    np.testing.assert_array_equal([row.p_holm for row in found], corrected)


def test_one_subject_has_no_interval_and_says_so() -> None:
    rows, found = transfer_table(make_transfer(1), reference="majority", n_boot=20, seed=0)
    assert np.isnan(rows[0].metrics["kl"].low)
    assert "one subject" in rows[0].metrics["kl"].reason
    assert np.isnan(found[0].p_value)


def test_mistakes_are_told() -> None:
    predictions = make_transfer()
    with pytest.raises(ValueError, match="is not in the transfer file, which has probe/pretrained, majority"):
        transfer_table(predictions, reference="encoder", n_boot=10, seed=0)
    predictions.frame.drop(index=0, inplace=True)
    with pytest.raises(ValueError, match="predicted different windows"):
        transfer_table(predictions, reference="majority", n_boot=10, seed=0)


def test_a_difference_that_no_resample_reverses_is_at_the_floor() -> None:
    _, found = transfer_table(make_transfer(), reference="majority", n_boot=50, seed=0)
    by = {(row.model, row.metric): row for row in found}
    clear = by["probe/pretrained", "auroc_macro"]
    assert clear.at_floor
    assert clear.p_value == pytest.approx(2 / 51)  # 50 resamples can show no less
    _, found = transfer_table(make_transfer(), reference="probe/pretrained", n_boot=50, seed=0)
    by = {(row.model, row.metric): row for row in found}
    assert not by["features+boosting", "auroc_macro"].at_floor
    assert by["features+boosting", "auroc_macro"].p_value > 2 / 51


def test_differences_are_those_of_the_rows_with_their_sign() -> None:
    rows, found = transfer_table(make_transfer(), reference="majority", n_boot=50, seed=0)
    values = {row.model: {name: row.metrics[name].value for name in TRANSFER_METRICS} for row in rows}
    assert [row.n_seeds for row in rows] == [3, 1, 2]
    assert {row.reference for row in found} == {"majority"}
    for row in found:
        expected = values[row.model][row.metric] - values["majority"][row.metric]
        assert row.value == pytest.approx(expected, abs=1e-12)
        assert row.low < row.value < row.high
        assert row.reason == ""


def test_the_interval_is_that_of_the_mean_over_seeds_not_of_one() -> None:
    # Seeds of equal strength and independent noise: the mean of three has less spread than one alone.
    whole, _ = transfer_table(make_transfer(), reference="majority", n_boot=400, seed=0)
    predictions = make_transfer()
    predictions.frame["model"] = predictions.frame["model"].str.replace("#seed", "-run")
    alone, _ = transfer_table(predictions, reference="majority", n_boot=400, seed=0)

    def width(rows: list, name: str) -> float:
        [row] = [row for row in rows if row.model == name]
        return row.metrics["auroc_macro"].high - row.metrics["auroc_macro"].low

    assert width(whole, "probe/pretrained") < min(width(alone, f"probe/pretrained-run{k}") for k in range(3))


def test_the_mean_over_one_task_is_that_tasks_difference() -> None:
    one = make_transfer()
    (gap,) = [g for g in transfer_table(one, reference="majority", n_boot=300, seed=4)[1]
              if g.model == "probe/pretrained" and g.metric == "auroc_macro"]  # fmt: skip
    mean = mean_difference(
        [one], model="probe/pretrained", reference="majority", metric="auroc_macro", n_boot=300, seed=4
    )
    assert (mean.value, mean.low, mean.high) == pytest.approx((gap.value, gap.low, gap.high))


def test_tasks_count_alike_and_their_variances_add_up() -> None:
    small, large = make_transfer(5), make_transfer(40)
    options = {"model": "probe/pretrained", "reference": "majority", "metric": "kl", "n_boot": 2000, "seed": 0}
    parts = [mean_difference([file], **options) for file in (small, large)]  # type: ignore[arg-type]
    both = mean_difference([small, large], **options)  # type: ignore[arg-type]
    assert both.value == pytest.approx((parts[0].value + parts[1].value) / 2)
    # Standard errors by hand: reach over t's quantile of n - 1 degrees of freedom, then Satterthwaite's for their sum.
    errors = [(p.high - p.low) / 2 / t.ppf(0.975, n - 1) for p, n in zip(parts, (5, 40), strict=True)]
    each = np.array(errors) ** 2 / 4
    freedom = each.sum() ** 2 / (each[0] ** 2 / 4 + each[1] ** 2 / 39)
    assert both.high - both.value == pytest.approx(t.ppf(0.975, freedom) * np.sqrt(each.sum()), rel=0.05)
    assert both.high < 0  # the probe knows something in both


def test_equal_models_differ_by_nothing_and_one_person_allows_no_interval() -> None:
    file = make_transfer()
    copied = file.of("majority").assign(model="again")
    both = Predictions(frame=pd.concat([file.frame, copied]), task=file.task, classes=CLASSES, meta={})
    same = mean_difference([both], model="again", reference="majority", metric="kl", n_boot=20, seed=0)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    alone = mean_difference(
        [file, make_transfer(1)], model="probe/pretrained", reference="majority", metric="kl", n_boot=20, seed=0
    )
    assert np.isnan(alone.value)
    assert alone.reason == "task 'rest-or-task' allows no interval"
