import csv
import gzip
import os
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from signals.readers.declaration import Declaration
from signals.readers.layouts.known import LAYOUTS, openbci_layout, openbci_old_layout
from signals.readers.layouts.layout import Layout
from signals.readers.registry import open_recording
from signals.recording.recording import Segment, UnreadableError

REAL_DATA = os.environ.get("CEREBEAM_REAL_DATA", "")
CYTON = openbci_layout("lab-cyton", ("Fp1", "Fp2", "C3", "C4"))
NAMES = ["AF3", "AF4", "F3", "F4", "F7", "F8", "FC5", "FC6", "O1", "O2", "P7", "P8", "T7", "T8"]


def by(layout, path):
    """Open a file by a layout of a site's own."""
    return open_recording(str(path), declared=Declaration(layouts=(layout,)))


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


def test_a_packet_that_comes_twice_is_no_gap(tmp_path):
    # The difference of 0 once counted as a whole period of 129 lost packets but one: a pause of a second.
    recording = open_recording(write(tmp_path / "x.csv", [[t] * 14 for t in range(6)], [5, 6, 6, 7, 8, 11]))
    assert recording.segments == (Segment(0.0, 5 / 128), Segment(7 / 128, 1 / 128))


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


def write_openbci(path, *, rate=250, indices=(254, 255, 0, 3)):
    rows = "".join(f"{i}, {k}.5, -2.0, 3.0, 4e1, 0.01, 2026-11-21 10:00:00.{k:03d}\n" for k, i in enumerate(indices))
    path.parent.mkdir(exist_ok=True)
    path.write_text(OPENBCI.format(rate=rate, rows=rows))
    return str(path)


@pytest.mark.parametrize("name", ["x.txt", "x.csv"])
def test_a_declared_wiring_makes_openbci_readable(tmp_path, name):
    path = write_openbci(tmp_path / "lab" / name)
    with pytest.raises(UnreadableError, match="no declared layout fits its 7 columns"):
        open_recording(path)
    recording = by(CYTON, path)
    assert recording.reader == "csv/lab-cyton"
    assert recording.ch_names == ("Fp1", "Fp2", "C3", "C4")
    # indices 1 and 2 of 0-255 are missing: two samples at 250 Hz
    assert recording.segments == (Segment(0.0, 3 / 250), Segment(5 / 250, 1 / 250))
    assert recording.read([0, 3]).tolist() == [[0.5, 1.5, 2.5], [40.0, 40.0, 40.0]]
    with pytest.raises(UnreadableError, match="it says 125 Hz, the layout lab-cyton 250 Hz"):
        by(CYTON, write_openbci(tmp_path / "lab" / name, rate=125))


def test_an_old_log_without_a_header_line(tmp_path):
    # the log of 2014: a counter of 0 to 255, then the channels; a device that was pulled out cuts the last row
    path = tmp_path / "lab" / "x.txt"
    path.parent.mkdir()
    path.write_text("%OBCI Data Log - 2014-10-22\n254.0,10.5,20.5\n255.0,11.5,21.5\n2.0,12.5,22.5\n3.0,13.")
    with pytest.raises(UnreadableError, match="no declared layout"):
        open_recording(str(path))
    layout = openbci_old_layout("lab-old", ("Fp1", "O2"))
    recording = by(layout, path)
    assert recording.notes == ("dc_offset", "truncated_last_record", "gaps")
    assert recording.segments == (Segment(0.0, 2 / 250), Segment(4 / 250, 1 / 250))  # 0 and 1 are missing
    assert recording.read([0, 1]).tolist() == [[10.5, 11.5], [20.5, 21.5]]
    path.write_text("%OBCI Data Log\n254.0,10.5,20.5\n255.0,11.\n2.0,12.5,22.5\n")
    with pytest.raises(UnreadableError, match="corrupt_header"):
        by(layout, path)


