"""A teacher speaks of the windows that it has seen, and its subjects are known by id and by recording."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evaluation.audit.fingerprint import content_hash
from evaluation.schemas.predictions import MEAN, Predictions, write_predictions
from signals.tasks import SIX_CLASS
from training.corpus.corpus import Corpus
from training.corpus.labelled import Labelled, labelled
from training.fitting.held_out import Seen, known_subjects, seen_together, with_seen
from training.fitting.teachers import Teacher, measured_side, share_out_of_fold, teachers_in

CLASSES = SIX_CLASS.classes
SUBJECT, RECORDING = "site1-s0", "rec-site1-s0"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Labelled:
    """Two sites, two subjects each, three windows of each."""
    write = request.getfixturevalue("write_shards")
    folder = write(tmp_path_factory.mktemp("windows"), n_sites=2, n_subjects=2, n_windows=3, window_s=50.0)
    return labelled(Corpus.open(folder), SIX_CLASS)


def seen(**about: Any) -> Seen:
    return Seen.of({"salt_id": "", "pretrain_subjects": [], **about}, name="the teacher")


def teacher(data: Labelled, *models: Seen, model_of: np.ndarray | None = None) -> Teacher:
    n = len(data.windows)
    prob = np.full((n, len(CLASSES)), 1 / len(CLASSES))
    numbers = np.zeros(n, dtype=int) if model_of is None else model_of
    return Teacher(name="the teacher", probabilities=prob, seen=models, model_of=numbers)


def frame_of(data: Labelled, *models: str) -> pd.DataFrame:
    """Rows of each model, which gives class number (row + number of the model) mod 6 nearly everything."""
    entries = [data.shards.entries[i] for i in data.windows]
    windows = list(data.shards.windows(data.windows))
    rows = []
    for number, model in enumerate(models):
        prob = np.full((len(entries), len(CLASSES)), 0.01)
        prob[np.arange(len(entries)), (np.arange(len(entries)) + number) % len(CLASSES)] = 0.95
        rows += [
            {"window_key": e.key, "recording_id": e.recording_id, "subject_id": e.subject_id, "site_id": e.site_id,
             "fold": e.site_id, "model": model, "label": CLASSES[0], "content_hash": content_hash(w),
             **{f"target_{c}": float(c == CLASSES[0]) for c in CLASSES},
             **dict(zip((f"prob_{c}" for c in CLASSES), p, strict=True))}
            for e, w, p in zip(entries, windows, prob, strict=True)
        ]  # fmt: skip
    return pd.DataFrame(rows)


def written(path: Path, frame: pd.DataFrame, *, classes: tuple[str, ...] = CLASSES, **meta: Any) -> Path:
    sites = sorted(set(frame["site_id"]))
    folds = [{"name": site, "train_subjects": [f"of {site}"], "train_recordings": []} for site in sites]
    write_predictions(
        path, Predictions(frame=frame, task="six-class", classes=classes, meta={"folds": folds, "salt_id": "", **meta})
    )
    return path


@pytest.mark.parametrize(
    ("about", "known"),
    [
        ({"train_subjects": [SUBJECT], "train_recordings": ["r"]}, {SUBJECT}),
        ({"train_subjects": ["other"], "train_recordings": [RECORDING], "salt_id": "other"}, {SUBJECT}),
        ({"train_subjects": [], "train_recordings": [RECORDING]}, {SUBJECT}),
        ({"train_subjects": ["other"], "train_recordings": ["r"], "salt_id": "other"}, set()),
        ({"train_subjects": ["other"]}, set()),
    ],
)
def test_subjects_are_known_by_id_and_by_recording(about: dict[str, Any], known: set[str], data: Labelled) -> None:
    assert known_subjects(data, [seen(train_subjects=["nobody"]), seen(**about)]) == known


def test_ids_of_another_salt_without_recordings_are_refused(data: Labelled) -> None:
    with pytest.raises(ValueError, match="the teacher lists subjects of another salt and no recordings"):
        known_subjects(data, [seen(train_subjects=["other"], salt_id="other")])


@pytest.mark.parametrize("about", [{}, {"train_subjects": None, "train_recordings": []}])
def test_a_model_that_lists_nobody_is_refused(about: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="the teacher does not list whom it was trained on"):
        Seen.of(about, name="the teacher")


def test_a_subject_known_by_its_recording_is_no_test_subject(data: Labelled) -> None:
    by_recording = seen(train_subjects=["x"], train_recordings=[RECORDING], salt_id="other")
    with pytest.raises(ValueError, match=f"learnt from 1 subjects of the test side, first {SUBJECT}"):
        measured_side(data, [teacher(data, by_recording)], ["site1"])
    assert set(data.subjects[measured_side(data, [teacher(data, by_recording)], [])]) == set(data.subjects) - {SUBJECT}
    assert len(measured_side(data, [teacher(data, by_recording)], ["site0"])) == 6


@pytest.mark.parametrize(("sites", "match"), [([], "name test sites"), (["site0", "site1"], "is of a test site")])
def test_somebody_must_be_left_to_train_on(sites: list[str], match: str, data: Labelled) -> None:
    with pytest.raises(ValueError, match=match):
        measured_side(data, [teacher(data, seen(train_subjects=["nobody here"]))], sites)


def test_only_models_that_speak_of_a_training_window_count(data: Labelled) -> None:
    of_site1, of_site0 = seen(train_subjects=["site1-s0", "site1-s1"]), seen(train_subjects=["site0-s0", "site0-s1"])
    out_of_fold = np.where(data.sites == "site0", 0, 1)
    one = teacher(data, of_site1, of_site0, model_of=out_of_fold)
    with pytest.raises(ValueError, match="learnt from 2 subjects of the test side"):
        measured_side(data, [one], ["site1"])
    # the other way about each window is predicted by the model that learnt from it, and site1's by no other
    assert len(measured_side(data, [teacher(data, of_site1, of_site0, model_of=1 - out_of_fold)], ["site1"])) == 6
    rows = np.arange(len(data.windows))
    assert share_out_of_fold(data, [one], rows) == 1.0
    assert share_out_of_fold(data, [teacher(data, of_site1, model_of=np.zeros(12, dtype=int))], rows) == 0.5
    assert [model.subjects for model in one.heard(np.flatnonzero(data.sites == "site0"))] == [of_site1.subjects]
    assert teacher(data, of_site1, model_of=np.full(12, -1)).heard(rows) == []


def test_what_several_models_have_seen_stands_together() -> None:
    first = seen(train_subjects=["a"], train_recordings=["1"], salt_id="s", pretrain_subjects=["p"],
                 pretrain_recordings=["9"], pretrain_sites=["x"], pretrain_salt_id="q")  # fmt: skip
    second = seen(train_subjects=["b"], train_recordings=["2"], salt_id="t", pretrain_subjects=[],
                  pretrain_recordings=[], pretrain_sites=[])  # fmt: skip
    assert seen_together([first, second]) == {
        "train_subjects": ["a", "b"], "train_recordings": ["1", "2"], "salt_id": "s+t", "pretrain_subjects": ["p"],
        "pretrain_recordings": ["9"], "pretrain_sites": ["x"], "pretrain_salt_id": "q",
    }  # fmt: skip
    # a list that one of them does not have is not known
    assert "train_recordings" not in seen_together([first, replace(second, recordings=frozenset())])
    assert seen_together([first, replace(second, pretraining={})])["pretrain_subjects"] is None
    stated = with_seen({"train_recordings": ["1"], "recipe": "r"}, [first, replace(second, recordings=frozenset())])
    assert "train_recordings" not in stated
    assert (stated["recipe"], stated["train_subjects"]) == ("r", ["a", "b"])


def test_every_model_of_a_file_teaches_but_the_mean_of_the_others_and_the_prior(data: Labelled, tmp_path: Path) -> None:
    file = written(tmp_path / "p.parquet", frame_of(data, "a", "b", MEAN, "prior"))
    first, second = teachers_in(file, data)
    assert (first.name, second.name) == (f"{file}:a", f"{file}:b")
    n = len(data.windows)
    keys = [data.shards.entries[i].key for i in data.windows]
    assert keys != sorted(keys)  # the order of the file's rows is not that of the windows
    assert (first.probabilities.argmax(axis=1) == np.arange(n) % len(CLASSES)).all()
    assert (second.probabilities.argmax(axis=1) == (np.arange(n) + 1) % len(CLASSES)).all()
    assert {tuple(model.subjects) for model in first.heard(np.arange(n))} == {("of site0",), ("of site1",)}
    # a file of the mean alone, as an ensemble's, teaches it
    (only,) = teachers_in(written(tmp_path / "mean.parquet", frame_of(data, MEAN)), data)
    assert only.name.endswith(f":{MEAN}")


def test_windows_that_are_not_in_the_file_have_no_probabilities(data: Labelled, tmp_path: Path) -> None:
    frame = frame_of(data, "a")
    (one,) = teachers_in(written(tmp_path / "p.parquet", frame[frame["site_id"] == "site0"]), data)
    assert (np.isnan(one.probabilities).any(axis=1) == (data.sites == "site1")).all()
    assert (one.model_of == np.where(data.sites == "site0", 0, -1)).all()


def test_predictions_of_other_samples_are_refused(data: Labelled, tmp_path: Path) -> None:
    frame = frame_of(data, "a")
    changed = frame.assign(content_hash=["0" * 16 if n == 7 else h for n, h in enumerate(frame["content_hash"])])
    with pytest.raises(ValueError, match=f"other samples of window {frame['window_key'][7]}"):
        teachers_in(written(tmp_path / "changed.parquet", changed), data)
    # a file that names no samples cannot be compared, and one of a flat window says nothing of it
    teachers_in(written(tmp_path / "none.parquet", frame.drop(columns="content_hash")), data)
    teachers_in(written(tmp_path / "flat.parquet", frame.assign(content_hash="")), data)


def test_a_fold_that_lists_nobody_is_refused(data: Labelled, tmp_path: Path) -> None:
    folds = [{"name": "site0", "train_subjects": ["a"]}, {"name": "site1"}]
    file = written(tmp_path / "p.parquet", frame_of(data, "a"), folds=folds)
    with pytest.raises(ValueError, match="fold 'site1', does not list whom it was trained on"):
        teachers_in(file, data)
    with pytest.raises(ValueError, match="fold 'site[01]', does not list"):
        teachers_in(written(tmp_path / "q.parquet", frame_of(data, "a"), folds=[]), data)


def test_classes_in_another_order_are_refused(data: Labelled, tmp_path: Path) -> None:
    file = written(tmp_path / "p.parquet", frame_of(data, "a"), classes=CLASSES[::-1])
    with pytest.raises(ValueError, match="order counts"):
        teachers_in(file, data)


def test_a_fold_states_what_its_own_encoder_was_pretrained_on(data: Labelled, tmp_path: Path) -> None:
    folds = [
        {"name": "site0", "train_subjects": ["a"], "pretrain_subjects": ["p0"]},
        {"name": "site1", "train_subjects": ["b"]},
    ]
    file = written(tmp_path / "p.parquet", frame_of(data, "a"), folds=folds, pretrain_subjects=["shared"])
    (one,) = teachers_in(file, data)
    first, last = (one.seen[one.model_of[data.sites == site][0]] for site in ("site0", "site1"))
    assert (set(first.pretraining["pretrain_subjects"]), set(last.pretraining["pretrain_subjects"])) == (
        {"p0"},
        {"shared"},
    )


def test_the_salt_of_the_training_subjects_is_that_which_counts(data: Labelled, tmp_path: Path) -> None:
    file = written(tmp_path / "p.parquet", frame_of(data, "a"), train_salt_id="other")
    (one,) = teachers_in(file, data)
    with pytest.raises(ValueError, match="another salt and no recordings"):
        measured_side(data, [one], ["site1"])
