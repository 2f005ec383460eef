"""The bench of what the queue saves: its arithmetic, and its small form to the end."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.benches.services.hospitals import Hospitals, Sizes, Windows, hospitals
from benchmarks.benches.services.review import by_recording, interval, labels_needed, main, member_logits, share_saved


def test_labels_are_counted_between_batches():
    rising = np.array([0.3, 0.5, 0.5, 0.7])
    assert labels_needed(rising, 0.5, 10) == 10.0
    # From 0.5 with 20 labels to 0.7 with 30: 0.6 is half of the last batch.
    assert labels_needed(rising, 0.6, 10) == pytest.approx(25.0)
    assert labels_needed(rising, 0.3, 10) == 0.0


def test_what_is_saved_is_a_share_of_what_the_other_needs():
    random, queue = [0.2, 0.4, 0.5, 0.6], [0.2, 0.5, 0.6, 0.6]
    assert share_saved(queue, random, 8) == pytest.approx(1 - 16 / 24)
    # A queue that ends at .3 loses: random choice is there after half a batch of its three.
    assert share_saved([0.2, 0.2, 0.25, 0.3], random, 8) == pytest.approx(4 / 24 - 1)
    assert share_saved(random, random, 8) == 0.0
    assert share_saved([0.4, 0.3], [0.4, 0.3], 8) == 0.0  # labels do not help: nothing to save
    # One lucky batch is levelled by the next ones: .5 is the mean of .8, .35 and .35.
    assert share_saved([0.2, 0.8, 0.35, 0.35], [0.2, 0.3, 0.4, 0.5], 8) == pytest.approx(1 - 8 / 24)


def test_swapping_both_ways_of_choosing_turns_the_sign():
    rng = np.random.default_rng(0)
    for _ in range(50):
        one, other = np.cumsum(rng.random((2, 6)), axis=1)
        assert share_saved(one, other, 8) == pytest.approx(-share_saved(other, one, 8))
        assert -1 <= share_saved(one, other, 8) <= 1


def test_the_interval_of_a_mean_is_that_of_its_normal_distribution():
    values = np.random.default_rng(2).normal(size=400)
    low, high = interval(lambda drawn: float(values[drawn].mean()), 400)
    half = 1.96 * values.std() / 20  # 20 = sqrt(400)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.015)


def test_random_choice_takes_from_recordings_with_fewest_labels():
    patient = np.repeat(np.arange(5), 4)
    pool = Windows(x=np.zeros((20, 1)), y=np.zeros(20, dtype=int), patient=patient)
    chosen = by_recording(None, [0, 1, 4], np.random.default_rng(0), pool=pool, n=6)
    # Recordings 0 and 1 have 2 and 1 labels: three go to the others, the next three to what has one each.
    assert np.bincount(patient[[0, 1, 4, *chosen]]).min() >= 1
    assert np.bincount(patient[[0, 1, 4, *chosen]]).max() == 2
    assert not set(chosen) & {0, 1, 4}
    assert len(set(chosen)) == 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("hospitals")


def test_the_small_form_runs(monkeypatch, capsys, folder):
    options = {"seeds": 1, "first-seed": 3, "patients": 4, "windows": 4, "batch": 4, "labels": 8, "keep": folder}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    monkeypatch.setattr(sys, "argv", ["review", *words])
    main()
    out = capsys.readouterr().out
    for name in ("active_accuracy_queue", "active_accuracy_random", "active_accuracy_gained", "active_labels_saved"):
        assert f"figure {name} " in out
    assert sum(line.startswith("seed 3, ") for line in out.splitlines()) == 2


def test_kept_hospitals_are_read_again_and_labels_move_the_members(folder):
    sizes = Sizes(patients=4, windows=4)
    (path,) = folder.glob("3-*.npz")
    before = path.read_bytes()
    data = hospitals(3, sizes, keep=folder)
    assert path.read_bytes() == before
    assert [len(np.unique(part.patient)) for part in (data.first, data.pool, data.test)] == [2, 4, 5]
    without, with_all = (member_logits(data, rows, seed=1) for rows in ([], range(16)))
    assert without.shape == (5, 16 + 15, 6)
    own = np.eye(6)[data.pool.y].astype(bool)
    assert np.exp(with_all[:, :16])[:, own].mean() > np.exp(without[:, :16])[:, own].mean()
    one_class = Hospitals(first=replace(data.first, y=np.full_like(data.first.y, 5)), pool=data.pool, test=data.test)
    assert (member_logits(one_class, [], seed=1).argmax(axis=2) == 5).all()


def test_labels_that_the_pool_does_not_have_are_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["review", "--patients", "4", "--windows", "4", "--batch", "8", "--labels", "16"])
    with pytest.raises(SystemExit):
        main()
    assert "nothing to choose from 16 windows" in capsys.readouterr().err
