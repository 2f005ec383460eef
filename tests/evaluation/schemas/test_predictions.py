"""What a predictions file may say of time and origin, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evaluation.schemas.predictions import Predictions, read_predictions, write_predictions


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


@pytest.mark.parametrize("column", ["subject_id", "site_id", "label", "fold"])
def test_rows_without_a_name_are_refused(column: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"rows without a value in the columns \\['{column}'\\]"):
        write_predictions(tmp_path / "p.parquet", predictions(**{column: [None, "rest"]}))
    assert not list(tmp_path.iterdir())
