import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.corpus.splits import describe, hold_out, hold_out_subjects, site_folds, split_digest, subject_folds


@settings(max_examples=50, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), min_size=20, max_size=80),
    n_folds=st.integers(2, 4),
    seed=st.integers(0, 99),
)
def test_no_subject_lies_on_two_sides(rows: list[tuple[int, int]], n_folds: int, seed: int) -> None:
    subjects, labels = np.array([f"s{s}" for s, _ in rows]), np.array([label for _, label in rows])
    if len(set(subjects)) < n_folds:
        return
    folds = subject_folds(subjects, labels, n_folds=n_folds, seed=seed)
    assert sorted(np.concatenate([fold.test for fold in folds])) == list(range(len(rows)))
    for fold in folds:
        assert len(fold.test)
        assert not set(subjects[fold.train]) & set(subjects[fold.test])
        assert len(fold.train) + len(fold.test) == len(rows)


def test_classes_are_spread_evenly() -> None:
    subjects = np.repeat([f"s{i:02d}" for i in range(24)], 5)
    labels = np.repeat(np.arange(24) % 3, 5)
    for fold in subject_folds(subjects, labels, n_folds=4, seed=0):
        # 120 windows of 3 classes over 4 folds: 10 of each class
        assert np.bincount(labels[fold.test]).tolist() == [10, 10, 10]


def test_site_folds_leave_whole_sites_out() -> None:
    sites, subjects = np.array(["a", "a", "b", "c"]), np.array(["1", "2", "3", "4"])
    folds = site_folds(sites, subjects)
    assert [(fold.name, fold.test.tolist(), fold.train.tolist()) for fold in folds] == [
        ("a", [0, 1], [2, 3]),
        ("b", [2], [0, 1, 3]),
        ("c", [3], [0, 1, 2]),
    ]
    with pytest.raises(ValueError, match="subject 1 was seen at the sites"):
        site_folds(sites, np.array(["1", "2", "1", "4"]))
    with pytest.raises(ValueError, match="at least 2 sites"):
        site_folds(sites[:2], subjects[:2])


def test_too_many_folds_and_a_lone_subject_are_refused() -> None:
    with pytest.raises(ValueError, match="folds=3"):
        subject_folds(np.array(["a", "b"]), np.array([0, 1]), n_folds=3, seed=0)
    with pytest.raises(ValueError, match="at least 2 subjects"):
        hold_out_subjects(np.array(["a", "a"]), np.array([0, 1]), share=0.2, seed=0)


def test_digest_names_the_split() -> None:
    subjects, recordings = np.array(["a", "b", "c"]), np.array(["r1", "r2", "r3"])
    descriptions = [
        describe(subject_folds(subjects, np.zeros(3, int), n_folds=n, seed=0), subjects, recordings) for n in (2, 3)
    ]
    assert descriptions[1][0]["test_subjects"] != descriptions[1][1]["test_subjects"]
    assert split_digest(descriptions[0]) == split_digest(descriptions[0])
    assert split_digest(descriptions[0]) != split_digest(descriptions[1])


def test_held_out_subjects_are_whole() -> None:
    subjects = [f"s{i // 3}" for i in range(36)]
    train, held_out = hold_out(subjects, share=0.25, seed=0)
    assert len({subjects[i] for i in held_out}) == 3
    assert not {subjects[i] for i in train} & {subjects[i] for i in held_out}
    with pytest.raises(ValueError, match="at least 2 subjects"):
        hold_out(subjects[:1], share=0.2, seed=0)
