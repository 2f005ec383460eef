"""Champion against challenger over an archive, from files written by hand."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from evaluation.measures.bootstrap import Difference, differences, draws
from evaluation.measures.intervals import Estimate
from evaluation.measures.tallies import tally
from evaluation.scenarios.archives import Comparison, compare, describe, main, read_answers, read_labels

CLASSES = ("Seizure", "LPD", "GPD", "LRDA", "GRDA", "Other")


def write_answers(folder, probs, *, digest="d" * 64, classes=CLASSES, hop_s=10.0):
    """Answers of people p0, p1, ...: one recording each, `probs` of shape (n_people, n_windows, n_classes)."""
    rows = [
        {"window_key": f"{person}-{k}", "recording_id": f"rec{person}", "site_id": "s", "subject_id": f"p{person}",
         "start_s": k * hop_s, "predicted_class": classes[int(p.argmax())],
         **{f"prob_{name}": float(value) for name, value in zip(classes, p, strict=True)}}
        for person, of_person in enumerate(probs) for k, p in enumerate(of_person)
    ]  # fmt: skip
    (folder / "site=s").mkdir(parents=True)
    pd.DataFrame(rows).to_parquet(folder / "site=s" / "a.parquet")
    about = {"model": "m", "model_digest": digest, "classes": classes, "hop_s": hop_s,
             "parts": [{"name": "site=s/a.parquet"}]}  # fmt: skip
    (folder / "scores.json").write_text(json.dumps(about))
    (folder / "_COMPLETED").touch()
    return folder


def write_labels(folder, rows):
    (folder / "site=s").mkdir(parents=True)
    frame = pd.DataFrame(rows, columns=["recording_id", "start_s", "label", "votes"])
    frame.to_parquet(folder / "site=s" / "w.index.parquet")
    return folder


@pytest.fixture
def both(tmp_path):
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 6, size=(30, 12))
    good = rng.dirichlet(np.ones(6), size=truth.shape) + 1.5 * np.eye(6)[truth]
    bad = rng.dirichlet(np.ones(6), size=truth.shape)
    bad[:, :, 5] += 0.3
    folders = [
        write_answers(tmp_path / name, p / p.sum(-1, keepdims=True), digest=name * 16)
        for name, p in (("cham", bad), ("chal", good))
    ]
    labels = write_labels(tmp_path / "labels", [
        (f"rec{person}", k * 10.0 + 3.0, CLASSES[truth[person, k]], [0.0] * 6)
        for person in range(30) for k in range(12)
    ])  # fmt: skip
    return *folders, labels


def test_the_better_model_is_named_with_paired_intervals(both):
    champion, challenger = map(read_answers, both[:2])
    found = compare(champion, challenger, read_labels(both[2], CLASSES), n_boot=400)
    assert (found.n_windows, found.n_subjects, found.n_labelled, found.n_only_one) == (360, 30, 360, 0)
    assert found.metrics["kl"].high < 0 < found.metrics["balanced_accuracy"].low
    # The same numbers as evaluation gives for the frames themselves.
    frame = champion.frame.merge(challenger.frame, on="window_key", suffixes=("", "_new"))
    same = (frame["predicted_class"] == frame["predicted_class_new"]).mean()
    assert found.agreement.value == pytest.approx(same)
    assert found.agreement.low < same < found.agreement.high
    assert sum(found.changes.values()) == round((1 - same) * 360)
    labels = read_labels(both[2], CLASSES).assign(
        window_key=lambda f: f["recording_id"].str[3:] + "-" + (f["label_start_s"] // 10).astype(int).astype(str)
    )
    tallies = [tally(labels.merge(one.frame.drop(columns="recording_id"), on="window_key").sort_values("window_key"),
                     CLASSES) for one in (challenger, champion)]  # fmt: skip
    expected = differences(*((t, draws(t, n_boot=400, seed=0)) for t in tallies))
    for name, difference in found.metrics.items():
        assert difference.value == pytest.approx(expected[name].value), name
        assert difference.low == pytest.approx(expected[name].low), name


def test_a_model_against_itself_is_no_better(both):
    champion = read_answers(both[0])
    found = compare(champion, champion, read_labels(both[2], CLASSES), n_boot=50)
    assert found.agreement.value == 1.0
    assert found.changes == {}
    assert all(d.value == 0 for d in found.metrics.values())


def test_labels_go_to_the_nearest_window_within_half_a_hop(tmp_path, both):
    champion, challenger = map(read_answers, both[:2])
    labels = read_labels(write_labels(tmp_path / "few", [
        ("rec0", 4.9, "LPD", [0.0, 3.0, 1.0, 0.0, 0.0, 0.0]),  # of the window at 0 s
        ("rec0", 1.0, "GPD", [0.0] * 6),  # the same window, nearer: taken
        ("rec0", 116.0, "LPD", [0.0] * 6),  # 6 s behind the last window, at 110 s: nowhere
        ("unknown", 0.0, "LPD", [0.0] * 6),
    ]), CLASSES)  # fmt: skip
    assert labels.loc[0, "target_LPD"] == 0.75
    assert compare(champion, challenger, labels, n_boot=50).n_labelled == 1


@pytest.mark.parametrize("fault", ["unfinished", "other classes", "other archive", "no label"])
def test_what_cannot_be_compared_is_one_line(both, tmp_path, capsys, fault):
    champion, challenger, labels = both
    if fault == "unfinished":
        (challenger / "_COMPLETED").unlink()
    if fault == "other classes":
        challenger = write_answers(tmp_path / "c", np.full((2, 3, 2), 0.5), classes=("a", "b"))
    if fault == "other archive":
        about = pd.read_parquet(challenger / "site=s" / "a.parquet")
        about["window_key"] += "x"
        about.to_parquet(challenger / "site=s" / "a.parquet")
    if fault == "no label":
        labels = write_labels(tmp_path / "none", [("rec0", 0.0, "Sleep", [0.0] * 6)])
    args = ["--champion", str(champion), "--challenger", str(challenger), "--labels", str(labels)]
    assert main(args) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_command_prints_both(both, capsys):
    assert main(["--champion", str(both[0]), "--challenger", str(both[1]), "--labels", str(both[2])]) == 0
    out = capsys.readouterr().out
    assert "windows     360 of 30 people" in out
    assert "balanced_accuracy" in out
    assert main(["--champion", str(both[0]), "--challenger", str(both[1]), "--labels", str(both[2]), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)


def test_lines_for_a_terminal_hold_these_numbers():
    gap = {"reason": "", "at_floor": False}
    found = Comparison(
        champion="old abc", challenger="new def", n_windows=360, n_only_one=12, n_subjects=30,
        agreement=Estimate(0.81234, 0.71, 0.9), changes={f"A > {k}": 20 - k for k in range(10)}, n_labelled=77,
        metrics={"kl": Difference(value=-0.5, low=-0.75, high=-0.25, p_value=0.00456, **gap),
                 "ece": Difference(value=0.125, low=0.0, high=0.25, p_value=0.5, **gap)},
    )  # fmt: skip
    assert describe(found).splitlines() == [
        "champion    old abc",
        "challenger  new def",
        "windows     360 of 30 people, 12 answered by one alone",
        "same class  0.8123 [0.7100, 0.9000]",
        *(f"  {20 - k:6d}  A > {k}" for k in range(8)),
        "labelled    77 windows; challenger minus champion, 95% over people",
        "  kl                 -0.5000 [-0.7500, -0.2500]  p 0.00456",
        "  ece                +0.1250 [+0.0000, +0.2500]  p 0.5",
        "Research use only. Not a medical device.",
    ]
    assert len(describe(replace(found, metrics={})).splitlines()) == 13


def test_names_counts_and_changes_are_those_of_the_answers(tmp_path):
    def answers(name, classes, *, digest):
        probs = [np.eye(6)[of_person] * 0.9 + 0.1 / 6 for of_person in classes]
        return read_answers(write_answers(tmp_path / name, probs, digest=digest, hop_s=4.0))

    first = answers("first", [[0, 0, 1, 2], [5, 5, 5, 5]], digest="0123456789abcdef")
    second = answers("second", [[0, 1, 1, 2, 3], [5, 0, 0, 4, 4]], digest="fedcba9876543210")
    found = compare(first, second, n_boot=200)
    assert (found.champion, found.challenger) == ("m 0123456789ab", "m fedcba987654")
    assert (found.n_windows, found.n_only_one, found.n_subjects, found.n_labelled) == (8, 2, 2, 0)
    assert found.metrics == {}
    assert next(iter(found.changes.items())) == ("Other > Seizure", 2)
    assert found.changes == {"Other > Seizure": 2, "Other > GRDA": 1, "Seizure > LPD": 1}
    assert found.agreement.value == 4 / 8
    lone = [replace(each, frame=each.frame[each.frame["subject_id"] == "p0"]) for each in (first, second)]
    alone = compare(*lone, n_boot=200).agreement
    assert (alone.value, alone.reason) == (3 / 4, "one subject: no interval over people")


def test_a_label_counts_its_votes_and_is_placed_to_half_a_hop(tmp_path, both):
    labels = read_labels(write_labels(tmp_path / "l", [
        ("rec1", 5.0, "GPD", [0.0, 1.0, 2.0, 0.0, 0.0, 1.0]), ("rec2", 14.999, "LPD", [3.0]),
        ("rec2", 40.0, "Sleep", []), ("rec3", 115.001, "LPD", [0.0] * 6),
    ]), CLASSES)  # fmt: skip
    assert list(labels.columns) == ["recording_id", "label", "label_start_s", *(f"target_{c}" for c in CLASSES)]
    targets = labels[[f"target_{c}" for c in CLASSES]].to_numpy()
    assert targets[0].tolist() == [0.0, 0.25, 0.5, 0.0, 0.0, 0.25]
    assert targets[1].tolist() == [0.0, 1.0, 0.0, 0.0, 0.0, 0.0]  # votes of another task are none
    champion, challenger = map(read_answers, both[:2])
    found = compare(champion, challenger, labels, n_boot=20)
    assert found.n_labelled == 2  # 5.001 s behind the last window is nowhere
    assert {"kl", "accuracy", "ece"} <= set(found.metrics) <= {"kl", "balanced_accuracy", "accuracy", "log_loss", "ece"}
