"""Files beside the predictions are audited too: each fault that is planted in one is named."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evaluation.audit.companions import Companions, companion_findings
from evaluation.schemas.embeddings import Embeddings
from evaluation.schemas.predictions import Predictions

CLASSES = ("Control", "Epilepsy")


def predictions(prefix: str = "", **meta: Any) -> Predictions:
    rng, rows = np.random.default_rng(0), []
    for w in range(12):
        p = rng.uniform(0.2, 0.8)
        rows.append(
            {"window_key": f"{prefix}w{w}", "recording_id": f"{prefix}r{w % 4}", "subject_id": f"{prefix}s{w % 4}",
             "site_id": "ab"[w % 2], "fold": "ab"[w % 2], "model": "encoder", "label": CLASSES[w % 2],
             "target_Control": 1.0 - w % 2, "target_Epilepsy": float(w % 2), "prob_Control": 1 - p, "prob_Epilepsy": p}
        )  # fmt: skip
    return Predictions(frame=pd.DataFrame(rows), task="epilepsy", classes=CLASSES, meta=meta)


def stress() -> Predictions:
    first = predictions()
    levels = [first.frame.assign(stress="hum", level=x, unit="µV", level_name="") for x in (0.0, 1.0)]
    return replace(first, frame=pd.concat(levels, ignore_index=True))


def embeddings() -> Embeddings:
    frame = predictions().frame[["window_key", "recording_id", "subject_id", "site_id", "label"]]
    return Embeddings(frame=frame.copy(), values=np.zeros((12, 2)), meta={"model": "m", "encoder": "random"})


def calibration() -> dict[str, Any]:
    prob = predictions().frame[["prob_Control", "prob_Epilepsy"]].to_numpy()
    kl = float(-np.log(prob[np.arange(12), np.arange(12) % 2]).mean())  # labels are hard: KL is log loss
    return {"split_digest": "d", "classes": list(CLASSES), "before": {"kl": kl},
            "fitted_on": {"model": "encoder", "n_windows": 12}}  # fmt: skip


def codes(**companions: Any) -> list[str]:
    main = predictions(split_digest="d", pretrain_subjects=[])
    return [finding.code for finding in companion_findings(Companions(**companions), main, model="encoder")]


LISTED: dict[str, Any] = {"folds": [{"name": "test", "train_subjects": ["z"]}], "pretrain_subjects": []}


def test_files_without_faults_have_no_findings() -> None:
    folds = [{"name": name, "test_subjects": [f"s{k}" for k in range(4) if "ab"[k % 2] == name]} for name in "ab"]
    assert codes(external=predictions("x", **LISTED)) == []
    assert codes(transfer=predictions(folds=folds, pretrain_subjects=[])) == []
    assert codes(stress=stress(), embeddings=[embeddings()], calibration=calibration()) == []


def test_external_data_that_were_trained_on_are_an_error() -> None:
    assert codes(external=predictions()) == ["external_overlap"]
    listed = {**LISTED, "folds": [{"name": "test", "train_subjects": ["xs1"]}]}
    assert codes(external=predictions("x", **listed)) == ["external_overlap"]
    assert codes(external=predictions("x")) == ["external_unverified"]


def test_a_transfer_file_has_its_own_folds_checked() -> None:
    leak = [{"name": n, "train_subjects": ["s0"], "test_subjects": ["s0", "s1", "s2", "s3"]} for n in "ab"]
    assert "subject_on_two_sides" in codes(transfer=predictions(folds=leak, pretrain_subjects=[]))
    seen = predictions(folds=leak, pretrain_subjects=["s0"])
    assert "pretraining_overlap" in codes(transfer=seen)


def test_a_stress_run_of_another_model_is_an_error() -> None:
    run = stress()
    swapped = run.frame["prob_Control"].to_numpy().copy()
    run.frame["prob_Control"], run.frame["prob_Epilepsy"] = run.frame["prob_Epilepsy"].to_numpy(), swapped
    assert codes(stress=run) == ["stress_of_another_model"]


@pytest.mark.parametrize("column", ["subject_id", "site_id", "label"])
def test_files_that_contradict_the_predictions_are_an_error(column: str) -> None:
    entry = embeddings()
    entry.frame.loc[3, column] = "Control" if column == "label" else "elsewhere"
    assert codes(embeddings=[entry]) == ["files_contradict"]


def stale(**changes: Any) -> Callable[[dict[str, Any]], None]:
    def change(entry: dict[str, Any]) -> None:
        entry.update(changes)

    return change


@pytest.mark.parametrize(
    "fault",
    [
        stale(split_digest="another"),
        stale(fitted_on={"model": "another", "n_windows": 12}),
        stale(fitted_on={"model": "encoder", "n_windows": 13}),
        stale(before={"kl": 0.1}),
        stale(classes=["Epilepsy", "Control"]),
    ],
)
def test_a_calibration_of_other_predictions_is_an_error(fault: Callable[[dict[str, Any]], None]) -> None:
    entry = calibration()
    fault(entry)
    assert codes(calibration=entry) == ["stale_calibration"]
