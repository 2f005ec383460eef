import csv
import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from signals.readers.delimited import CsvForm, declare, openbci_form
from signals.readers.registry import open_recording
from signals.recording.recording import Segment, UnreadableError

REAL_DATA = os.environ.get("CEREBEAM_REAL_DATA", "")
NAMES = ["AF3", "AF4", "F3", "F4", "F7", "F8", "FC5", "FC6", "O1", "O2", "P7", "P8", "T7", "T8"]


def write(path, rows, counters=None):
    counters = range(len(rows)) if counters is None else counters
    lines = [",".join(f'"{name}"' for name in ["", *NAMES, "COUNTER", "CQ_AF3"])]
    lines += [",".join(['"1"', *map(str, row), str(counter), "4"]) for row, counter in zip(rows, counters, strict=True)]
    text = "\n".join(lines) + "\n"
    with gzip.open(path, "wt") if path.suffix == ".gz" else path.open("w") as file:
        file.write(text)
    return str(path)


@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz"])
def test_columns_are_found_by_name(tmp_path, name):
    rows = [[4200 + 100 * t + i for i in range(14)] for t in range(129)]
    recording = open_recording(write(tmp_path / name, rows))
    assert recording.ch_names[:2] == ("AF3", "F7")
    assert recording.notes == ("dc_offset",)
    assert recording.read([1], start=2, stop=4).tolist() == [[4404.0, 4504.0]]  # F7 is the fifth column


def test_a_jump_of_the_counter_is_a_gap(tmp_path):
    counters = [126, 127, 128, 0, 3, 4]  # 1 and 2 are missing
    recording = open_recording(write(tmp_path / "x.csv", [[t] * 14 for t in range(6)], counters))
    assert recording.segments == (Segment(0.0, 4 / 128), Segment(6 / 128, 2 / 128))
    assert recording.read([0], segment=1).tolist() == [[4.0, 5.0]]


def test_empty_cells_are_nan_and_words_are_refused(tmp_path):
    recording = open_recording(write(tmp_path / "x.csv", [["NA"] * 13 + [1.5], [""] * 13 + [2.5]]))
    assert np.isnan(recording.read([0])).all()
    assert recording.read([9]).tolist() == [[1.5, 2.5]]  # T8 is the last column
    with pytest.raises(UnreadableError, match="corrupt_header"):
        open_recording(write(tmp_path / "y.csv", [["word"] * 14]))
    with pytest.raises(UnreadableError, match="no_samples"):
        open_recording(write(tmp_path / "z.csv", []))


def test_a_cut_gzip_is_refused(tmp_path):
    path = Path(write(tmp_path / "x.csv.gz", [[t * 1.234] * 14 for t in range(500)]))
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(UnreadableError, match="not_what_it_says"):
        open_recording(str(path))


OPENBCI = """%OpenBCI Raw EXG Data
%Number of channels = 4
%Sample Rate = {rate} Hz
%Board = OpenBCI_GUI$BoardCytonSerial
Sample Index, EXG Channel 0, EXG Channel 1, EXG Channel 2, EXG Channel 3, Accel Channel 0, Timestamp (Formatted)
{rows}"""


@pytest.fixture
def declared(monkeypatch):
    """Forms declared in a test stay in it."""
    monkeypatch.setattr("signals.readers.delimited._declared", {})


def write_openbci(path, *, rate=250, indices=(254, 255, 0, 3)):
    rows = "".join(f"{i}, {k}.5, -2.0, 3.0, 4e1, 0.01, 2026-11-21 10:00:00.{k:03d}\n" for k, i in enumerate(indices))
    path.parent.mkdir(exist_ok=True)
    path.write_text(OPENBCI.format(rate=rate, rows=rows))
    return str(path)


@pytest.mark.parametrize("name", ["x.txt", "x.csv"])
def test_a_declared_wiring_makes_openbci_readable(tmp_path, declared, name):
    path = write_openbci(tmp_path / "lab" / name)
    with pytest.raises(UnreadableError, match="no declared form fits its 7 columns"):
        open_recording(path)
    declare(openbci_form("lab-cyton", ("Fp1", "Fp2", "C3", "C4"), pattern="*/lab/*"))
    recording = open_recording(path)
    assert recording.reader == "csv/lab-cyton"
    assert recording.ch_names == ("Fp1", "Fp2", "C3", "C4")
    # indices 1 and 2 of 0-255 are missing: two samples at 250 Hz
    assert recording.segments == (Segment(0.0, 3 / 250), Segment(5 / 250, 1 / 250))
    assert recording.read([0, 3]).tolist() == [[0.5, 1.5, 2.5], [40.0, 40.0, 40.0]]
    with pytest.raises(UnreadableError, match="no declared form"):
        open_recording(write_openbci(tmp_path / "another-lab" / name))
    with pytest.raises(UnreadableError, match="it says 125 Hz, the form lab-cyton 250 Hz"):
        open_recording(write_openbci(tmp_path / "lab" / name, rate=125))


