import os
from dataclasses import replace
from pathlib import Path

import mne
import numpy as np
import pytest

from signals.readers.registry import open_recording, source_files
from signals.recording.events import event_word
from signals.recording.recording import Annotation, Segment, UnreadableError

REAL_DATA = os.environ.get("CEREBEAM_REAL_DATA", "")
needs_real_data = pytest.mark.skipif(not Path(REAL_DATA, "awkward").is_dir(), reason="CEREBEAM_REAL_DATA is not set")
HEADER = """Brain Vision Data Exchange Header File Version 1.0
; a comment with = in it
[Common Infos]
Codepage=UTF-8
DataFile={data_file}
MarkerFile=$b.vmrk
DataFormat=BINARY
DataOrientation={orientation}
NumberOfChannels=3
SamplingInterval=4000
[Binary Infos]
BinaryFormat={binary}
[Channel Infos]
Ch1=Fp1,Cz,0.5,µV
Ch2=a\\1b,Cz,,mV
Ch3=ECG,Cz,2,µV
[Comment]
DataFile=other.eeg
"""
MARKERS = """Brain Vision Data Exchange Marker File, Version 1.0
[Marker Infos]
Mk1=New Segment,,1,1,0,20200101100000000000
Mk2=Stimulus,S  1,26,5,0
Mk3=New Segment,,51,1,0,20200101100010000000
Mk4=Response,R1,61,1,0
Mk5=Response,broken,x,1,0
"""


def write(folder, *, data_file="x.eeg", orientation="MULTIPLEXED", binary="INT_16", data=None, markers=MARKERS):
    folder.joinpath("x.vhdr").write_text(
        HEADER.format(data_file=data_file, orientation=orientation, binary=binary), encoding="utf-8"
    )
    folder.joinpath("x.vmrk").write_text(markers, encoding="utf-8")
    if data is not None:
        folder.joinpath("x.eeg").write_bytes(data)
    return str(folder / "x.vhdr")


@pytest.mark.parametrize(("binary", "dtype"), [("INT_16", "<i2"), ("IEEE_FLOAT_32", "<f4")])
@pytest.mark.parametrize("orientation", ["MULTIPLEXED", "VECTORIZED"])
def test_every_binary_form_gives_the_same_samples(tmp_path, binary, dtype, orientation):
    values = np.arange(300).reshape(3, 100)
    data = (values.T if orientation == "MULTIPLEXED" else values).astype(dtype).tobytes()
    recording = open_recording(write(tmp_path, orientation=orientation, binary=binary, data=data))
    assert recording.ch_names == ("Fp1", "a,b", "ECG")
    assert recording.sensor_types == ("eeg", "eeg", "ecg")
    assert recording.reference == "Cz"
    assert recording.units == ("µV", "mV", "µV")
    # resolution 0.5 µV; no resolution is 1, and mV are 1000 µV; ECG stays mV: 2 µV are 0.002 mV
    wanted = values[:, 50:] * np.array([[0.5], [1000.0], [0.002]])
    np.testing.assert_allclose(recording.read([0, 1, 2], segment=1), wanted, rtol=1e-6)
    assert np.array_equal(recording.read([2, 0], segment=1, start=3, stop=9), recording.read([2, 0], segment=1)[:, 3:9])


def test_pauses_are_gaps_of_the_length_between_the_dates(tmp_path):
    recording = open_recording(write(tmp_path, data=bytes(600)))
    # 50 samples at 250 Hz are 0.2 s; the second part began 10 s after the first.
    assert recording.segments == (Segment(0.0, 0.2), Segment(10.0, 0.2))
    # sample 25 is at 0.1 s and lasts 5 / 250 s; sample 60 is ten samples into the second part
    assert recording.annotations == (Annotation(0.1, 0.02, "S1"), Annotation(10.04, 0.004, "R1"))
    assert recording.notes == ("gaps",)


def test_a_header_may_be_indented_and_hold_brackets(tmp_path):
    path = Path(write(tmp_path, data=bytes(600)))
    plain = open_recording(str(path))
    lines = path.read_text(encoding="utf-8").replace("Codepage=UTF-8", "Note=every [4 ms]\n[Note=none\n;[Comment]")
    path.write_text("".join(f"  {line} \n" for line in lines.splitlines()), encoding="utf-8-sig")
    assert path.read_bytes().startswith(b"\xef\xbb\xbf  Brain")
    recording = open_recording(str(path))
    assert replace(recording, read_samples=plain.read_samples) == plain


def test_a_byte_order_mark_does_not_hide_the_first_section(tmp_path):
    path = write(tmp_path, data=bytes(600), markers="\ufeff[Marker Infos]\nMk1=Stimulus,S  2,26,1,0\n")
    assert [annotation.description for annotation in open_recording(path).annotations] == ["S2"]


