import json

import numpy as np
import pyedflib
import pytest
from scipy.io import savemat

from pipelines.intake.inputs import find_inputs
from pipelines.intake.sites import SiteRule
from signals.readers.bids import bids_root, place_of
from signals.readers.registry import open_recording
from signals.recording.recording import Annotation
from signals.windows.plan import plan_recording
from signals.windows.profiles import PRETRAIN

NAMES = ["Fp1", "Fp2", "C3", "C4", "O1", "O2", "X1", "X2"]


def write_edf(path, *, units=("uV",) * 8):
    path.parent.mkdir(parents=True, exist_ok=True)
    x = 20 * np.random.default_rng(0).standard_normal((8, 2000))
    with pyedflib.EdfWriter(str(path), 8, file_type=pyedflib.FILETYPE_EDFPLUS) as writer:
        for i, (name, unit) in enumerate(zip(NAMES, units, strict=True)):
            limits = {"physical_min": -500.0, "physical_max": 500.0, "digital_min": -32768, "digital_max": 32767}
            writer.setSignalHeader(i, {"label": name, "dimension": unit, "sample_frequency": 100} | limits)
        writer.writeSamples(list(x))
        writer.writeAnnotation(1.0, 0, "spike")
    return x


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "ds-resting"
    folder = root / "sub-01" / "ses-a" / "eeg"
    path = folder / "sub-01_ses-a_task-rest_eeg.edf"
    write_edf(path)
    (root / "dataset_description.json").write_text(json.dumps({"Name": "Resting EEG", "BIDSVersion": "1.10.0"}))
    (root / "participants.tsv").write_text("participant_id\tage\tsex\nsub-01\t34\tF\nsub-02\t50\tM\n")
    # Inherited by all runs of the task; the nearer file overrides one key.
    (root / "task-rest_eeg.json").write_text(
        json.dumps({"PowerLineFrequency": 60, "EEGReference": "Cz", "SamplingFrequency": 100})
    )
    (folder / "sub-01_ses-a_task-rest_eeg.json").write_text(json.dumps({"PowerLineFrequency": 50}))
    (folder / "sub-01_ses-a_task-rest_channels.tsv").write_text(
        "name\ttype\tunits\tstatus\n"
        + "".join(f"{name}\tEEG\tuV\tgood\n" for name in NAMES[:5])
        + "O2\tEEG\tuV\tbad\nX1\tEOG\tuV\tgood\nX2\tECG\tuV\tn/a\n"
    )
    (folder / "sub-01_ses-a_task-rest_events.tsv").write_text(
        "onset\tduration\ttrial_type\tvalue\n2.5\t1\tEyes_closed\tn/a\n"
        "0.5\tn/a\tn/a\tT1\n4\t0\tErika asks for water\tn/a\n"
    )
    return path


def test_sidecars_are_understood(tree):
    recording = open_recording(str(tree))
    # X1 and X2 are named as nothing; O2 is bad, so it is left out and interpolated
    assert recording.sensor_types == ("eeg", "eeg", "eeg", "eeg", "eeg", "misc", "eog", "ecg")
    assert recording.annotations == (
        Annotation(0.5, 0.0, "T1"),
        Annotation(2.5, 1.0, "eyes closed"),
        Annotation(4.0, 0.0, "other"),
    )
    assert (recording.reference, recording.mains_hz) == ("Cz", 50.0)
    assert recording.notes == ("bids_bad_channels",)
    plan = plan_recording(recording, PRETRAIN, site_id="x", subject_id="x", source_sha256="0" * 64)
    assert plan.mains_hz == 50.0
    assert [recording.ch_names[pick] for pick in plan.picks] == ["Fp1", "Fp2", "C3", "C4", "O1"]


