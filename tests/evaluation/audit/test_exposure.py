"""What pretraining had seen of the test data: by subject, by recording under another salt, by site, or not known."""

from typing import Any

import pandas as pd
import pytest

from evaluation.audit.exposure import exposure, exposure_findings, overlap
from evaluation.schemas.origin import origin_of

FRAME = pd.DataFrame(
    {"window_key": ["w0", "w1", "w2"], "subject_id": ["s0", "s1", "s2"], "recording_id": ["r0", "r1", "r2"],
     "site_id": ["a", "a", "b"], "content_hash": ["h0", "h1", "h2"]}
)  # fmt: skip
SALTS = {"salt_id": "one", "pretrain_salt_id": "one"}
OTHER_SALT = {"salt_id": "one", "pretrain_salt_id": "two"}


@pytest.mark.parametrize(
    ("meta", "status", "code"),
    [
        ({}, "unknown", "pretraining_unknown"),
        ({"encoder": "random"}, "none", None),
        ({"pretrain_subjects": []}, "none", None),
        ({**SALTS, "pretrain_subjects": ["x"]}, "inductive", None),
        ({**SALTS, "pretrain_subjects": ["x", "s1"]}, "transductive", "pretraining_overlap"),
        # Under another salt ids mean nothing, equal or not; digests of files do.
        ({**OTHER_SALT, "pretrain_subjects": ["x"]}, "unknown", "pretraining_of_another_salt"),
        ({**OTHER_SALT, "pretrain_subjects": ["s1"]}, "unknown", "pretraining_of_another_salt"),
        ({**OTHER_SALT, "pretrain_subjects": ["x"], "pretrain_recordings": ["r9"]}, "inductive", None),
        ({**OTHER_SALT, "pretrain_subjects": ["x"], "pretrain_recordings": ["r1"]}, "transductive",
         "pretrained_recordings"),
        ({**SALTS, "pretrain_subjects": ["x"], "pretrain_sites": ["b", "c"]}, "transductive", "transductive_site"),
    ],
)  # fmt: skip
def test_status_and_finding_follow_the_metadata(meta: dict[str, Any], status: str, code: str | None) -> None:
    origin = origin_of(meta)
    assert exposure(FRAME, origin).status == status
    assert [finding.code for finding in exposure_findings(FRAME, origin)] == ([code] if code else [])


def test_counts_and_sites_are_those_of_what_was_seen() -> None:
    seen = exposure(FRAME, origin_of({**SALTS, "pretrain_subjects": ["s0", "s2"], "pretrain_recordings": ["r2"]}))
    assert (seen.n_subjects, seen.n_test_subjects, seen.n_recordings, seen.sites) == (2, 3, 1, ("a", "b"))


def test_a_label_source_that_nobody_knows_is_refused() -> None:
    assert origin_of({}).label_source == "unknown"
    with pytest.raises(ValueError, match="label_source 'oracle' is not one of experts, protocol, synthetic, unknown"):
        origin_of({"label_source": "oracle"})


def second(**columns: Any) -> pd.DataFrame:
    rows = {"window_key": ["v0", "v1"], "subject_id": ["t0", "t1"], "recording_id": ["q0", "q1"], "site_id": "z",
            "content_hash": ["g0", ""], **columns}  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("columns", "first_meta", "second_meta", "n_shared"),
    [
        ({}, {}, {}, 0),
        ({"subject_id": ["s1", "t1"]}, {}, {}, 1),
        ({"recording_id": ["q0", "r2"]}, {}, {}, 1),
        ({"window_key": ["w0", "w1"]}, {}, {}, 2),
        ({"content_hash": ["h1", ""]}, {}, {}, 1),  # the same samples under other names; flat windows mean nothing
        ({}, {"folds": [{"name": "f", "train_recordings": ["q1"]}]}, {}, 1),
        ({}, {}, {"folds": [{"name": "f", "train_subjects": ["t0", "t1"]}]}, 2),
        ({}, {}, {"pretrain_recordings": ["q0"]}, 1),
    ],
)
def test_a_second_data_set_is_compared_with_all_that_was_used(
    columns: dict[str, Any], first_meta: dict[str, Any], second_meta: dict[str, Any], n_shared: int
) -> None:
    shared = overlap(second(**columns), origin_of(second_meta), FRAME, origin_of(first_meta))
    assert shared.n_shared_windows == n_shared
    assert shared.n_windows == 2


def test_no_overlap_is_complete_only_where_training_and_pretraining_are_listed() -> None:
    listed = {"folds": [{"name": "test", "train_subjects": ["x"]}], "pretrain_subjects": []}
    for meta, complete in ((listed, True), ({**listed, "pretrain_subjects": None}, False), ({}, False)):
        assert overlap(second(), origin_of(meta), FRAME, origin_of({})).complete is complete


def test_encoders_that_were_pretrained_without_their_fold_have_seen_nothing_of_it() -> None:
    frame = FRAME.assign(fold=["a", "a", "b"])
    apart: list[dict[str, Any]] = [
        {"name": "a", "pretrain_subjects": ["s2"], "pretrain_recordings": ["r2"], "pretrain_sites": ["b"],
         "pretrain_salt_id": "one"},
        {"name": "b", "pretrain_subjects": ["s0", "s1"], "pretrain_recordings": ["r0", "r1"], "pretrain_sites": ["a"],
         "pretrain_salt_id": "one"},
    ]  # fmt: skip
    meta = {"encoder": "pretrained", "salt_id": "one", "pretrain_subjects": []}
    assert exposure(frame, origin_of({**meta, "folds": apart})).status == "inductive"
    # The same lists, exchanged: each encoder has seen exactly its own test side.
    swapped = [{**one, "name": other["name"]} for one, other in zip(apart, reversed(apart), strict=True)]
    seen = exposure(frame, origin_of({**meta, "folds": swapped}))
    assert (seen.status, seen.n_subjects, seen.n_recordings, seen.sites) == ("transductive", 3, 3, ("a", "b"))
    # A fold without an encoder of its own has that of the file.
    half = exposure(frame, origin_of({**meta, "pretrain_subjects": ["s2"], "folds": [apart[0], {"name": "b"}]}))
    assert (half.status, half.n_subjects) == ("transductive", 1)