def test_time_is_lost_only_between_two_dates(tmp_path):
    markers = """Brain Vision Data Exchange Marker File, Version 1.0
[Marker Infos]
Mk1=New Segment,,76,1,0,20200101100015000000
Mk2=New Segment,,51,1,0,20200101100010000000
Mk3=New Segment,,1,1,0
Mk4=Stimulus,S  1,0,1,0
Mk5=Stimulus,S  2,1
"""
    recording = open_recording(write(tmp_path, data=bytes(600), markers=markers))
    # The second part follows a part without a date. The third began 5 s after the second, which lasted 25 / 250 s.
    assert recording.segments == (Segment(0.0, 0.2), Segment(0.2, 0.1), Segment(pytest.approx(5.2), 0.1))
    # Positions count from 1, so the first marker has none; a marker without a size has no duration.
    assert recording.annotations == (Annotation(0.0, 0.0, "S2"),)
    undated = markers.replace("20200101100010000000", "sometime")
    assert [s.onset_s for s in open_recording(write(tmp_path, markers=undated)).segments] == [0.0, 0.2, 0.3]


def test_side_files_are_found_after_a_renaming_and_missed_otherwise(tmp_path):
    path = write(tmp_path, data_file="C:\\lab\\old.eeg", data=bytes(600))
    assert open_recording(path).duration_s == 0.4
    assert source_files(path) == (tmp_path / "x.vhdr", tmp_path / "x.eeg", tmp_path / "x.vmrk")
    tmp_path.joinpath("x.eeg").unlink()
    with pytest.raises(UnreadableError, match="missing_file"):
        open_recording(path)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("NumberOfChannels=3", "NumberOfChannels=4", "corrupt_header"),
        ("NumberOfChannels=3", "NumberOfChannels=-3", "corrupt_header"),
        ("NumberOfChannels=3", "NumberOfChannels=2.5", "corrupt_header"),
        ("NumberOfChannels=3", "NumberOfChannels=three", "corrupt_header"),
        ("NumberOfChannels=3", "NumberOfChannels=1000000000", "corrupt_header"),
        ("Ch2=", "Ch4=", "corrupt_header"),
        ("BinaryFormat=INT_16", "", "unsupported_format"),
        ("SamplingInterval=4000", "SamplingInterval=0", "corrupt_header"),
        ("SamplingInterval=4000", "", "corrupt_header"),
        ("0.5", "half", "corrupt_header"),
        ("INT_16", "INT_12", "unsupported_format"),
        ("DataFormat=BINARY", "DataFormat=ASCII", "unsupported_format"),
    ],
)
def test_contradictions_have_their_reason(tmp_path, old, new, reason):
    path = Path(write(tmp_path, data=bytes(600)))
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    with pytest.raises(UnreadableError) as caught:
        open_recording(str(path))
    assert caught.value.reason == reason


def test_a_data_file_below_one_sample_is_empty(tmp_path):
    with pytest.raises(UnreadableError, match="no_samples"):
        open_recording(write(tmp_path, data=bytes(5)))
    assert open_recording(write(tmp_path, data=bytes(6), markers="")).duration_s == 1 / 250


def test_references_are_one_or_unknown(tmp_path):
    path = Path(write(tmp_path, data=bytes(600)))
    path.write_text(path.read_text(encoding="utf-8").replace("ECG,Cz", "ECG,A1"), encoding="utf-8")
    assert open_recording(str(path)).reference == ""


@needs_real_data
@pytest.mark.parametrize(
    "name",
    [
        "real/leipzig-lemon/sub-032301.vhdr",
        "awkward/mne-python/test_old_layout_latin1_software_filter.vhdr",
        "awkward/mne-python/test_bad_date.vhdr",
    ],
)
def test_real_files_equal_mne(name):
    recording = open_recording(str(Path(REAL_DATA, name)))
    raw = mne.io.read_raw_brainvision(Path(REAL_DATA, name), verbose="ERROR", ignore_marker_types=False)
    picks = [i for i, kind in enumerate(recording.sensor_types) if kind in ("eeg", "eog")]
    assert len(picks) >= 26
    ours = np.concatenate([recording.read(picks, segment=s) for s in range(len(recording.segments))], axis=1)
    np.testing.assert_allclose(ours, raw.get_data(picks) * 1e6, rtol=1e-6, atol=1e-6)
    stimuli = [text for text in raw.annotations.description if not text.startswith("New Segment")]
    assert [annotation.description for annotation in recording.annotations] == list(map(event_word, stimuli))
