"""What a predictions file may say of time and origin, and what is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from evaluation.schemas.predictions import (
    ID_COLUMNS,
    Predictions,
    check,
    probabilities,
    read_predictions,
    targets,
    write_predictions,
)
from signals.tasks import NO_CLASS, SEPARATOR


def predictions(**columns: Any) -> Predictions:
    frame = pd.DataFrame(
        {"window_key": ["w0", "w1"], "recording_id": "r", "subject_id": "s", "site_id": "x", "fold": "x", "model": "m",
         "label": ["rest", "task"], "target_rest": [1.0, 0.0], "target_task": [0.0, 1.0], "prob_rest": 0.5,
         "prob_task": 0.5, **columns}
    )  # fmt: skip
    return Predictions(frame=frame, task="rest-or-task", classes=("rest", "task"))


def test_times_are_kept(tmp_path: Path) -> None:
    write_predictions(tmp_path / "p.parquet", predictions(start_s=[0.0, 5.0], hop_s=5.0))
    assert read_predictions(tmp_path / "p.parquet").frame["start_s"].tolist() == [0.0, 5.0]
    write_predictions(tmp_path / "p.parquet", predictions())  # older files have none


def test_a_file_holds_the_columns_of_the_rows_and_no_index(tmp_path: Path) -> None:
    entry = predictions()
    mixed = replace(entry, frame=pd.concat([entry.frame.iloc[1:], entry.frame.iloc[:1]]))
    write_predictions(tmp_path / "p.parquet", mixed)
    assert pq.read_schema(tmp_path / "p.parquet").names == list(entry.frame.columns)
    assert read_predictions(tmp_path / "p.parquet").frame.index.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"start_s": [0.0, 5.0]}, "have the column start_s, but not both of start_s, hop_s"),
        ({"start_s": [0.0, np.nan], "hop_s": 5.0}, "must be finite"),
        ({"start_s": [0.0, 5.0], "hop_s": [5.0, 0.0]}, "hop_s above 0"),
    ],
)
def test_times_that_mean_nothing_are_refused(columns: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=words):
        write_predictions(tmp_path / "p.parquet", predictions(**columns))
    assert not list(tmp_path.iterdir())


def test_a_label_source_is_one_of_the_known_ones(tmp_path: Path) -> None:
    entry = predictions()
    entry.meta["label_source"] = "a friend"
    with pytest.raises(ValueError, match="label_source 'a friend' is not one of"):
        write_predictions(tmp_path / "p.parquet", entry)


def test_what_was_not_recorded_claims_nothing() -> None:
    origin = predictions().origin
    assert (origin.grouping, origin.label_source, origin.encoder, origin.same_salt) == ("unknown",) * 3 + (None,)
    assert origin.pretrain_subjects is None


@pytest.mark.parametrize("nothing", [None, ""])
@pytest.mark.parametrize("column", ID_COLUMNS)
def test_rows_without_a_name_are_refused(column: str, nothing: str | None, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"rows without a value in the columns \\['{column}'\\]"):
        write_predictions(tmp_path / "p.parquet", predictions(**{column: [nothing, "rest"]}))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("prob", "refused"),
    [
        ((0.5, 0.5), False), ((0.50005, 0.5), False), ((0.5002, 0.5), True), ((0.4998, 0.5), True), ((1.1, -0.1), True),
        ((np.nan, 0.5), True), ((0.0, 1.0), False), ((0.9, 0.9), True),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["prob", "target"])
def test_what_is_no_distribution_is_refused_by_its_window(kind: str, prob: tuple[float, float], refused: bool) -> None:
    entry = predictions()
    entry.frame.loc[1, [f"{kind}_rest", f"{kind}_task"]] = prob
    if not refused:
        return check(entry)
    with pytest.raises(ValueError, match=rf"{kind}_\* of window w1 \(m\) sums to {sum(prob):.4g}"):
        check(entry)


def multilabel(*labels: str, **columns: Any) -> Predictions:
    frame = pd.DataFrame(
        {"window_key": [f"w{k}" for k in range(len(labels))], "recording_id": "r", "subject_id": "s", "site_id": "x",
         "fold": "x", "model": "m", "label": labels, **{f"{kind}_{c}": 0.9 for kind in ("prob", "target") for c in ECG},
         **columns}
    )  # fmt: skip
    return Predictions(frame=frame, task="ecg-superclass", classes=ECG)


ECG = ("NORM", "MI", "STTC", "CD", "HYP")


def test_statements_need_no_sum_but_shares_and_labels_are_joined_classes() -> None:
    check(multilabel("NORM", SEPARATOR.join(("MI", "CD")), NO_CLASS))
    with pytest.raises(ValueError, match="not probabilities"):
        check(multilabel("NORM", prob_MI=[1.01]))
    with pytest.raises(ValueError, match="not probabilities"):
        check(multilabel("NORM", target_MI=[-0.01]))
    with pytest.raises(ValueError, match=r"labels \['AF'\] are not classes of task 'ecg-superclass' \['NORM', 'MI'"):
        check(multilabel("NORM", SEPARATOR.join(("MI", "AF"))))


def test_other_breaks_of_the_contract_have_their_words() -> None:
    entry = predictions()
    for frame, words in (
        (entry.frame.drop(columns=["fold", "prob_task"]), r"missing the columns \['fold', 'prob_task'\]"),
        (entry.frame.iloc[:0], "hold no rows"),
        (entry.frame.assign(label=["rest", "sleep"]), r"labels \['sleep'\] are not classes of task 'rest-or-task'"),
        (entry.frame.assign(label=["rest", NO_CLASS]), "are not classes of task"),
        (pd.concat([entry.frame, entry.frame.iloc[1:]]), "window w1 was predicted more than once by m"),
    ):
        with pytest.raises(ValueError, match=words):
            check(replace(entry, frame=frame))
    check(replace(entry, frame=pd.concat([entry.frame, entry.frame.assign(model="n")])))  # by another model


def test_arrays_are_double_whatever_the_file_has_and_rows_are_those_of_a_model_in_order() -> None:
    frame = predictions().frame.assign(target_rest=[1, 0], prob_task=np.array([0.5, 0.5], dtype=np.float32))
    for values in (targets(frame, ("task", "rest")), probabilities(frame, ("task", "rest"))):
        assert values.dtype == np.float64
    assert targets(frame, ("task", "rest")).tolist() == [[0.0, 1.0], [1.0, 0.0]]
    both = replace(predictions(), frame=pd.concat([frame.iloc[::-1].assign(model="z"), frame.assign(model="a")]))
    assert both.models == ("z", "a")
    assert both.of("z")["window_key"].tolist() == ["w0", "w1"]
    assert both.of("z").index.tolist() == [0, 1]