def test_a_file_with_exactly_the_columns_of_a_form(tmp_path, declared):
    declare(CsvForm(name="bare", columns=(("a", "Cz"), ("b", "ECG")), sfreq=10.0, unit="mV", signature=("t",)))
    path = tmp_path / "x.csv"
    path.write_text('\ufeff"t", "b" ,a\n0,2,1\n1,4,3\n', encoding="utf-8")
    recording = open_recording(str(path))
    assert (recording.ch_names, recording.sensor_types, recording.notes) == (("Cz", "ECG"), ("eeg", "ecg"), ())
    # mV are 1000 µV; the ECG stays in mV. Without a counter nothing is known to be missing.
    assert recording.read([0, 1]).tolist() == [[1000.0, 3000.0], [2.0, 4.0]]
    assert recording.segments == (Segment(0.0, 0.2),)
    path.write_text("b,a\n2,1\n")
    with pytest.raises(UnreadableError, match="no declared form fits its 2 columns"):
        open_recording(str(path))


def test_a_rate_is_read_from_comments_only(tmp_path, declared):
    declare(openbci_form("lab-cyton", ("Fp1", "Fp2", "C3", "C4"), pattern="*/lab/*"))
    path = Path(write_openbci(tmp_path / "lab" / "x.csv"))
    text = path.read_text()
    path.write_text(text.replace("%Sample Rate = 250 Hz\n", ""))
    assert open_recording(str(path)).sfreqs[0] == 250.0
    path.write_text(text.replace("Accel Channel 0", "% sample rate = 125").partition("\n%Board")[2].partition("\n")[2])
    assert open_recording(str(path)).sfreqs[0] == 250.0


@pytest.mark.parametrize(
    ("lost", "counters"), [(0, (127, 128, 0)), (1, (127, 0, 1)), (128, (5, 5, 6)), (2, (7, 10, 11))]
)
def test_a_counter_runs_from_0_to_128(tmp_path, lost, counters):
    recording = open_recording(write(tmp_path / "x.csv", [[t] * 14 for t in range(3)], counters))
    # A counter that stands still has gone once round, as far as the file tells.
    expected = [Segment(0.0, 3 / 128)] if not lost else [Segment(0.0, 1 / 128), Segment((1 + lost) / 128, 2 / 128)]
    assert list(recording.segments) == expected


def test_two_forms_cannot_share_a_name(declared):
    form = openbci_form("a", ("Fp1",), pattern="*/a/*")
    declare(form)
    declare(form)
    with pytest.raises(ValueError, match="another csv form is called 'a'"):
        declare(openbci_form("a", ("Fp2",), pattern="*/a/*"))
    with pytest.raises(ValueError, match="'emotiv-epoc'"):
        declare(openbci_form("emotiv-epoc", ("Fp2",), pattern="*"))
    with pytest.raises(ValueError, match="needs columns"):
        CsvForm(name="b", columns=(), sfreq=1.0, unit="", signature=())


def test_other_text_files_are_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(UnreadableError, match="unsupported_format: no reader for .txt: text without a declared form"):
        open_recording(str(tmp_path / "notes.txt"))


@pytest.mark.skipif(not Path(REAL_DATA, "real").is_dir(), reason="CEREBEAM_REAL_DATA is not set")
def test_a_real_file_equals_the_csv_module():
    path = Path(REAL_DATA, "real/bissau-emotiv/signal-7.csv.gz")
    recording = open_recording(str(path))
    with gzip.open(path, "rt") as file:
        rows = list(csv.DictReader(file))
    # its counter jumps by 3 once: two samples were lost
    assert len(recording.segments) == 2
    assert recording.segments[1].onset_s == pytest.approx(recording.segments[0].duration_s + 2 / 128)
    ours = np.concatenate([recording.read([0, 13], segment=s) for s in (0, 1)], axis=1)
    wanted = np.array([[float(row["AF3"]), float(row["AF4"])] for row in rows], dtype=np.float32).T
    assert np.array_equal(ours, wanted)
