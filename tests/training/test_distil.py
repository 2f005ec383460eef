import copy
import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from evaluation.schemas.predictions import Predictions, read_predictions, write_predictions
from model.saved import load_task_model
from signals.tasks import SIX_CLASS
from studies import loso
from training import distil, finetune, prune
from training.corpus.corpus import Corpus
from training.corpus.labelled import labelled
from training.corpus.order import MicroBatch
from training.fitting.held_out import score_of
from training.fitting.inference import predict
from training.fitting.learning import TaskObjective
from training.fitting.task_batches import TaskBatches
from training.fitting.teachers import measured_side, teacher_of, teachers_in
from training.objectives.losses import VoteLoss
from training.objectives.teaching import Teaching
from training.recipes.finetuning import RECIPES
from training.trainer.stopping import RESUME_EXIT
from training.trainer.train import Trainer


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    write = request.getfixturevalue("write_shards")
    return write(tmp_path_factory.mktemp("six"), n_sites=3, n_subjects=3, n_windows=2, window_s=50.0)


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> tuple[list[Path], Path]:
    """Two models that were trained on site0 and site1, and predictions of those that leave one of these out."""
    write, folder = request.getfixturevalue("write_shards"), tmp_path_factory.mktemp("teachers")
    two = write(tmp_path_factory.mktemp("two"), n_sites=2, n_subjects=3, n_windows=2, window_s=50.0)
    base = ["--tiny", "--shards", str(two), "--task", "six-class", "--no-encoder"]
    folders = [folder / "eegnet", folder / "encoder"]
    finetune.main(["--recipe", "eegnet", *base, "--output", str(folders[0])])
    finetune.main([*base, "--output", str(folders[1])])
    loso.main(["--recipe", "eegnet", *base, "--output", str(folder / "loso" / "p.parquet")])
    return folders, folder / "loso" / "p.parquet"


def test_the_loss_is_hintons() -> None:
    rng = np.random.default_rng(0)
    teacher = rng.dirichlet(np.ones(3), 5)
    teaching = Teaching(probabilities=teacher, weight=0.3, temperature=2.5)
    logits = torch.from_numpy(rng.normal(size=(5, 3))).float().requires_grad_()
    taught = torch.from_numpy(teaching.softened(np.arange(5)))
    # softmax(log p / T) is what a teacher with logits log p gives at temperature T
    torch.testing.assert_close(taught, (torch.from_numpy(teacher).log() / 2.5).softmax(-1).float())
    total = teaching.total(logits, taught)
    kl = torch.nn.functional.kl_div((logits / 2.5).log_softmax(-1), taught, reduction="batchmean")
    entropy = -(taught * taught.log()).sum(-1).mean()
    assert total.item() == pytest.approx(5 * 2.5**2 * (kl + entropy).item(), rel=1e-5)
    with pytest.raises(ValueError, match="no probabilities of some windows"):
        Teaching(probabilities=np.full((2, 3), np.nan)).softened([0])


