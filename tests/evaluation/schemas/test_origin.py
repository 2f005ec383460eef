"""Each entry of a file's metadata is one of the origin, and nothing else of it changes."""

from dataclasses import asdict
from typing import Any

import pytest

from evaluation.schemas.origin import Origin, origin_of

FOLD = {
    "name": "f", "train_subjects": ["a"], "test_subjects": ["b"], "train_recordings": ["c"], "test_recordings": ["d"],
    "pretrain_subjects": ["e"], "pretrain_recordings": ["g"], "pretrain_sites": ["h"], "pretrain_salt_id": "i",
}  # fmt: skip
WHOLE: dict[str, Any] = {
    "grouping": "site", "label_source": "experts", "encoder": "random", "salt_id": "j", "split_digest": "k",
    "manifest_digest": "l", "folds": [FOLD], "pretrain_subjects": ["m"], "pretrain_recordings": ["n"],
    "pretrain_sites": ["o"], "pretrain_salt_id": "p", "train_salt_id": "q",
}  # fmt: skip


def plain(entries: dict[str, Any]) -> dict[str, Any]:
    return {key: sorted(value) if isinstance(value, frozenset) else value for key, value in entries.items()}


def test_what_is_stated_is_what_is_held() -> None:
    entries = asdict(origin_of(WHOLE))
    [fold] = entries.pop("folds")
    assert plain(fold) == FOLD
    assert plain(entries) == {key: value for key, value in WHOLE.items() if key != "folds"}


@pytest.mark.parametrize("entry", sorted(WHOLE))
def test_an_entry_alone_leaves_the_others_as_they_are_without_any(entry: str) -> None:
    nothing, alone = asdict(Origin()), asdict(origin_of({entry: WHOLE[entry]}))
    assert {key for key in nothing if nothing[key] != alone[key]} == {entry}
    assert asdict(origin_of({entry: None})) == nothing


@pytest.mark.parametrize("entry", sorted(set(FOLD) - {"name"}))
def test_an_entry_of_a_fold_is_none_of_another(entry: str) -> None:
    [nothing], [alone] = (
        origin_of({"folds": [one]}).folds for one in ({"name": "f"}, {"name": "f", entry: FOLD[entry]})
    )
    before, after = asdict(nothing), asdict(alone)
    assert {key for key in before if before[key] != after[key]} == {entry}
    assert alone.has_own_encoder is (entry in ("pretrain_subjects", "pretrain_recordings"))


def test_an_origin_of_a_fold_has_that_folds_encoder_and_all_else_of_the_file() -> None:
    whole = origin_of(WHOLE)
    own = {"pretrain_subjects": ["e"], "pretrain_recordings": ["g"], "pretrain_sites": ["h"], "pretrain_salt_id": "i"}
    assert whole.of_fold(whole.folds[0]) == origin_of({**WHOLE, **own})


def test_training_is_that_of_all_folds() -> None:
    folds = [FOLD, {**FOLD, "train_subjects": ["x"], "train_recordings": ["y", "z"]}]
    origin = origin_of({"folds": folds})
    assert (origin.trained_subjects, origin.trained_recordings) == ({"a", "x"}, {"c", "y", "z"})


@pytest.mark.parametrize(
    ("meta", "lists"),
    [
        ({}, False),
        ({"salt_id": "s", "train_salt_id": "s"}, False),  # of no folds nothing is listed
        ({"folds": [{"name": "f"}]}, True),
        ({"folds": [{"name": "f"}], "salt_id": "s", "train_salt_id": "s"}, True),
        ({"folds": [{"name": "f"}], "salt_id": "s", "train_salt_id": "t"}, False),
        ({"folds": [{"name": "f", "train_recordings": ["r"]}], "salt_id": "s", "train_salt_id": "t"}, True),
    ],
)
def test_training_is_listed_where_ids_or_recordings_can_be_compared(meta: dict[str, Any], lists: bool) -> None:
    assert origin_of(meta).lists_training is lists


@pytest.mark.parametrize(
    ("ours", "theirs", "same"),
    [("", "", None), ("a", "", None), ("", "a", None), ("a", "a", True), ("a", "b", False)],
)
def test_salts_are_compared_where_both_are_known(ours: str, theirs: str, same: bool | None) -> None:
    assert origin_of({"salt_id": ours, "pretrain_salt_id": theirs}).same_salt is same