def test_an_ecg_by_sidecar_is_in_millivolts(tree):
    recording = open_recording(str(tree))
    in_uv = open_recording(str(tree)).read([6])  # EOG stays µV
    with pyedflib.EdfReader(str(tree)) as file:
        np.testing.assert_allclose(recording.read([7])[0], file.readSignal(7) * 1e-3, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(in_uv[0], file.readSignal(6), rtol=1e-6, atol=1e-6)


def test_units_come_from_the_table_only_where_the_header_has_none(tree):
    write_edf(tree, units=("", "uV", "mV", "uV", "uV", "uV", "uV", "uV"))
    table = tree.with_name("sub-01_ses-a_task-rest_channels.tsv")
    table.write_text("name\ttype\tunits\nFp1\tEEG\tmV\nFp2\tEEG\tuV\nC3\tEEG\tuV\n")
    recording = open_recording(str(tree))
    with pyedflib.EdfReader(str(tree)) as file:
        np.testing.assert_allclose(recording.read([0])[0], file.readSignal(0) * 1e3, rtol=1e-6, atol=1e-3)
        np.testing.assert_allclose(recording.read([2])[0], file.readSignal(2) * 1e3, rtol=1e-6, atol=1e-3)
    assert recording.notes == ("bids_units", "bids_unit_disagrees")


def test_a_format_without_units_is_in_microvolts(tmp_path):
    folder = tmp_path / "ds" / "sub-01" / "eeg"
    folder.mkdir(parents=True)
    locations = np.array([("Fp1", ""), ("pulse", "")], dtype=[("labels", object), ("type", object)])
    values = np.arange(100.0).reshape(2, 50)
    eeg = {"nbchan": 2, "pnts": 50, "trials": 1, "srate": 50, "data": values, "chanlocs": locations}
    savemat(folder / "sub-01_task-rest_eeg.set", {"EEG": eeg})
    path = str(folder / "sub-01_task-rest_eeg.set")
    table = folder / "sub-01_task-rest_channels.tsv"
    table.write_text("name\ttype\tunits\nFp1\tEEG\tuV\npulse\tECG\tuV\n")
    recording = open_recording(path)
    assert (recording.sensor_types, recording.notes) == (("eeg", "ecg"), ())
    np.testing.assert_allclose(recording.read([1, 0]), values[::-1] * [[1e-3], [1.0]], rtol=1e-6)
    table.write_text("name\ttype\tunits\nFp1\tEEG\tmV\n")
    recording = open_recording(path)
    assert recording.notes == ("bids_unit_disagrees",)
    assert np.array_equal(recording.read([0]), values[:1].astype(np.float32))


@pytest.mark.parametrize(("about", "sfreq_note", "mains_hz"), [
    ({"SamplingFrequency": 100.05, "PowerLineFrequency": 60}, [], 60.0),
    ({"SamplingFrequency": 100.2}, ["bids_sfreq_disagrees"], 50.0),
    ({"SamplingFrequency": "n/a", "PowerLineFrequency": 55}, [], None),
    ({"PowerLineFrequency": "n/a"}, [], None),
])  # fmt: skip
def test_rate_and_mains_of_the_sidecar(tree, about, sfreq_note, mains_hz):
    tree.with_name("sub-01_ses-a_task-rest_eeg.json").write_text(json.dumps({"PowerLineFrequency": 50} | about))
    recording = open_recording(str(tree))
    assert [note for note in recording.notes if "sfreq" in note] == sfreq_note
    assert recording.mains_hz == mains_hz


def test_site_and_subject_come_from_the_tree(tree):
    (file,) = find_inputs([str(tree.parents[3])], None, sites=SiteRule(source="bids")).files
    assert (file.site_id, file.subject) == ("resting-eeg", "sub-01")
    root = tree.parents[3]
    (root / "participants.tsv").write_text("participant_id\tsite\nsub-01\tUlm West\n")
    assert find_inputs([str(root)], None, sites=SiteRule(source="bids")).files[0].site_id == "ulm-west"
    (root / "participants.tsv").unlink()
    (root / "dataset_description.json").unlink()
    assert find_inputs([str(root)], None, sites=SiteRule(source="bids")).files[0].site_id == "ds-resting"


def test_a_file_elsewhere_has_no_place(tmp_path):
    for name in ("x.edf", "sub-01/y_eeg.edf", "sub-01/sub-02_eeg.edf", "sub-01_eeg.edf", "sub-01/sub-01_meg.fif"):
        assert bids_root(tmp_path / name) is None
        assert place_of(tmp_path / name) is None


def test_sidecars_of_other_runs_do_not_speak(tree):
    other = tree.with_name("sub-01_ses-a_task-rest_run-2_events.tsv")
    other.write_text("onset\tduration\ttrial_type\n9\t0\tseizure\n")
    assert "seizure" not in [a.description for a in open_recording(str(tree)).annotations]


@pytest.mark.parametrize(
    ("suffix", "content", "note"),
    [
        ("eeg.json", b"{not json", "bids_sidecar_unreadable"),
        ("eeg.json", b"[1, 2]", "bids_sidecar_unreadable"),
        ("channels.tsv", b"name\ttype\n\xff\xfe\tEEG\n", "bids_sidecar_unreadable"),
        ("channels.tsv", b"name\ttype\nT9\tEEG\n", "bids_channels_unmatched"),
        ("eeg.json", b'{"SamplingFrequency": 512}', "bids_sfreq_disagrees"),
    ],
)
def test_a_sidecar_that_cannot_be_used_is_a_note(tree, suffix, content, note):
    tree.with_name(f"sub-01_ses-a_task-rest_{suffix}").write_bytes(content)
    recording = open_recording(str(tree))
    assert note in recording.notes
    assert recording.read([0]).shape == (1, 2000)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("EEG", "eeg"), ("eog", "eog"), ("VEOG", "eog"), ("HEOG", "eog"), ("ECG", "ecg"), ("EMG", "emg"),
        ("RESP", "resp"), ("TRIG", "stim"), ("MISC", "misc"), ("REF", "misc"), ("GSR", "misc"), (" eog ", "eog"),
        ("n/a", "eeg"), ("", "eeg"),
    ],
)  # fmt: skip
def test_types_of_the_channel_table(tree, kind, expected):
    table = next(tree.parent.glob("*_channels.tsv"))
    table.write_text(f"name\ttype\tunits\tstatus\nFp1\t{kind}\tuV\tgood\n")
    assert open_recording(str(tree)).sensor_types[0] == expected


