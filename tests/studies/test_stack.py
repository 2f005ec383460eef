import json
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch

from evaluation.measures.metrics import kl_rows
from evaluation.schemas.predictions import (
    Predictions,
    probabilities,
    read_predictions,
    targets,
    write_predictions,
)
from model.bundling.graphs import write_combiner
from model.stacking import Gate, Stacker, load_stacker
from signals.bundles.calibration import UNCERTAINTY_COLUMNS, tempered
from studies import calibrate, stack
from studies.calibrate import calibration_of, check_held_out
from studies.stack import check_stackable, joined, stacked

CLASSES = ("a", "b", "c")
N_SUBJECTS, PER_SUBJECT, N_FOLDS = 24, 10, 4


def describe(name: str, folds: np.ndarray, subjects: np.ndarray) -> dict[str, object]:
    inside = folds == name
    return {
        "name": name,
        "train_subjects": sorted(set(subjects[~inside])),
        "test_subjects": sorted(set(subjects[inside])),
        "train_recordings": [],
        "test_recordings": sorted({f"rec-{s}" for s in subjects[inside]}),
    }


@pytest.fixture(scope="module")
def members() -> Predictions:
    """Two members: "sees-a" is right about windows of kind 0 and guesses at the others, "sees-b" the reverse.

    Which kind a window is shows in who is sure.
    """
    rng = np.random.default_rng(0)
    n = N_SUBJECTS * PER_SUBJECT
    subjects = np.array([f"s{i // PER_SUBJECT:02d}" for i in range(n)])
    folds = np.array([f"fold{(i // PER_SUBJECT) % N_FOLDS}" for i in range(n)])
    kind, true = rng.integers(2, size=n), rng.integers(3, size=n)
    target = 0.9 * np.eye(3)[true] + 0.1 / 3
    rows = []
    for number, name in enumerate(("sees-a", "sees-b")):
        knows = (kind == number)[:, None]
        prob = np.where(knows, 0.94 * np.eye(3)[true] + 0.02, rng.dirichlet(8 * np.ones(3), size=n))
        rows.append(
            pd.DataFrame(
                {
                    "window_key": [f"{i:04d}" for i in range(n)],
                    "recording_id": [f"rec-{s}" for s in subjects],
                    "subject_id": subjects,
                    "site_id": "site",
                    "fold": folds,
                    "model": name,
                    "label": np.array(CLASSES)[true],
                    **{f"target_{c}": target[:, k] for k, c in enumerate(CLASSES)},
                    **{f"prob_{c}": prob[:, k] / prob.sum(1) for k, c in enumerate(CLASSES)},
                }
            )
        )
    described = [describe(name, folds, subjects) for name in np.unique(folds)]
    meta = {"grouping": "subject", "folds": described, "split_digest": "0" * 64}
    return Predictions(frame=pd.concat(rows, ignore_index=True), task="six-class", classes=CLASSES, meta=meta)


def kl(predictions: Predictions, model: str) -> float:
    rows = predictions.of(model)
    return float(kl_rows(targets(rows, CLASSES), probabilities(rows, CLASSES)).mean())


def test_the_stack_weighs_models_by_the_window(members: Predictions) -> None:
    result = stacked(members, ("sees-a", "sees-b"))
    assert result.models == ("sees-a", "sees-b", "mean", "stack")
    assert kl(result, "stack") < 0.6 * kl(result, "mean") < min(kl(result, "sees-a"), kl(result, "sees-b"))
    rows = result.of("stack")
    knows_a = probabilities(members.of("sees-a"), CLASSES).max(1) > 0.9
    knows_b = probabilities(members.of("sees-b"), CLASSES).max(1) > 0.9
    weight = rows["weight_sees-a"].to_numpy()
    assert weight[knows_a & ~knows_b].mean() > 0.8
    assert weight[knows_b & ~knows_a].mean() < 0.2
    doubts = rows[list(UNCERTAINTY_COLUMNS)].to_numpy()
    np.testing.assert_allclose(doubts[:, 0], doubts[:, 1] + doubts[:, 2], atol=1e-6)
    assert (doubts >= 0).all()


