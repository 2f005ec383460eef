"""Headers of Persyst as text, line by line."""

import numpy as np
import pytest

from signals.readers.formats.persyst import open_persyst, persyst_files
from signals.recording.recording import Annotation, Segment, UnreadableError

LAY = """\
[FileInfo]
File=C:\\data\\a.dat
FileType=Interleaved
SamplingRate=100
Calibration=0.5
WaveformCount=2
DataType=0
[ChannelMap]
C3=1
ECG=2
[SampleTimes]
0=36000.0
[Patient]
First=Erika
Last=Muster
ID=P-1
Sex=F
[Comments]
1.5,0.25,0,100,eyes, open
2,-1,0,100,x=3
soon,1,0,100,no onset
3,1,0,no text
inf,1,0,100,never
"""


def written(tmp_path, text=LAY, *, n_times=1000, dtype="<i2", n_head=0, name="a.dat"):
    x = np.arange(2 * n_times).reshape(n_times, 2).astype(dtype)
    (tmp_path / name).write_bytes(bytes(n_head) + x.tobytes())
    (tmp_path / "a.lay").write_text(text, encoding="utf-8-sig")
    return tmp_path / "a.lay"


def test_everything_that_a_header_holds(tmp_path):
    recording = open_persyst(written(tmp_path))
    assert (recording.reader, recording.ch_names, recording.sensor_types) == ("persyst", ("C3", "ECG"), ("eeg", "ecg"))
    assert (recording.sfreqs, recording.segments) == ((100.0, 100.0), (Segment(0.0, 10.0),))
    assert (recording.patient, recording.notes) == ("P-1 Muster Erika", ())
    assert recording.annotations == (Annotation(1.5, 0.25, "eyes, open"), Annotation(2.0, 0.0, "x=3"))
    # Half a microvolt a step; the heart in mV.
    np.testing.assert_allclose(recording.read([0, 1], start=10, stop=12), [[10.0, 11.0], [0.0105, 0.0115]], rtol=1e-6)
    assert persyst_files(tmp_path / "a.lay") == (tmp_path / "a.lay", tmp_path / "a.dat")


def test_the_number_in_the_map_is_the_place_in_the_file(tmp_path):
    recording = open_persyst(written(tmp_path, LAY.replace("C3=1\nECG=2", "C3=2\nC4=1")))
    assert recording.read([0, 1], start=3, stop=4).tolist() == [[3.5], [3.0]]


@pytest.mark.parametrize(("datatype", "dtype"), [("0", "<i2"), ("7", "<i4")])
@pytest.mark.parametrize("n_head", [0, 512])
def test_widths_and_headers_of_the_data(tmp_path, datatype, dtype, n_head):
    text = LAY.replace("DataType=0", f"DataType={datatype}\nHeaderLength={n_head}")
    recording = open_persyst(written(tmp_path, text, dtype=dtype, n_head=n_head))
    assert recording.n_times(0) == 1000
    assert recording.read([0], start=999).tolist() == [[999.0]]


@pytest.mark.parametrize("name", ["a.dat", "a.DAT", "b.dat"])
def test_where_the_data_lie(tmp_path, name):
    text = LAY.replace("a.dat", "b.dat")  # as it was called before both were renamed
    path = written(tmp_path, text, name=name)
    assert persyst_files(path) == (path, tmp_path / name)
    assert open_persyst(path).n_times(0) == 1000
    (tmp_path / name).unlink()
    assert persyst_files(path) == (path,)
    with pytest.raises(UnreadableError, match="missing_file"):
        open_persyst(path)


@pytest.mark.parametrize(
    ("clock_s", "segments"),
    [
        (36005.4, (Segment(0.0, 10.0),)),  # clocks drift by less than half a second
        (36005.6, (Segment(0.0, 5.0), Segment(5.6, 5.0))),
        (36004.0, (Segment(0.0, 10.0),)),  # a clock that was set back is no pause
    ],
)
def test_jumps_of_the_clock(tmp_path, clock_s, segments):
    recording = open_persyst(written(tmp_path, LAY.replace("0=36000.0", f"500={clock_s}\n0=36000.0")))
    assert [(s.onset_s, s.duration_s) for s in recording.segments] == [
        (pytest.approx(s.onset_s), s.duration_s) for s in segments
    ]
    assert ("gaps" in recording.notes) == (len(segments) > 1)


def test_a_night_goes_over_midnight(tmp_path):
    recording = open_persyst(written(tmp_path, LAY.replace("0=36000.0", "0=86398.0\n500=3.0")))
    assert recording.segments == (Segment(0.0, 10.0),)


@pytest.mark.parametrize(
    ("old", "new", "reason", "says"),
    [
        ("SamplingRate=100", "SamplingRate=0", "corrupt_header", "SamplingRate"),
        ("Calibration=0.5", "Calibration=x", "corrupt_header", "Calibration"),
        ("WaveformCount=2", "WaveformCount=3", "corrupt_header", "2 channels in the map, 3 in all"),
        ("ECG=2", "ECG=3", "corrupt_header", "the numbers of 2 channels are not 1 to 2"),
        ("C3=1\nECG=2", "", "corrupt_header", "0 channels in the map, 2 in all"),
        ("DataType=0", "DataType=4", "unsupported_format", "not interleaved 16 or 32 bit"),
        ("FileType=Interleaved", "FileType=Other", "unsupported_format", "not interleaved 16 or 32 bit"),
        ("DataType=0", "DataType=0\nHeaderLength=-2", "corrupt_header", "HeaderLength"),
        ("DataType=0", "DataType=0\nHeaderLength=3999", "no_samples", "4000 bytes of 2 channels"),
        ("0=36000.0", "-2=36000.0", "corrupt_header", "a sample's number"),
        ("0=36000.0", "0=noon", "corrupt_header", "a sample's clock"),
    ],
)
def test_contradictions(tmp_path, old, new, reason, says):
    with pytest.raises(UnreadableError) as refused:
        open_persyst(written(tmp_path, LAY.replace(old, new)))
    assert refused.value.reason == reason
    assert says in refused.value.detail
