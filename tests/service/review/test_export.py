"""Reviews as a label file: what preprocess makes of it is what the reviewers saw."""

import csv
import json
from itertools import pairwise

import pytest

from pipelines.preprocess import main as preprocess
from service.formats.findings import Findings
from service.records.database import open_database
from service.records.reviews import add_review, new_review, withdraw
from service.records.studies import add_study
from service.review.export import COLUMNS, label_rows, main
from service.review.queue import APART_S, candidates, next_to_review
from serving.runtime import Answer
from signals.readers.registry import open_recording
from signals.shards.index import read_index
from signals.tasks import SIX_CLASS
from synthetic.recordings.monitoring import monitoring_day


@pytest.fixture(scope="module")
def reviewed(tmp_path_factory):
    """Half an hour with planted patterns; two reviewers who label what was planted, one of them one episode wrongly."""
    root = tmp_path_factory.mktemp("reviewed")
    (root / "recordings").mkdir()
    path = root / "recordings" / "day.edf"
    day = monitoring_day(path, hours=0.5, seed=3)
    engine = open_database(f"sqlite:///{root / 'records.db'}")
    study = add_study(engine, open_recording(str(path)), file="day.edf", stamp="1")
    for number, episode in enumerate(day.episodes):
        for reviewer in ("first", "second"):
            label = "Other" if reviewer == "second" and number == 0 else episode.label
            add_review(engine, new_review(
                study_id=study.id, reviewer=reviewer, start_s=float(episode.onset_s),
                stop_s=float(episode.onset_s + episode.duration_s), label=label,
            ))  # fmt: skip
    gone = add_review(engine, new_review(study_id=study.id, reviewer="first", start_s=20, stop_s=30, label="GPD"))
    withdraw(engine, gone.id, reviewer="first")
    return root, day, engine


def test_the_way_from_reviews_to_windows_with_labels(reviewed, capsys):
    """Recording, reviews, label file, preprocess: the windows have the votes, and those alone."""
    root, day, _ = reviewed
    assert main(["export", "--data", str(root), "--output", str(root / "labels.csv"), "--json"]) == 0
    with (root / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert json.loads(capsys.readouterr().out) == {"output": str(root / "labels.csv"), "n_windows": len(rows)}
    assert tuple(rows[0]) == COLUMNS
    assert sum(int(row["seizure_vote"]) + int(row["lpd_vote"]) for row in rows) > 0
    assert {row["label_source"] for row in rows} == {"experts"}
    out = root / "shards"
    assert preprocess([
        "--input", str(root / "recordings"), "--labels", str(root / "labels.csv"), "--profile", "six-class",
        "--output", str(out), "--salt", "secret",
    ]) == 0  # fmt: skip
    (index,) = out.rglob("*.index.parquet")
    onsets = read_index(index)["start_s"].to_pylist()
    wanted = sorted(float(row["onset_s"]) for row in rows)
    assert sorted(onsets) == pytest.approx(wanted)
    for row in rows:  # the middle 10 s of each window lie in the episode that was reviewed, or at its edge
        middle = float(row["onset_s"]) + 25
        votes = {name: int(row[f"{name.lower()}_vote"]) for name in SIX_CLASS.classes}
        inside = [one for one in day.episodes if one.onset_s - 5 <= middle <= one.onset_s + one.duration_s + 5]
        assert inside, row
        expected = {inside[0].label: 2} if inside[0] != day.episodes[0] else {inside[0].label: 1, "Other": 1}
        assert {name: n for name, n in votes.items() if n} == expected


def test_one_reviewer_alone_and_nobody(reviewed):
    *_, engine = reviewed
    assert all(sum(row.votes) == 1 for row in label_rows(engine, reviewers=["first"]))
    assert label_rows(engine, reviewers=["nobody"]) == []


def test_a_folder_without_records_is_one_line(tmp_path, capsys):
    assert main(["export", "--data", str(tmp_path), "--output", str(tmp_path / "x.csv")]) == 2
    assert capsys.readouterr().err.startswith("cerebeam reviews: ")
    assert not (tmp_path / "x.csv").exists()
    assert list(tmp_path.iterdir()) == []


def answer(start_s, name, entropy):
    rest = dict.fromkeys(SIX_CLASS.classes, 0.05)
    return Answer(
        start_s=start_s, stop_s=start_s + 50, predicted_class=name, class_probabilities=rest | {name: 0.75},
        confidence=0.75, uncertainty={"total": entropy, "aleatoric": None, "epistemic": None}, prediction_set=None,
        clinical_recommendation="",
    )  # fmt: skip


def findings(*answers):
    return Findings(
        answers=answers, source_sha256="", model="m", model_digest="d", classes=SIX_CLASS.classes, created_at=0.0,
        label_span_s=(20.0, 30.0),
    )  # fmt: skip


def test_the_queue_is_uncertain_apart_and_of_several_classes():
    ten = [answer(10.0 * i, "LPD", 1.0 + 0.001 * i) for i in range(30)]
    other = answer(1000.0, "GPD", 0.95)
    pool = candidates("a.edf", findings(*ten, other), reviewed=[(20 + 290.0, 320.0)])
    assert max(one.start_s for one in pool if one.predicted_class == "LPD") == 300.0  # the last one was reviewed
    chosen = next_to_review(pool, n=4)
    assert chosen[0].start_s == 300.0
    assert chosen[1].predicted_class == "GPD"  # 0.95 / ln 6 is less than the next LPD's, but of a new class
    starts = sorted(one.start_s for one in chosen if one.predicted_class == "LPD")
    assert all(b - a >= APART_S for a, b in pairwise(starts))
    assert next_to_review([], n=3) == []
