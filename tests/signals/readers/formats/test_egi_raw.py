"""EGI's simple binary form, written byte by byte."""

import struct

import numpy as np
import pytest

from signals.readers.formats.egi_raw import is_egi_raw, open_egi_raw
from signals.recording.recording import Annotation, Segment, UnreadableError

N_TIMES = 500


def head(
    version=2,
    year=2020,
    month=5,
    day=17,
    rate=250,
    n_chans=2,
    bits=16,
    full_range=6553,
    n_times=N_TIMES,
    codes=("DIN1", "T"),
):
    # Version, date, time of day with milliseconds, rate, channels, gain, bits, range, samples, number of events.
    fixed = struct.pack(
        ">i6hi5hih", version, year, month, day, 12, 30, 15, 0, rate, n_chans, 1, bits, full_range, n_times, len(codes)
    )
    return fixed + b"".join(code.encode().ljust(4, b"\0") for code in codes)


def written(tmp_path, *, n_written=N_TIMES, **changes):
    fields = {"version": 2, "codes": ("DIN1", "T")} | changes
    dtype = {2: ">i2", 4: ">f4", 6: ">f8"}.get(fields["version"], ">i2")
    n_rows = fields.get("n_chans", 2) + len(fields["codes"])
    x = np.zeros((n_written, max(n_rows, 1)))
    x[:, 0] = np.arange(n_written) % 100
    if n_rows > 2 and n_written > 300:
        x[100:150, 2] = 1
        x[290:, 3] = 7
    path = tmp_path / "a.raw"
    path.write_bytes(head(**changes) + x.astype(dtype).tobytes())
    return path


@pytest.mark.parametrize("version", [2, 4, 6])
def test_samples_and_events(tmp_path, version):
    recording = open_egi_raw(written(tmp_path, version=version))
    assert (recording.reader, recording.ch_names) == ("egi-raw", ("E1", "E2", "DIN1", "T"))
    assert recording.sensor_types == ("eeg", "eeg", "stim", "stim")
    assert (recording.sfreqs, recording.segments, recording.notes) == ((250.0,) * 4, (Segment(0.0, 2.0),), ())
    assert recording.annotations == (Annotation(0.4, 0.2, "DIN1"), Annotation(1.16, 0.84, "T"))
    # 6553 µV over 2^16 steps are 0.1 µV each; codes of events have no unit.
    np.testing.assert_allclose(recording.read([0], start=98, stop=101), [[9.8, 9.9, 0.0]], rtol=2e-4)
    assert recording.read([3], start=499).tolist() == [[7.0]]


@pytest.mark.parametrize(("bits", "full_range"), [(0, 6553), (16, 0)])
def test_without_bits_or_range_samples_are_microvolts(tmp_path, bits, full_range):
    recording = open_egi_raw(written(tmp_path, bits=bits, full_range=full_range))
    assert recording.read([0], start=99, stop=100).tolist() == [[99.0]]


def test_without_event_tracks(tmp_path):
    recording = open_egi_raw(written(tmp_path, codes=()))
    assert (recording.ch_names, recording.annotations) == (("E1", "E2"), ())


def test_a_file_that_is_cut(tmp_path):
    recording = open_egi_raw(written(tmp_path, n_written=400))
    assert (recording.n_times(0), recording.notes) == (400, ("missing_records",))
    longer = open_egi_raw(written(tmp_path, n_written=600))
    assert (longer.n_times(0), longer.notes) == (500, ())


@pytest.mark.parametrize(
    ("changes", "reason", "says"),
    [
        ({"version": 3}, "unsupported_format", "segmented EGI data"),
        ({"rate": 0}, "corrupt_header", "0 Hz, 2 channels, 2 event tracks"),
        ({"n_chans": 0}, "corrupt_header", "250 Hz, 0 channels"),
        ({"n_times": -1}, "corrupt_header", "250 Hz"),
        ({"n_times": 0}, "no_samples", "bytes of 2 channels"),
        ({"n_written": 0}, "no_samples", "44 bytes of 2 channels"),
    ],
)
def test_what_is_refused(tmp_path, changes, reason, says):
    with pytest.raises(UnreadableError) as refused:
        open_egi_raw(written(tmp_path, **changes))
    assert refused.value.reason == reason
    assert says in refused.value.detail


@pytest.mark.parametrize(("n_bytes", "says"), [(30, "30 bytes of a header of"), (40, "2 event tracks are promised")])
def test_a_header_that_is_cut(tmp_path, n_bytes, says):
    path = written(tmp_path)
    path.write_bytes(path.read_bytes()[:n_bytes])
    with pytest.raises(UnreadableError, match=says):
        open_egi_raw(path)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True), ({"version": 7}, True), ({"version": 8}, False), ({"version": 1}, False), ({"year": 1970}, True),
        ({"year": 1969}, False), ({"year": 2100}, True), ({"year": 2101}, False), ({"month": 0}, False),
        ({"month": 1}, True), ({"month": 12}, True), ({"month": 13}, False), ({"day": 0}, False), ({"day": 1}, True),
        ({"day": 31}, True), ({"day": 32}, False),
    ],
)  # fmt: skip
def test_how_it_is_distinguished_from_different_files(changes, expected):
    assert is_egi_raw(head(**changes)) == expected
    assert not is_egi_raw(head(**changes)[:20])
