import hashlib
import logging
from dataclasses import replace

import pytest

from pipelines.intake.inputs import FileRef
from pipelines.stages import plan_files
from pipelines.stages.outcome import Refused
from pipelines.stages.plan_files import Accepted, plan_file
from signals.readers.remote import TransferError
from signals.recording.identity import hash_file, hash_subject
from signals.windows.labels import Label
from signals.windows.profiles import PRETRAIN, SIX_CLASS


def planned(path, mains_hz=None):
    ref = FileRef(str(path), "north", "Erika Mustermann", mains_hz, ())
    return plan_file(ref, PRETRAIN, "secret").file


def test_a_fault_of_ours_is_reported_without_path_or_name(clinics, monkeypatch, caplog):
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


def test_mains_are_detected_only_where_nobody_states_them(clinics, tmp_path):
    path = clinics / "north" / "north0.edf"
    given = planned(path, 50.0)
    assert isinstance(given, Accepted)
    assert (given.mains_hz, given.mains_detected) == (50.0, False)
    (tmp_path / "sub-01").mkdir()
    bids = path.rename(tmp_path / "sub-01" / "sub-01_task-rest_eeg.edf")
    bids.with_name("sub-01_task-rest_eeg.json").write_text('{"PowerLineFrequency": 60}')
    from_bids = planned(bids)
    assert (from_bids.mains_hz, from_bids.mains_detected) == (60.0, False)


def test_every_field_of_an_accepted_file(clinics):
    """65 s at 200 Hz, 19 electrodes, in tiles of 10 s; two of three labels of the whole recording are one."""
    path = clinics / "north" / "north0.edf"
    labels = (Label(onset_s=None, label="rest"), Label(onset_s=None, label="rest"))
    ref = FileRef(str(path), "north", "Erika", 50.0, labels)
    planned_file = plan_file(ref, PRETRAIN, "secret")
    file = planned_file.file
    (block,) = planned_file.blocks
    plan = block.plan
    sha = hashlib.sha256(path.read_bytes()).hexdigest()
    assert file == Accepted(
        site_id="north", recording_id=sha[:16], reader="edf", native_sfreq=200.0, n_channels=19, n_windows=6,
        hours=65 / 3600, mains_hz=50.0, notes=plan.notes, file_id=hash_file(str(path), salt="secret"),
        mains_detected=False, amplitude_uv=file.amplitude_uv, hours_covered=60 / 3600, source_reference="ref",
        reference="average", bad_channels=plan.bad_channels, events={}, n_labels=2, n_labels_merged=1,
        subject_known=True,
    )  # fmt: skip
    # White noise with a 1/f spectrum: electrodes agree with none of their neighbours.
    assert (file.notes, len(file.bad_channels)) == (("bad_channels_kept",), len(plan.bad_channels))
    assert 5 < file.amplitude_uv < 30
    assert (plan.site_id, plan.source_sha256, plan.mains_hz, plan.uri) == ("north", sha, 50.0, str(path))
    assert plan.subject_id == hash_subject("north", "Erika", salt="secret")
    assert [start.label.label for start in block.starts] == ["rest"] * 6
    assert planned_file.labels == ()


def test_refused_labels_are_rows_of_their_own(clinics):
    path = clinics / "north" / "north0.edf"
    labels = (Label(onset_s=5.0, label="LPD"), Label(onset_s=60.0, label="GPD"))
    planned_file = plan_file(FileRef(str(path), "north", "", None, labels), SIX_CLASS, "secret")
    (row,) = planned_file.labels
    assert (row.level, row.reason, row.at_s, row.uri) == ("label", "label_out_of_range", 60.0, str(path))
    assert (row.site_id, row.source_id) == ("north", planned_file.file.recording_id)
    assert "60.0 s of 65.0 s" in row.detail
    assert (planned_file.file.n_labels, planned_file.file.n_labels_merged, planned_file.file.n_windows) == (2, 0, 1)


def test_a_file_that_opens_but_cannot_be_used_has_its_length(clinics):
    path = clinics / "north" / "north0.edf"
    ref = FileRef(str(path), "north", "Erika", 50.0, (Label(onset_s=60.0, label="GPD"),))
    row = plan_file(ref, SIX_CLASS, "secret").file
    assert (row.level, row.reason, row.hours) == ("file", "label_out_of_range", 65 / 3600)
    assert (row.site_id, row.source_id) == ("north", hash_file(str(path), salt="secret"))
    assert (row.uri, row.ref) == (str(path), ref)
    broken = plan_file(FileRef(str(clinics / "south" / "broken.edf"), "south", "", None, ()), PRETRAIN, "secret").file
    assert (broken.reason, broken.hours) == ("corrupt_header", None)


@pytest.mark.parametrize(
    ("given", "of_header", "wanted"),
    [
        ("Anna", "MRN-1", "Anna"), ("", "MRN-1", "MRN-1"), ("unknown", "MRN-1", "MRN-1"), ("Unknown", "MRN-1", "MRN-1"),
        ("", "anonymous", None), ("", "X", None), ("unknown", "Unknown Patient", None), ("", "", None),
    ],
)  # fmt: skip
def test_who_a_recording_is_of(clinics, monkeypatch, given, of_header, wanted):
    path = clinics / "north" / "north0.edf"
    real = plan_files.open_recording
    monkeypatch.setattr(plan_files, "open_recording", lambda uri, **how: replace(real(uri, **how), patient=of_header))
    planned_file = plan_file(FileRef(str(path), "north", given, 50.0, ()), PRETRAIN, "secret")
    sha = hashlib.sha256(path.read_bytes()).hexdigest()
    id_of = hash_subject("north", wanted or sha, salt="secret")
    assert planned_file.blocks[0].plan.subject_id == (id_of if wanted else f"unknown-{id_of}")
    assert planned_file.file.subject_known == (wanted is not None)


def test_a_transfer_that_failed_is_not_quarantined(clinics, monkeypatch):
    def failing(uri, **how):
        raise TransferError("gone for now")

    monkeypatch.setattr(plan_files, "open_recording", failing)
    with pytest.raises(TransferError):
        planned(clinics / "north" / "north0.edf")