def test_a_mixture_of_independent_witnesses_becomes_as_sure_as_it_may() -> None:
    # Each member hears the truth through noise of its own and says its exact posterior: evidence of 2 for the true
    # class, noise of variance 2. Together they know more than either, which a plain mean does not say.
    rng = np.random.default_rng(0)
    n = 600
    true = rng.integers(3, size=n)
    logits = 2.0 * np.eye(3)[true][:, None] + rng.normal(0, np.sqrt(2.0), size=(n, 2, 3))
    prob = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    target, subjects = np.eye(3)[true], np.array([f"s{i // 10:02d}" for i in range(n)])
    half = n // 2
    stacker = stack.fit_stacker(prob[:half], target[:half], subjects[:half], ("a", "b"), seed=0)
    stacked_prob, doubts, _ = stack.apply_stacker(stacker, prob[half:])
    assert stacker.firmness.exp().item() > 1.2
    assert kl_rows(target[half:], stacked_prob).mean() < 0.95 * kl_rows(target[half:], prob[half:].mean(axis=1)).mean()
    np.testing.assert_allclose(doubts.total, doubts.aleatoric + doubts.epistemic, atol=1e-9)


def test_attention_weighs_members_by_what_they_and_the_others_know(members: Predictions) -> None:
    rows = members.of("sees-a")
    prob = np.stack([probabilities(members.of(name), CLASSES) for name in ("sees-a", "sees-b")], axis=1)
    target, subjects = targets(rows, CLASSES), rows["subject_id"].to_numpy(dtype=str)
    known = subjects < "s12"
    attention = stack.fit_stacker(prob[known], target[known], subjects[known], ("a", "b"), seed=0, gate="attention")
    answered, _, weight = stack.apply_stacker(attention, prob[~known])
    assert kl_rows(target[~known], answered).mean() < 0.6 * kl_rows(target[~known], prob[~known].mean(axis=1)).mean()
    knows_a, knows_b = (prob[~known, m].max(axis=1) > 0.9 for m in (0, 1))
    assert weight[knows_a & ~knows_b, 0].mean() > 0.8
    assert weight[knows_b & ~knows_a, 0].mean() < 0.2


def test_a_fold_s_answers_do_not_depend_on_its_own_labels(members: Predictions) -> None:
    before = stacked(members, ("sees-a", "sees-b")).of("stack")
    frame = members.frame.copy()
    inside = frame["fold"] == "fold1"
    frame.loc[inside, "target_a"], frame.loc[inside, "target_b"] = frame["target_b"], frame["target_a"]
    changed = Predictions(frame=frame, task=members.task, classes=CLASSES, meta=members.meta)
    after = stacked(changed, ("sees-a", "sees-b")).of("stack")
    same = (before["fold"] == "fold1").to_numpy()
    columns = [f"prob_{c}" for c in CLASSES]
    assert np.array_equal(before[columns].to_numpy()[same], after[columns].to_numpy()[same])
    assert not np.array_equal(before[columns].to_numpy()[~same], after[columns].to_numpy()[~same])


