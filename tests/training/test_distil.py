import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluation.schemas.predictions import Predictions, read_predictions, write_predictions
from model.saved import load_task_model
from signals.tasks import SIX_CLASS
from studies import loso
from training import distil, finetune, prune
from training.corpus.corpus import Corpus
from training.corpus.labelled import labelled
from training.fitting.held_out import score_of
from training.fitting.inference import predict
from training.objectives.teaching import Teaching


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
    teacher = distil.teacher_of(folders[0], data)
    about = load_task_model(folders[0]).config.provenance
    assert teacher.recordings[0] == set(about["train_recordings"]) != set()
    with pytest.raises(ValueError, match="learnt from 3 subjects of the test side, first site1-s0"):
        distil.measured_side(data, [teacher], ["site1"])
    # rows of site0 are predictions of a model of site1: no honest measure of a student at site1
    for one in distil.teachers_in(predictions, data):
        assert np.isnan(one.probabilities).any(axis=1).sum() == 6  # site2 is not in the file
        with pytest.raises(ValueError, match="learnt from 3 subjects of the test side"):
            distil.measured_side(data, [one], ["site1"])
        assert len(distil.measured_side(data, [one], ["site2"])) == 6
    file = read_predictions(predictions)
    only_prior = file.frame[file.frame["model"] == "prior"]
    write_predictions(
        tmp_path / "prior.parquet",
        Predictions(frame=only_prior, task=file.task, classes=file.classes, meta=copy.deepcopy(file.meta)),
    )
    with pytest.raises(ValueError, match="holds no model but 'prior'"):
        distil.teachers_in(tmp_path / "prior.parquet", data)


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ([], "a student needs a teacher"),
        (["--teacher", "/nowhere"], "/nowhere is no model"),
        (["--task", "seven-class", "--teacher", "/nowhere"], "unknown task 'seven-class'"),
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
