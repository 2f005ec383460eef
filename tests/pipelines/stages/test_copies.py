from dataclasses import dataclass, replace

import pytest

from pipelines.runs.accounting import COPY
from pipelines.stages.copies import is_used, of_several, ranked, without_copies
from pipelines.stages.plan_files import Accepted
from signals.recording.identity import hash_file

FILE = Accepted(
    site_id="north", recording_id="r" * 16, reader="edf", native_sfreq=200.0, n_channels=19, n_windows=6, hours=0.25,
    mains_hz=None, notes=("gaps",), file_id="b", mains_detected=False, amplitude_uv=None, hours_covered=0.2, n_labels=2,
)  # fmt: skip


@pytest.mark.parametrize(
    ("change", "is_preferred"),
    [
        ({"subject_known": False, "n_labels": 9}, False),  # a person that is known goes before labels
        ({"n_labels": 3}, True),
        ({"n_labels": 1}, False),
        ({"file_id": "a"}, True),
        ({"file_id": "c"}, False),
    ],
)
def test_which_of_two_is_used(change, is_preferred):
    other = replace(FILE, **{"file_id": "z"} | change)
    key, ranks = FILE.recording_id, [ranked(FILE)[1], ranked(other)[1]]
    for order in (ranks, ranks[::-1]):
        assert list(of_several((key, order))) == [(key, other.file_id if is_preferred else "b")]
    assert ranked(FILE)[0] == key


def test_one_alone_needs_no_decision():
    assert list(of_several(("r", [ranked(FILE)[1]]))) == []


def test_copies_are_set_apart_and_noted():
    copy, alone = replace(FILE, file_id="c", site_id="south", hours=0.5), replace(FILE, recording_id="q", file_id="d")
    kept, copies = without_copies([copy, FILE, alone], {FILE.recording_id: "b"})
    assert kept == [replace(FILE, notes=("gaps", "copies_left_out")), alone]
    (refused,) = copies
    assert (refused.level, refused.reason, refused.site_id, refused.source_id, refused.hours) == (
        "file", COPY, "south", "c", 0.5,
    )  # fmt: skip


@dataclass(frozen=True)
class Block:
    """Stands for a block of a recording."""

    uri: str
    recording_id: str = "r"

    @property
    def plan(self):
        return self


def test_blocks_of_copies_are_left_out():
    used = {"r": hash_file("/a", salt="s")}
    assert is_used(Block("/a"), used, "s")
    assert not is_used(Block("/b"), used, "s")
    assert not is_used(Block("/a"), used, "t")
    assert is_used(Block("/b", "q"), used, "s")