def test_leaks_are_refused(members: Predictions) -> None:
    folds = json.loads(json.dumps(members.meta["folds"]))
    folds[0]["train_subjects"].append(folds[0]["test_subjects"][0])
    leaky = Predictions(frame=members.frame, task="six-class", classes=CLASSES, meta={**members.meta, "folds": folds})
    with pytest.raises(ValueError, match=r"no held-out predictions: Fold fold0: 1 subject\(s\) stand on both sides"):
        check_stackable(leaky, ("sees-a", "sees-b"))
    with pytest.raises(ValueError, match="does not list who was trained on"):
        check_held_out(Predictions(frame=members.frame, task="six-class", classes=CLASSES, meta={}))
    # One patient of fold0 is also predicted in fold1: each fold alone is clean, the meta-learner would not be.
    frame = members.frame.copy()
    moved = frame.index[(frame["fold"] == "fold0") & (frame["subject_id"] == "s00")][::2]
    frame.loc[moved, "fold"] = "fold1"
    folds = json.loads(json.dumps(members.meta["folds"]))
    folds[1]["test_subjects"].append("s00")
    folds[1]["train_subjects"].remove("s00")
    twice = Predictions(frame=frame, task="six-class", classes=CLASSES, meta={**members.meta, "folds": folds})
    with pytest.raises(ValueError, match="subject s00 is in 2 folds"):
        check_stackable(twice, ("sees-a", "sees-b"))


def test_files_of_other_folds_are_not_joined(members: Predictions) -> None:
    one, two = (
        Predictions(frame=members.frame[members.frame["model"] == name], task="six-class", classes=CLASSES,
                    meta={**members.meta, "models": {name: {"fit_cpu_s": seconds}}})
        for name, seconds in (("sees-a", 1.0), ("sees-b", 2.0))
    )  # fmt: skip
    both = joined([one, two])
    assert both.models == ("sees-a", "sees-b")
    assert both.meta["models"] == {"sees-a": {"fit_cpu_s": 1.0}, "sees-b": {"fit_cpu_s": 2.0}}
    other = Predictions(frame=two.frame, task="six-class", classes=CLASSES, meta={"folds": members.meta["folds"][:2]})
    with pytest.raises(ValueError, match="made on different folds"):
        joined([one, other])
    with pytest.raises(ValueError, match=r"models \['sees-a'\] are in more than one file"):
        joined([one, one])


@pytest.mark.parametrize("gate", ["perceptron", "attention"])
def test_a_fresh_stacker_is_the_mean_and_is_saved_whole(tmp_path: Path, gate: Gate) -> None:
    torch.manual_seed(0)
    stacker = Stacker(("a", "b", "c"), 6, gate=gate).eval()
    prob = torch.from_numpy(np.random.default_rng(0).dirichlet(np.ones(6) * 3, size=(5, 3)).astype(np.float32))
    torch.testing.assert_close(stacker(prob)[0].exp(), prob.clamp(min=1e-4).mean(1), atol=1e-3, rtol=0)
    for weight in stacker.gate.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    stacker.save(tmp_path)
    torch.testing.assert_close(load_stacker(tmp_path)(prob)[0], stacker(prob)[0])
    write_combiner(stacker, 3, 6, tmp_path / "c.onnx")
    logits, weights, _ = onnxruntime.InferenceSession(tmp_path / "c.onnx").run(None, {"probabilities": prob.numpy()})
    np.testing.assert_allclose(logits, stacker(prob)[0].detach().numpy(), atol=1e-5)
    assert np.ptp(weights, axis=0).max() > 0.01  # windows differ in whom they believe
    with pytest.raises(ValueError, match="at least 2"):
        Stacker(("a",), 6, gate=gate)


