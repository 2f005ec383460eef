"""Who is left out, and that the probe finds a difference that is there."""

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from benchmarks.studies.probes import (
    AGAINST,
    BASELINES,
    BOOSTED,
    POWERS,
    PRETRAINED,
    RANDOM,
    SPECTRA,
    Question,
    across_people,
    eyes,
    gains,
    main,
    predictions,
    protocol,
    with_both,
    within_person,
)
from evaluation.scenarios.transfer import transfer_table
from model.encoder import Encoder
from model.encoder_config import EncoderConfig
from signals.files import file_sha256
from signals.tasks import Task
from training.corpus.corpus import Corpus
from training.corpus.labelled import Labelled

RHYTHM = Task(name="rhythm", classes=("none", "slow"), window_s=10.0)


@pytest.fixture
def data(make_toy_shards: Callable[..., Path]) -> Labelled:
    """Eight people with six windows each, two of which have a slow rhythm on one side; others' the reference takes."""
    shards = Corpus.open(make_toy_shards(n_sites=2, n_subjects=4, n_windows=6))
    slow = np.array([entry.votes[1] + entry.votes[3] > 7 for entry in shards.entries])
    targets = np.eye(2, dtype=np.float32)[slow.astype(int)]
    return Labelled(shards=shards, task=RHYTHM, windows=np.arange(len(slow)), targets=targets, has_votes=False)


def one_class_each(data: Labelled, n_first: int) -> Labelled:
    people = np.unique(data.subjects)
    return replace(data, targets=np.eye(2, dtype=np.float32)[np.isin(data.subjects, people[:n_first]).astype(int)])


def test_people_are_left_out_one_by_one_or_a_class_each(data: Labelled) -> None:
    folds = across_people(data, "").folds
    assert [len(set(data.subjects[fold.test].tolist())) for fold in folds] == [1] * 8
    apart = one_class_each(data, 3)
    folds = across_people(apart, "").folds
    assert len(folds) == 3
    for fold in folds:
        assert set(apart.labels[fold.test].tolist()) == {0, 1}
        assert not set(apart.subjects[fold.test].tolist()) & set(apart.subjects[fold.train].tolist())


def test_one_person_is_predicted_at_different_minutes(data: Labelled) -> None:
    one = one_class_each(data, 3)
    person = one.subjects == np.unique(one.subjects)[5]
    targets = one.targets.copy()
    targets[np.flatnonzero(person)[:3]] = [0, 1]
    mixed = replace(one, targets=targets)
    assert len(set(with_both(mixed).subjects.tolist())) == 1
    question = within_person(mixed)
    onsets = np.array([question.data.shards.window(int(i)).start_s for i in question.data.windows])
    for k, fold in enumerate(question.folds):
        assert sorted(question.data.labels[fold.test].tolist()) == [0, 1]
        assert sorted(onsets[fold.test].tolist()) == [10.0 * k, 30.0 + 10.0 * k]
        assert sorted([*fold.train, *fold.test]) == list(range(6))
    with pytest.raises(ValueError, match="0 people have both"):
        within_person(one)


def test_every_model_predicts_every_window_once(
    data: Labelled, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("encoder", "other"):
        Encoder(EncoderConfig(dim=16, depth=1, n_heads=2, stem_dim=16)).save_pretrained(tmp_path / name)
    question = across_people(data, "")
    encoders = {PRETRAINED: [tmp_path / "encoder"], AGAINST: [tmp_path / "other"]}
    answers = predictions(Question(**{**vars(question), "folds": question.folds}), encoders)
    counts = answers.frame.groupby("model")["window_key"].nunique()
    assert set(counts) == {48}
    rows, _ = transfer_table(answers, reference=PRETRAINED, n_boot=20, seed=0)
    auroc = {row.model: row.metrics["auroc_macro"].value for row in rows}
    assert set(auroc) == {PRETRAINED, AGAINST, RANDOM, POWERS, SPECTRA, BOOSTED}
    probabilities = {name: answers.of(name)["prob_slow"].to_numpy() for name in encoders}
    assert not np.allclose(*probabilities.values())  # each reads its own weights
    gains([answers])
    printed = capsys.readouterr().out
    assert all(f"probe_gain_over_{name} " in printed for name in BASELINES)
    powers = answers.of(POWERS)
    assert auroc[POWERS] == pytest.approx(roc_auc_score(powers["target_slow"], powers["prob_slow"]))
    assert auroc[POWERS] > 0.7  # the rhythm is one of 40 µV in noise of as much


def test_two_seeds_are_paired_and_other_numbers_refused(
    data: Labelled, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [tmp_path / name for name in ("a", "b", "c")]
    for folder in folders:
        Encoder(EncoderConfig(dim=16, depth=1, n_heads=2, stem_dim=16)).save_pretrained(folder)
    answers = predictions(across_people(data, ""), {PRETRAINED: folders[:2]})
    assert {f"{name}#seed{seed}" for name in (PRETRAINED, RANDOM) for seed in range(2)} <= set(answers.models)
    each = [answers.of(f"{PRETRAINED}#seed{seed}")["prob_slow"].to_numpy() for seed in range(2)]
    assert not np.allclose(*each)  # each seed reads its own weights
    given = [str(folder) for folder in folders]
    monkeypatch.setattr("sys.argv", ["probes", "--encoder", *given, "--against", *given[:2]])
    with pytest.raises(SystemExit):
        main()
    assert "3 encoders against 2: seeds are paired" in capsys.readouterr().err


def test_state_of_the_eyes_goes_by_the_clock(data: Labelled, tmp_path: Path) -> None:
    (tmp_path / "bissau-emotiv").mkdir()
    rows = []
    for name, order in (("a.csv", "closed-3min-then-open-2min"), ("b.csv", "open-3min-then-closed-2min")):
        (tmp_path / "bissau-emotiv" / name).write_text(name)
        rows.append({"site": "bissau-emotiv", "file": name, "notes": order})
    rows.append({"site": "bissau-emotiv", "file": "c.csv", "notes": ""})
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["site", "file", "notes"])
        writer.writeheader()
        writer.writerows(rows)
    closed = protocol(tmp_path)
    a, b = (file_sha256(tmp_path / "bissau-emotiv" / name)[:16] for name in ("a.csv", "b.csv"))
    assert closed == {a: (0, 180), b: (180, 1e9)}
    shards = data.shards
    names = np.unique(data.subjects)
    shards.entries = tuple(
        replace(e, recording_id=a if e.subject_id == names[0] else b if e.subject_id == names[1] else e.recording_id)
        for e in shards.entries
    )
    found = eyes(shards, tmp_path)
    assert len(found.windows) == 12  # the toys last a minute: all before the change
    assert set(found.labels[found.subjects == names[0]].tolist()) == {1}
    assert set(found.labels[found.subjects == names[1]].tolist()) == {0}
