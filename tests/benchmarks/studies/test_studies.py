"""What counts as an engine, that a planted one is found, and that planted tasks are recognised."""

import ast
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.studies.studies import NOT_A_STUDY, ROOT, engines, reads_both_sides, same_predictions
from evaluation.schemas.predictions import Predictions, write_predictions
from studies.planted.confounds import is_flagged, unconfounded


def test_there_is_one_engine_and_a_second_would_be_found(tmp_path: Path) -> None:
    assert engines() == ["studies/engine"]
    assert all((ROOT / name).is_file() for name in NOT_A_STUDY)
    for folder in ("studies/engine", "benchmarks/studies"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "studies" / "engine" / "study.py").write_text("fit(fold.train); predict(fold.test)\n")
    (tmp_path / "studies" / "other.py").write_text(
        "for side in folds:\n    m = fit(x[side.train])\n    m(x[side.test])\n"
    )
    (tmp_path / "benchmarks" / "studies" / "harmless.py").write_text("model.train()\nprint(study.test)\n")
    assert engines(tmp_path) == ["studies/engine", "studies/other.py"]


@pytest.mark.parametrize(
    ("code", "is_engine"),
    [
        ("fit(f.train); predict(f.test)", True),
        ("fit(f.train); predict(g.test)", False),
        ("model.train(); model.test()", False),
        ("fit(self.train); predict(self.test)", False),
    ],
)
def test_an_engine_reads_both_sides_of_one_fold(code: str, is_engine: bool) -> None:
    assert reads_both_sides(ast.parse(code)) == is_engine


def test_predictions_are_the_same_to_the_last_bit_or_not(tmp_path: Path) -> None:
    frame = pd.DataFrame({
        "window_key": ["a", "b"], "recording_id": "r", "subject_id": ["x", "y"], "site_id": "s", "fold": "f",
        "model": "m", "label": ["no", "yes"], "target_no": [1.0, 0.0], "target_yes": [0.0, 1.0],
        "prob_no": [0.75, 0.5], "prob_yes": [0.25, 0.5],
    })  # fmt: skip
    for name, rows in (
        ("one", frame),
        ("two", frame[::-1]),
        ("off", frame.assign(prob_no=[np.nextafter(0.75, 1), 0.5])),
    ):
        write_predictions(tmp_path / name, Predictions(frame=rows, task="t", classes=("no", "yes")))
    assert same_predictions(tmp_path / "one", tmp_path / "two")
    assert not same_predictions(tmp_path / "one", tmp_path / "off")


def test_a_number_that_goes_with_the_label_is_flagged_and_none_is_not() -> None:
    clean = unconfounded(seed=0)
    assert not is_flagged(clean)
    ill = (clean["label"] == "ill").to_numpy()
    assert is_flagged(clean.assign(noise_db=clean["noise_db"] + 4.0 * ill))
