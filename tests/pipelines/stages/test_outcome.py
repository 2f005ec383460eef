import json

import pytest

from pipelines.intake.inputs import FileRef
from pipelines.report.advice import ADVICE
from pipelines.stages.outcome import FAULTS, REASONS, Refused
from signals.recording.recording import READ_REASONS
from signals.windows.labels import LABEL_REASONS, Label
from signals.windows.prepare import WINDOW_REASONS

REF = FileRef("/a/b.edf", "north", "Erika", 50.0, (Label(onset_s=5.0, label="LPD"),))
FILE = Refused(
    level="file", reason="too_short", detail="3 s", site_id="north", source_id="f" * 16, hours=0.5, uri="/a/b.edf",
    ref=REF,
)  # fmt: skip


def test_a_file():
    assert FILE.public_row() == {"file_id": "f" * 16, "hours": 0.5, "site_id": "north", "reason": "too_short"}
    row = FILE.private_row()
    assert json.loads(json.dumps(row)) | {"labels": None} == {
        "file": "/a/b.edf", "reason": "too_short", "detail": "3 s", "site_id": "north", "subject": "Erika",
        "mains_hz": 50.0, "labels": None, "file_id": "f" * 16, "hint": ADVICE["too_short"],
        "declared": {"layouts": [], "channel_map": None, "sensors": [], "reference": ""}, "file_order": None,
        "label_source": "unknown",
    }  # fmt: skip
    assert row["labels"][0]["label"] == "LPD"
    bare = Refused(level="file", reason="too_short", site_id="north", source_id="f" * 16)
    assert bare.private_row() == {
        "file": "", "reason": "too_short", "detail": "", "file_id": "f" * 16, "hint": ADVICE["too_short"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("level", "reason", "at"), [("label", "label_out_of_range", "onset_s"), ("window", "flat", "start_s")]
)
def test_labels_and_windows(level, reason, at):
    row = Refused(level=level, reason=reason, detail="d", site_id="s", source_id="r", at_s=7.5, uri="/a")
    assert row.public_row() == {"recording_id": "r", at: 7.5, "site_id": "s", "reason": reason}
    assert row.private_row() == {
        "file": "/a", "reason": reason, "detail": "d", "recording_id": "r", "site_id": "s", "at_s": 7.5,
        "hint": ADVICE[reason],
    }  # fmt: skip


@pytest.mark.parametrize(("level", "reason"), [("file", "flat"), ("label", "too_short"), ("window", "label_in_gap")])
def test_a_reason_of_another_level_is_refused(level, reason):
    with pytest.raises(ValueError, match=f"unknown reason code '{reason}' of a {level}"):
        Refused(level=level, reason=reason, site_id="s", source_id="r")


def test_reasons_of_each_level():
    assert set(REASONS) == {"file", "label", "window"}
    assert set(REASONS["file"]) == {*READ_REASONS, "duplicate_recording"}
    assert set(REASONS["label"]) == set(LABEL_REASONS)
    assert set(REASONS["window"]) == {*WINDOW_REASONS, *FAULTS}
    assert set(FAULTS) == {"unreadable_samples", "internal_error"}
    assert all(text.endswith(".") for reasons in REASONS.values() for text in reasons.values())
