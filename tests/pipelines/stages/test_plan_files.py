import logging

from pipelines.intake.inputs import FileRef
from pipelines.stages import plan_files
from pipelines.stages.outcome import Refused
from pipelines.stages.plan_files import Accepted, plan_file
from signals.windows.profiles import PRETRAIN


def planned(path, mains_hz=None):
    ref = FileRef(str(path), "north", "Erika Mustermann", mains_hz, ())
    return plan_file(ref, PRETRAIN, "secret").file


def test_a_fault_of_ours_is_told_without_path_or_name(clinics, monkeypatch, caplog):
    path = clinics / "north" / "north0.edf"

    def failing(recording, *_, **__):
        raise LookupError(f"{recording.uri}: {recording.patient}")

    monkeypatch.setattr(plan_files, "plan_recording", failing)
    with caplog.at_level(logging.INFO):
        row = planned(path)
    assert isinstance(row, Refused)
    assert row.reason == "internal_error"
    assert row.detail.startswith(f"LookupError: {path}")  # for the private list
    assert "planning failed: LookupError" in caplog.text
    assert "in failing" in caplog.text  # where it happened
    logged = caplog.text.lower()
    assert not [word for word in ("mustermann", "erika", "mrn", "north0", str(clinics)) if word in logged]


def test_mains_are_detected_only_where_nobody_says_them(clinics, tmp_path):
    path = clinics / "north" / "north0.edf"
    given = planned(path, 50.0)
    assert isinstance(given, Accepted)
    assert (given.mains_hz, given.mains_detected) == (50.0, False)
    (tmp_path / "sub-01").mkdir()
    bids = path.rename(tmp_path / "sub-01" / "sub-01_task-rest_eeg.edf")
    bids.with_name("sub-01_task-rest_eeg.json").write_text('{"PowerLineFrequency": 60}')
    from_bids = planned(bids)
    assert (from_bids.mains_hz, from_bids.mains_detected) == (60.0, False)