def mind_monitor(path, *, sfreq=256.0, pause_s=0.0):
    rows = ["TimeStamp,Delta_TP9,RAW_TP9,RAW_AF7,RAW_AF8,RAW_TP10,AUX_RIGHT,Elements"]
    for k in range(1024):
        stamp = datetime(2024, 1, 2, 3, 4, 5) + timedelta(seconds=k / sfreq + (pause_s if k >= 512 else 0.0))
        rows.append(f"{stamp.isoformat(sep=' ', timespec='milliseconds')},0.5,{k},{k + 1},{k + 2},{k + 3},800.0,")
        if k == 300:
            rows.append(f"{stamp.isoformat(sep=' ', timespec='milliseconds')},,,,,,,/muse/elements/blink")
    path.write_text("\n".join(rows) + "\n")
    return str(path)


def test_mind_monitor(tmp_path):
    recording = open_recording(mind_monitor(tmp_path / "x.csv", pause_s=3.0))
    assert (recording.reader, recording.ch_names) == ("csv/mind-monitor", ("TP9", "AF7", "AF8", "TP10"))
    assert [segment.onset_s for segment in recording.segments] == pytest.approx([0.0, 5.0], abs=0.002)
    assert recording.read([0, 3], start=299, stop=302).tolist() == [[299, 300, 301], [302, 303, 304]]  # no blink
    assert recording.reference == "Fpz"
    with pytest.raises(UnreadableError, match="samples come every 1 s by the clock, not at 256 Hz"):
        open_recording(mind_monitor(tmp_path / "slow.csv", sfreq=1.0))


@pytest.mark.parametrize(("unit", "name"), [(1.0, "muse-lsl"), (1000.0, "notion")])
def test_clocks_in_seconds_and_milliseconds(tmp_path, unit, name):
    layout = next(layout for layout in LAYOUTS if layout.name == name)
    stamps = [1.7e9 * unit + unit * k / layout.sfreq for k in range(600)]
    header = ",".join([layout.clock, *layout.channel_columns, "extra"])
    rows = [
        ",".join([repr(stamp), *[str(k + c) for c in range(len(layout.ch_names))], "0"])
        for k, stamp in enumerate(stamps)
    ]
    (tmp_path / "x.csv").write_text("\n".join([header, *rows]))
    recording = open_recording(str(tmp_path / "x.csv"))
    assert (recording.reader, recording.sfreqs[0], len(recording.segments)) == (f"csv/{name}", layout.sfreq, 1)
    assert recording.read([2]).tolist() == [[k + 2 for k in range(600)]]


def test_a_layout_needs_channels():
    with pytest.raises(ValueError, match="needs channels"):
        Layout(name="b", formats=("csv",), sfreq=1.0)


def test_other_text_files_are_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(UnreadableError, match="unsupported_format: no reader for .txt: text without a declared form"):
        open_recording(str(tmp_path / "notes.txt"))


@pytest.mark.skipif(not Path(REAL_DATA, "awkward").is_dir(), reason="CEREBEAM_REAL_DATA is not set")
def test_a_real_log_of_2014_by_a_declared_wiring():
    electrodes = ("Fp1", "Fp2", "C3", "C4", "P7", "P8", "O1", "O2")
    path = Path(REAL_DATA, "awkward/mne-python/test_openbci_missing.txt")
    recording = by(openbci_old_layout("old", electrodes), path)
    assert "truncated_last_record" in recording.notes
    # the counter jumps from 10 to 14: three samples are missing
    assert recording.segments[:1] == (Segment(0.0, 11 / 250),)
    assert recording.segments[1].onset_s == pytest.approx(14 / 250)
    lines = path.read_text().splitlines()[1:]
    assert sum(recording.n_times(0, k) for k in range(len(recording.segments))) == len(lines) - 1
    wanted = [float(line.split(",")[3]) for line in lines[:11]]
    np.testing.assert_allclose(recording.read([2])[0], wanted, rtol=1e-6)


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