def test_the_command_writes_one_predictions_file(
    members: Predictions, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source, output = tmp_path / "oof.parquet", tmp_path / "stacked.parquet"
    write_predictions(source, members)
    stack.main(["--predictions", str(source), "--output", str(output), "--save", str(tmp_path / "stacker")])
    assert read_predictions(output).meta["stack"]["members"] == ["sees-a", "sees-b"]
    assert load_stacker(tmp_path / "stacker").members == ("sees-a", "sees-b")
    for wrong, message in (
        (["--models", "sees-a", "nobody"], "models ['nobody'] are not among"),
        (["--predictions", str(output)], "hold rows of ['mean', 'stack'] already"),
    ):
        with pytest.raises(SystemExit) as raised:
            stack.main(["--predictions", str(source), "--output", str(tmp_path / "x.parquet"), *wrong])
        assert raised.value.code == 2
        error = capfd.readouterr().err.strip().splitlines()
        assert len(error) == 1
        assert message in error[0]
        assert not (tmp_path / "x.parquet").exists()


def test_calibration_undoes_overconfidence_and_states_for_whom_it_holds(members: Predictions, tmp_path: Path) -> None:
    frame = members.of("sees-a")
    target = targets(frame, CLASSES)
    frame[[f"prob_{c}" for c in CLASSES]] = tempered(target, 1 / 3.0)
    sharp = Predictions(frame=frame, task="six-class", classes=CLASSES, meta=members.meta)
    found = calibration_of(sharp, "sees-a")
    assert found["temperature"] == pytest.approx(3.0, rel=1e-3)
    assert found["split_digest"] == "0" * 64
    assert len(found["conformal"]["thresholds"]) == 3
    assert found["after"]["votes"]["kl"] < 0.1 * found["before"]["kl"]
    assert (found["abstain_below"], found["abstention"]["coverage"]) == (pytest.approx(target.max()), 1.0)
    with pytest.raises(ValueError, match="model 'encoder' is not among sees-a"):
        calibration_of(sharp, "encoder")


def test_a_temperature_fits_the_votes_or_the_majority(members: Predictions) -> None:
    # Says the votes themselves, 0.93 for the label, and is always right: votes ask for a temperature of 1 and leave an
    # ECE of 0.07; the majority label asks for certainty, which is far from the votes.
    frame = members.of("sees-a")
    target = targets(frame, CLASSES)
    frame[[f"prob_{c}" for c in CLASSES]] = target
    honest = Predictions(frame=frame, task="six-class", classes=CLASSES, meta=members.meta)
    votes, majority = (calibration_of(honest, "sees-a", fit_to=kind) for kind in ("votes", "majority"))
    assert (votes["fitted_to"], majority["fitted_to"]) == ("votes", "majority")
    assert votes["temperature"] == pytest.approx(1.0, abs=1e-3)
    assert majority["temperature"] < 0.2
    assert votes["after"] == majority["after"]  # both are reported, whichever is taken
    after = votes["after"]
    assert after["votes"]["ece"] == pytest.approx(1 - target.max(), abs=1e-3)
    assert after["majority"]["ece"] < 0.05 < after["votes"]["ece"]
    assert after["votes"]["kl"] < 1e-4 < 0.1 < after["majority"]["kl"]


def test_calibration_lies_beside_the_model(
    members: Predictions, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source, model = tmp_path / "oof.parquet", tmp_path / "model"
    write_predictions(source, members)
    model.mkdir()
    (model / "config.json").write_text('{"task": "six-class"}')
    (model / "model.safetensors").write_text("")
    base = ["--predictions", str(source), "--model", str(model), "--of", "sees-b"]
    calibrate.main(base)
    written = json.loads((model / "calibration.json").read_text())
    assert written["fitted_on"] == {"model": "sees-b", "n_windows": 240, "n_subjects": 24}
    assert len(written["predictions_sha256"]) == 64
    assert "fitted to votes; on other patients, fitted to votes: ECE" in capfd.readouterr().out
    calibrate.main([*base, "--json"])
    assert json.loads(capfd.readouterr().out).items() <= written.items()
    calibrate.main([*base, "--fit-to", "majority"])
    assert json.loads((model / "calibration.json").read_text())["fitted_to"] == "majority"
    assert "fitted to majority; on other patients" in capfd.readouterr().out
    (model / "config.json").write_text('{"task": "sleep"}')
    (model / "calibration.json").unlink()
    for wrong in (base, [*base, "--alpha", "2"], [*base[:3], str(tmp_path)]):
        with pytest.raises(SystemExit) as raised:
            calibrate.main(wrong)
        assert raised.value.code == 2
        assert len(capfd.readouterr().err.strip().splitlines()) == 1
    assert not (model / "calibration.json").exists()