@pytest.mark.parametrize(
    ("status", "is_left_out"), [("bad", True), (" BAD ", True), ("good", False), ("n/a", False), ("badly", False)]
)
def test_bad_channels_of_the_channel_table(tree, status, is_left_out):
    table = next(tree.parent.glob("*_channels.tsv"))
    table.write_text(f"name\ttype\tunits\tstatus\nFp1\tEEG\tuV\t{status}\n")
    recording = open_recording(str(tree))
    assert recording.sensor_types[0] == ("misc" if is_left_out else "eeg")
    assert ("bids_bad_channels" in recording.notes) == is_left_out


@pytest.mark.parametrize(
    ("onset", "duration", "expected"),
    [("1.5", "2", (1.5, 2.0)), ("0", "-1", (0.0, 0.0)), ("1", "n/a", (1.0, 0.0)), ("1", "inf", (1.0, 0.0)),
     ("n/a", "1", None), ("nan", "1", None), ("", "1", None)],
)  # fmt: skip
def test_events_need_an_onset(tree, onset, duration, expected):
    table = next(tree.parent.glob("*_events.tsv"))
    table.write_text(f"onset\tduration\ttrial_type\n{onset}\t{duration}\tseizure\n9\t0\tblink\n")
    first, *rest = open_recording(str(tree)).annotations
    if expected is None:
        assert (first.onset_s, rest) == (9.0, [])
    else:
        assert (first.onset_s, first.duration_s, first.description) == (*expected, "seizure")