class Fixed(torch.nn.Module):
    """A model that gives the same logits for whatever it reads."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = logits


def test_labels_count_one_less_the_teachers_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    prob, votes = rng.dirichlet(np.ones(3), 4), rng.dirichlet(np.ones(3), 4).astype(np.float32)
    logits = torch.from_numpy(rng.normal(size=(4, 3))).float()
    monkeypatch.setattr("training.fitting.learning.logits_of", lambda model, batch: (model.logits, None))
    teaching = Teaching(probabilities=prob, weight=0.3, temperature=2.0)
    objective = TaskObjective(Fixed(logits), VoteLoss(), None, teaching)  # type: ignore[arg-type]
    batch = {
        "target_BK": torch.from_numpy(votes),
        "taught_BK": torch.from_numpy(teaching.softened(np.arange(4))),
    }
    totals, counts = objective(batch), objective.counts(batch)
    loss = sum(objective.weights[name] * totals[name] / counts[name] for name in totals)

    softened = prob ** (1 / 2.0)
    softened /= softened.sum(axis=1, keepdims=True)
    log_own, log_soft = (torch.log_softmax(logits / T, -1).numpy() for T in (1.0, 2.0))
    by_hand = -0.7 * (votes * log_own).sum(1).mean() - 0.3 * 2**2 * (softened * log_soft).sum(1).mean()
    assert float(loss) == pytest.approx(by_hand, abs=1e-5)


def test_a_student_learns_what_its_teacher_predicts(
    taught: tuple[list[Path], Path], shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders, predictions = taught
    distil.main(
        ["--recipe", "eegnet", "--tiny", "--teacher", *map(str, folders), "--shards", str(shards), "--task",
         "six-class", "--no-encoder", "--output", str(tmp_path / "student")]
    )  # fmt: skip
    printed = capsys.readouterr().out
    student = load_task_model(tmp_path / "student")
    data = labelled(Corpus.open(shards), SIX_CLASS)
    test = np.array([data.shards.entries[i].site_id == "site2" for i in data.windows]).nonzero()[0]
    assert not set(student.config.provenance["train_subjects"]) & set(data.subjects[test])
    about = student.config.provenance["distillation"]
    assert about["out_of_fold"] == 0.0
    assert about["teacher"] == [folder.name for folder in folders]  # no path of this machine
    assert "0% of the taught windows are out-of-fold" in printed
    mean = np.mean([predict(load_task_model(f), data.shards, data.windows[test])[0] for f in folders], axis=0)
    own, _ = predict(student, data.shards, data.windows[test])
    gap = score_of(data, test, own).kl - score_of(data, test, mean).kl
    assert f"student KL - teacher KL: {gap:.3f} on 6 windows" in printed

    # the same recipe without a teacher gives other weights: the teacher was heard
    distil.main(
        ["--recipe", "eegnet", "--tiny", "--predictions", str(predictions), "--shards", str(shards), "--task",
         "six-class", "--no-encoder", "--test-sites", "site2", "--weight", "0", "--output", str(tmp_path / "deaf")]
    )  # fmt: skip
    assert "100% of the taught windows are out-of-fold" in capsys.readouterr().out
    pairs = zip(student.parameters(), load_task_model(tmp_path / "deaf").parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(("weight", "heard"), [("0.5", {"elsewhere"}), ("0", set[str]())])
def test_a_student_has_learnt_from_whom_its_teacher_was_trained_on(
    weight: str, heard: set[str], taught: tuple[list[Path], Path], shards: Path, tmp_path: Path
) -> None:
    file = read_predictions(taught[1])
    meta = copy.deepcopy(dict(file.meta))
    for fold in meta["folds"]:
        fold["train_subjects"] = fold["train_recordings"] = ["elsewhere"]
    predicted = Predictions(frame=file.frame, task=file.task, classes=file.classes, meta=meta)
    write_predictions(tmp_path / "p.parquet", predicted)
    distil.main(
        ["--recipe", "eegnet", "--tiny", "--predictions", str(tmp_path / "p.parquet"), "--shards", str(shards),
         "--task", "six-class", "--no-encoder", "--test-sites", "site2", "--weight", weight, "--output",
         str(tmp_path / "student")]
    )  # fmt: skip
    about = load_task_model(tmp_path / "student").config.provenance
    own = {f"site{site}-s{subject}" for site in (0, 1) for subject in range(3)}
    assert set(about["train_subjects"]) == own | heard
    assert set(about["train_recordings"]) & {"elsewhere"} == heard
    assert len(about["train_recordings"]) > len(heard)


def test_a_pruned_model_goes_on_learning_as_a_student(
    taught: tuple[list[Path], Path], shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders, _ = taught
    small = tmp_path / "small"
    prune.main(["--tiny", "--model", str(folders[1]), "--shards", str(shards), "--output", str(small), "--json"])
    stages = json.loads(capsys.readouterr().out)["stages"]
    assert [stage["name"] for stage in stages] == ["as it was", "pruned", "fine-tuned"]
    config = json.loads((small / "config.json").read_text())
    config["provenance"] |= {"salt_id": "other", "label_source": "experts", "manifest_digest": "other"}
    (small / "config.json").write_text(json.dumps(config))
    distil.main(
        ["--recipe", "full_tiny", "--tiny", "--teacher", str(folders[0]), "--shards", str(shards), "--task",
         "six-class", "--no-encoder", "--student", str(small), "--output", str(tmp_path / "student"), "--json"]
    )  # fmt: skip
    printed = json.loads(capsys.readouterr().out)
    assert printed["kl_gap"] == pytest.approx(printed["student"]["score"]["kl"] - printed["teacher"]["score"]["kl"])
    assert printed["student"]["n_parameters"] == sum(p.numel() for p in load_task_model(small).parameters())
    before, after = load_task_model(small), load_task_model(tmp_path / "student")
    assert [p.shape for p in before.parameters()] == [p.shape for p in after.parameters()]
    assert any(not torch.equal(a, b) for a, b in zip(before.parameters(), after.parameters(), strict=True))
    first, last = before.config.provenance, after.config.provenance
    shown = Corpus.open(shards).manifest
    assert last["manifest_digest"] == shown.digest
    assert set(last["salt_id"].split("+")) == {"other", shown.salt_id}  # no salt of the two speaks for all of them
    assert set(last["label_source"].split("+")) == {"experts", shown.label_source}
    assert last["pruning"] == first["pruning"]
    assert set(last["train_subjects"]) == set(first["train_subjects"])  # site2 is the test side


def test_a_teacher_that_learnt_from_the_test_site_is_refused(
    taught: tuple[list[Path], Path], shards: Path, tmp_path: Path
) -> None:
    data = labelled(Corpus.open(shards), SIX_CLASS)
    folders, predictions = taught
    teacher = teacher_of(folders[0], data)
    about = load_task_model(folders[0]).config.provenance
    assert teacher.seen[0].recordings == set(about["train_recordings"]) != set()
    with pytest.raises(ValueError, match="learnt from 3 subjects of the test side, first site1-s0"):
        measured_side(data, [teacher], ["site1"])
    # rows of site0 are predictions of a model of site1: no honest measure of a student at site1
    for one in teachers_in(predictions, data):
        assert np.isnan(one.probabilities).any(axis=1).sum() == 6  # site2 is not in the file
        with pytest.raises(ValueError, match="learnt from 3 subjects of the test side"):
            measured_side(data, [one], ["site1"])
        assert len(measured_side(data, [one], ["site2"])) == 6
    file = read_predictions(predictions)
    only_prior = file.frame[file.frame["model"] == "prior"]
    write_predictions(
        tmp_path / "prior.parquet",
        Predictions(frame=only_prior, task=file.task, classes=file.classes, meta=copy.deepcopy(file.meta)),
    )
    with pytest.raises(ValueError, match="holds no model but 'prior'"):
        teachers_in(tmp_path / "prior.parquet", data)


def contradicting(predictions: Path, shards: Path, output: Path, *, shift: int) -> Path:
    """Write predictions of all windows: class number (place of the window + shift) mod 6, whatever the labels are."""
    file, data = read_predictions(predictions), labelled(Corpus.open(shards), SIX_CLASS)
    first = file.of(file.models[0]).iloc[0].to_dict()
    rows = []
    for place, number in enumerate(data.windows):
        entry = data.shards.entries[number]
        probability = {f"prob_{c}": 0.95 if k == (place + shift) % 6 else 0.01 for k, c in enumerate(file.classes)}
        ids = {"window_key": entry.key, "recording_id": entry.recording_id, "subject_id": entry.subject_id,
               "site_id": entry.site_id, "content_hash": "", "model": "wrong"}  # fmt: skip
        rows.append({**first, **ids, **probability})
    meta = {"folds": [{"name": first["fold"], "train_subjects": ["elsewhere"], "train_recordings": ["elsewhere"]}]}
    write_predictions(
        output, Predictions(frame=pd.DataFrame(rows), task=file.task, classes=file.classes, meta={**file.meta, **meta})
    )
    return output


@pytest.mark.parametrize("goes_on", [False, True])
def test_another_teacher_gives_another_student_unless_it_counts_nothing(
    goes_on: bool, taught: tuple[list[Path], Path], shards: Path, tmp_path: Path
) -> None:
    student = ["--student", str(taught[0][0])] if goes_on else []

    def made(shift: int, weight: str) -> torch.Tensor:
        wrong = contradicting(taught[1], shards, tmp_path / f"{shift}-{weight}.parquet", shift=shift)
        output = tmp_path / f"student-{shift}-{weight}"
        distil.main(
            ["--recipe", "eegnet", "--tiny", *student, "--predictions", str(wrong), "--shards", str(shards), "--task",
             "six-class", "--no-encoder", "--test-sites", "site2", "--weight", weight, "--output", str(output)]
        )  # fmt: skip
        return torch.cat([p.detach().flatten() for p in load_task_model(output).parameters()])

    assert not torch.equal(made(0, "0.5"), made(1, "0.5"))
    assert torch.equal(made(0, "0"), made(1, "0"))


def test_each_window_is_taught_what_the_teacher_predicts_of_it(taught: tuple[list[Path], Path], shards: Path) -> None:
    data = labelled(Corpus.open(shards), SIX_CLASS)
    n = len(data.windows)
    prob = np.full((n, 6), 0.01)
    prob[np.arange(n), np.arange(n) % 6] = 0.95
    batches = TaskBatches(
        replace(data, teaching=Teaching(probabilities=prob)), RECIPES["eegnet"](), load_task_model(taught[0][0]),
        frozen=None, spectra=None,
    )  # fmt: skip
    rows = np.random.default_rng(0).permutation(n)[:8]
    windows = tuple(data.windows[rows].tolist())
    made = batches.tensors(MicroBatch(windows, tuple(range(8)), data.shards.n_times))
    assert (made["taught_BK"].argmax(1).numpy() == rows % 6).all()
    np.testing.assert_array_equal(made["target_BK"].numpy(), data.targets[rows])


def test_a_student_goes_on_with_the_provenance_of_all(
    taught: tuple[list[Path], Path], shards: Path, tmp_path: Path
) -> None:
    student = copied(taught[0][0], tmp_path / "first", salt_id="other", pretrain_subjects=["p"],
                     pretrain_recordings=["9"], pretrain_sites=["x"], pretrain_salt_id="q")  # fmt: skip
    teacher = copied(taught[0][0], tmp_path / "teacher", train_subjects=["t"], train_recordings=["8"],
                     pretrain_subjects=["r"], pretrain_recordings=["7"], pretrain_sites=["y"])  # fmt: skip
    distil.main(
        ["--recipe", "eegnet", "--tiny", "--student", str(student), "--teacher", str(teacher), "--shards", str(shards),
         "--task", "six-class", "--no-encoder", "--test-sites", "site2", "--output", str(tmp_path / "out")]
    )  # fmt: skip
    about = load_task_model(tmp_path / "out").config.provenance
    own = {f"site{site}-s{subject}" for site in (0, 1) for subject in range(3)}
    assert set(about["train_subjects"]) == own | {"t"}
    assert set(about["train_recordings"]) == {f"rec-{name}" for name in own} | {"8"}
    assert (about["pretrain_subjects"], about["pretrain_recordings"]) == (["p", "r"], ["7", "9"])
    assert (about["pretrain_sites"], about["pretrain_salt_id"]) == (["x", "y"], "+q")
    assert set(about["salt_id"].split("+")) == {"other", ""}


def copied(model: Path, output: Path, **provenance: object) -> Path:
    """Copy a model, with other entries in its provenance."""
    shutil.copytree(model, output)
    config = json.loads((output / "config.json").read_text())
    config["provenance"] |= provenance
    (output / "config.json").write_text(json.dumps(config))
    return output


def test_frozen_weights_of_a_student_stay(taught: tuple[list[Path], Path], shards: Path, tmp_path: Path) -> None:
    first = taught[0][1]
    distil.main(
        ["--recipe", "full_tiny", "--tiny", "--teacher", str(taught[0][0]), "--student", str(first), "--shards",
         str(shards), "--task", "six-class", "--no-encoder", "--regularise.freeze", "stem", "trunk", "--output",
         str(tmp_path / "out")]
    )  # fmt: skip
    before, after = (dict(load_task_model(f).named_parameters()) for f in (first, tmp_path / "out"))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert not any(name.startswith("encoder.") for name in changed)


def test_a_run_does_not_go_on_with_another_teacher(
    taught: tuple[list[Path], Path], shards: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = ["--recipe", "eegnet", "--tiny", "--shards", str(shards), "--task", "six-class", "--no-encoder",
               "--schedule.epochs", "3", "--output", str(tmp_path / "student")]  # fmt: skip
    real, steps = Trainer.take_step, iter(range(10_000))

    def stopping(self: Trainer, *args: Any) -> dict[str, float] | None:
        if next(steps) == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(self, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "take_step", stopping)
        with pytest.raises(SystemExit) as raised:
            distil.main([*command, "--teacher", str(taught[0][0])])
    assert raised.value.code == RESUME_EXIT
    assert not (tmp_path / "student").exists()
    assert (tmp_path / "student.checkpoints").exists()
    capfd.readouterr()
    with pytest.raises(SystemExit) as raised:
        distil.main([*command, "--teacher", str(taught[0][1])])
    assert raised.value.code == 2
    assert "belongs to another run" in capfd.readouterr().err
    distil.main([*command, "--teacher", str(taught[0][0])])
    assert not (tmp_path / "student.checkpoints").exists()


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ([], "a student needs a teacher"),
        (["--teacher", "/nowhere"], "/nowhere is no model"),
        (["--task", "seven-class", "--teacher", "/nowhere"], "unknown task 'seven-class'"),
        (["--weight", "2", "--teacher", "/nowhere"], "weight=2.0 must lie between 0 and 1"),
        (["--temperature", "1e9", "--teacher", "/nowhere"], "temperature=1000000000.0 must be above 0 and at most 100"),
        (["--temperature", "nan", "--teacher", "/nowhere"], "temperature=nan must be a finite number"),
        (["--output", f"{__file__}/out", "--teacher", "/nowhere"], f"{__file__} is no folder that may be written to"),
        (["--student", "/nowhere", "--encoder", "/elsewhere", "--teacher", "/nowhere"], "--student brings its own"),
        (["--student", "/nowhere", "--teacher", "/nowhere"], "/nowhere is no model"),
    ],
)
def test_mistakes_end_in_one_line_and_code_2(
    wrong: list[str], match: str, shards: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    base = ["--tiny", "--shards", str(shards), "--task", "six-class", "--no-encoder", "--output", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as raised:
        distil.main([*base, *wrong])
    assert raised.value.code == 2
    lines = capfd.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert match in lines[0]
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "recipe", "match"),
    [
        ({}, "full_tiny", "is a model 'eegnet', recipe 'full_tiny' trains 'encoder'"),
        ({"task": "eyes"}, "eegnet", "is of task 'eyes', the labels are of 'six-class'"),
        ({"classes": list(SIX_CLASS.classes[::-1])}, "eegnet", "order counts"),
    ],
)
def test_a_student_of_another_kind_is_refused(
    change: dict[str, Any], recipe: str, match: str, taught: tuple[list[Path], Path], shards: Path, tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    student = copied(taught[0][0], tmp_path / "first")
    config = json.loads((student / "config.json").read_text())
    (student / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(SystemExit) as raised:
        distil.main(
            ["--recipe", recipe, "--tiny", "--student", str(student), "--teacher", str(taught[0][0]), "--shards",
             str(shards), "--task", "six-class", "--no-encoder", "--output", str(tmp_path / "out")]
        )  # fmt: skip
    assert raised.value.code == 2
    lines = capfd.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert match in lines[0]
    assert not (tmp_path / "out").exists()


def test_a_student_that_was_trained_on_the_test_site_is_refused(
    taught: tuple[list[Path], Path], shards: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    teacher = copied(taught[0][0], tmp_path / "teacher", train_subjects=["t"], train_recordings=["8"])
    student = copied(taught[0][0], tmp_path / "first", train_subjects=["t"], salt_id="other")  # known by recordings
    with pytest.raises(SystemExit) as raised:
        distil.main(
            ["--recipe", "eegnet", "--tiny", "--student", str(student), "--teacher", str(teacher), "--shards",
             str(shards), "--task", "six-class", "--no-encoder", "--test-sites", "site1", "--output",
             str(tmp_path / "out")]
        )  # fmt: skip
    assert raised.value.code == 2
    assert "was trained on 3 subjects of the test side, first site1-s0" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()
