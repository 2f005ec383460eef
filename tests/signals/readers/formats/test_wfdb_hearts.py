"""WFDB records as hospitals and challenges write them, and headers that lie."""

import numpy as np
import pytest

from signals.modality import ECG_12
from signals.readers.formats import wfdb_records
from signals.readers.registry import open_recording, reopen_recording, source_files
from signals.recording.recording import UnreadableError
from synthetic.heart.files import write_record
from synthetic.heart.leads import generate

wfdb = pytest.importorskip("wfdb")


@pytest.fixture(scope="module")
def x():
    return generate(np.random.default_rng(0), "fibrillation").x_mv


@pytest.fixture
def record(tmp_path, x):
    return write_record(tmp_path / "r1.hea", x, sfreq=500.0, statements=["164889003", "39732003"], age=71)


def edited(path, old, new, *, count=-1):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, count))
    return path


def test_samples_leads_statements_and_age(record, x):
    recording = open_recording(str(record), keep=("age-group",))
    assert recording.ch_names == ECG_12.ch_names
    assert set(recording.sensor_types) == {"ecg"}
    np.testing.assert_allclose(recording.read(range(12)), x, atol=6e-4)  # half a step of 1000 per mV, in float32
    assert recording.label == "164889003;39732003"
    assert recording.details.age_group == "65-89"
    assert open_recording(str(record)).details.age_group == ""
    again = reopen_recording(str(record), recording.header)
    np.testing.assert_array_equal(again.read([3, 1]), recording.read([3, 1]))


def test_a_record_that_is_held_gives_what_ranges_of_the_file_give(record, monkeypatch):
    held = wfdb_records.open_wfdb(record)
    monkeypatch.setattr(wfdb_records, "_HELD", 0)
    ranged = wfdb_records.open_wfdb(record)
    for picks, start, stop in (([0, 11, 3], 0, 5000), ([5], 17, 18), ([2, 1], 4990, 5000), ([7], 40, 40)):
        samples = held.read_samples(picks, 0, start, stop)
        assert samples.shape == (len(picks), stop - start)
        np.testing.assert_array_equal(samples, ranged.read_samples(picks, 0, start, stop))
    reads = []
    monkeypatch.setattr(wfdb, "rdrecord", lambda *a, **k: reads.append(a))
    assert held.read_samples([4], 0, 0, 9).shape == (1, 9)  # nothing is read again
    assert not reads


def test_free_text_of_a_header_never_leaves_the_reader(record):
    with record.open("a") as file:
        file.write("#Name: Erika Mustermann\n#Dx: 426783006, Erika\n#Left ventricular hypertrophy (Dr. Doe)\n")
    recording = open_recording(str(record))
    assert recording.label == "164889003;39732003;426783006;164873001"
    assert "Erika" not in repr(recording)
    assert "Doe" not in repr(recording)


def test_a_record_of_the_challenges_and_its_older_header(tmp_path, x):
    steps = np.round(1000 * x).astype("<i2")
    (tmp_path / "E1.mat").write_bytes(b"\0" * 24 + steps.T.tobytes())
    rows = [f"E1.mat 16+24 1000/mv 16 0 {steps[i, 0]} 0 0 {name}" for i, name in enumerate(ECG_12.ch_names)]
    for name in ("E1", "E1.mat"):  # the older one calls the record by its sample file, which wfdb refuses
        (tmp_path / "E1.hea").write_text("\n".join([f"{name} 12 500 5000", *rows, "#Age: NaN", "#Dx: 426177001", ""]))
        recording = open_recording(str(tmp_path / "E1.hea"))
        np.testing.assert_allclose(recording.read(range(12)), steps / 1000, atol=1e-6)
        assert recording.label == "426177001"
        assert [file.name for file in source_files(tmp_path / "E1.hea")] == ["E1.hea", "E1.mat"]


def test_annotations_become_beats_and_rhythms(record):
    wfdb.wrann(
        "r1", "atr", np.array([10, 500, 900, 2000, 4000]), symbol=["+", "N", "V", "+", "N"],
        aux_note=["(AFIB", "", "", "(N", ""], write_dir=str(record.parent),
    )  # fmt: skip
    notes = open_recording(str(record)).annotations
    assert [(n.description, n.onset_s) for n in notes if n.duration_s == 0 and "rhythm" not in n.description] == [
        ("beat", 1.0), ("ventricular beat", 1.8), ("beat", 8.0),
    ]  # fmt: skip
    held = {n.description: (n.onset_s, n.duration_s) for n in notes if n.duration_s}
    assert held["atrial fibrillation"] == pytest.approx((0.02, 3.98))
    assert held["sinus rhythm"] == pytest.approx((4.0, 4.0))


@pytest.mark.parametrize("fmt", ["16", "80", "212", "24", "32"])
def test_formats_of_samples(tmp_path, x, fmt):
    path = write_record(tmp_path / "f.hea", x, sfreq=500.0, gain=40.0, fmt=fmt)
    np.testing.assert_allclose(open_recording(str(path)).read(range(12)), x, atol=0.5 / 40 + 1e-6)


def test_headers_that_lie_are_refused(record):
    for old, new, reason in (
        ("r1 12 500 5000", "r1 12 500 9000", "corrupt_header"),  # more samples than there are
        ("r1.dat 16", "r1.dat 24", "corrupt_header"),  # wider samples
        ("r1.dat 16", "r1.dat 212", "corrupt_header"),  # narrower ones: the first sample gives it away
        ("r1.dat", "r2.dat", "missing_file"),
        ("r1.dat", "../r1.dat", "unsupported_format|reader_crashed"),
        ("r1 12 500", "r1 12 -500", "corrupt_header"),
        ("r1 12 500", "r1 12 nan", "corrupt_header"),
    ):
        text = record.read_text()
        with pytest.raises(UnreadableError, match=f"^({reason})"):
            open_recording(str(edited(record, old, new)))
        record.write_text(text)
    (record.parent / "r1.dat").unlink()
    with pytest.raises(UnreadableError, match="^missing_file"):
        open_recording(str(record))


def test_more_samples_than_the_header_gives_are_left_aside_with_a_note(record, x):
    recording = open_recording(str(edited(record, "12 500 5000", "12 500 4000")))
    assert "trailing_bytes" in recording.notes
    assert recording.n_times(0) == 4000
    np.testing.assert_allclose(recording.read([1])[0], x[1, :4000], atol=6e-4)


def test_units_are_believed_and_a_lead_twice_is_noted(tmp_path, x):
    path = write_record(tmp_path / "u.hea", 1000 * x, sfreq=500.0, unit="uV", gain=1.0)
    np.testing.assert_allclose(open_recording(str(path)).read(range(12)), x, atol=6e-4)
    twice = write_record(tmp_path / "t.hea", x[[0, 0, 1]], sfreq=500.0, ch_names=["I", "IV", "II"])
    edited(twice, "IV", "I")
    assert "duplicate_labels" in open_recording(str(twice)).notes
