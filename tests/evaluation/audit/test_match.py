"""Predictions of another shard set, task or class list are refused in words."""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evaluation.audit.match import check_classes, check_manifest, check_same_task
from evaluation.report.__main__ import main
from evaluation.schemas.predictions import Predictions, write_predictions
from signals.modality import EEG_1020
from signals.shards.manifest import COMPLETED, MANIFEST, Manifest, SubjectEntry, manifest_json, read_manifest
from signals.shards.moments import Moments

CLASSES = ("eyes_open", "eyes_closed")


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    moments = Moments.of(np.random.default_rng(0).normal(size=(19, 50)))
    subjects = {
        f"s{i}": SubjectEntry(site_id="x", n_windows=2, recording_ids=(f"r{i}",), moments=moments) for i in range(3)
    }
    manifest = Manifest(
        modality=EEG_1020, profile={}, config_hash="c", code_version="v", shards=(), subjects=subjects, counts={}
    )
    folder = tmp_path / "shards"
    folder.mkdir()
    (folder / MANIFEST).write_text(manifest_json(manifest))
    (folder / COMPLETED).touch()
    return folder


def make_predictions(digest: str) -> Predictions:
    rows = [
        {"window_key": f"{i}-{w}", "recording_id": f"r{i}", "subject_id": f"s{i}", "site_id": "x", "fold": "f",
         "model": "encoder", "label": CLASSES[w], "target_eyes_open": 1.0 - w, "target_eyes_closed": float(w),
         "prob_eyes_open": 0.4, "prob_eyes_closed": 0.6}
        for i in range(3) for w in range(2)
    ]  # fmt: skip
    return Predictions(frame=pd.DataFrame(rows), task="eyes", classes=CLASSES, meta={"manifest_digest": digest})


def test_what_belongs_together_passes(shards: Path) -> None:
    predictions = make_predictions(read_manifest(shards).digest)
    check_manifest(predictions, shards)
    check_manifest(predictions, shards / MANIFEST)
    check_classes(predictions)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (lambda p: p.meta.__setitem__("manifest_digest", "f" * 64), "the shard set ffffffffffff"),
        (lambda p: p.frame.__setitem__("subject_id", "stranger"), "1 subject(s) of the predictions are not in"),
        (lambda p: p.frame.__setitem__("site_id", "y"), "at site y is not in"),
        (lambda p: p.frame.__setitem__("recording_id", "r9"), "recording r9 of subject s0"),
    ],
)
def test_what_does_not_is_one_line(
    fault: Callable[[Predictions], None], words: str, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predictions = make_predictions(read_manifest(shards).digest)
    fault(predictions)
    write_predictions(tmp_path / "p.parquet", predictions)
    argv = [str(tmp_path / "p.parquet"), "--manifest", str(shards), "--output", str(tmp_path / "out")]
    assert main(argv) == 2
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_report_names_the_shard_set_that_it_was_compared_with(shards: Path, tmp_path: Path) -> None:
    write_predictions(tmp_path / "p.parquet", make_predictions(read_manifest(shards).digest))
    argv = [str(tmp_path / "p.parquet"), "--manifest", str(shards), "--output", str(tmp_path / "out"), "--n-boot", "2"]
    assert main(argv) in (0, 1)
    stated = json.loads((tmp_path / "out" / "facts.json").read_text())["provenance"]
    files = {"predictions": tmp_path / "p.parquet", "manifest": shards / MANIFEST}
    assert stated["sha256"] == {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
    assert "--output DIR --manifest shards --n-boot 2 --seed 0" in stated["command"]


def test_classes_and_tasks_must_agree() -> None:
    predictions = make_predictions("d")
    with pytest.raises(ValueError, match="task 'eyes' has"):
        check_classes(dataclasses.replace(predictions, classes=CLASSES[::-1]))
    check_classes(dataclasses.replace(predictions, task="unheard-of"))  # nothing to compare with
    with pytest.raises(ValueError, match="is of task 'adhd'"):
        check_same_task(dataclasses.replace(predictions, task="adhd"), predictions, Path("t.parquet"))
