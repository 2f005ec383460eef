"""EDF files that are cut, contradict themselves or are damaged: read with a note, or refused with a reason."""

import os
import pickle
import random
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from signals.readers.registry import open_recording
from signals.recording.recording import Segment, UnreadableError
from tests.signals.readers.edf.written_edf import channel, edf_bytes, ramp, tal, write


@pytest.mark.parametrize("n_samples", [16, 600_000])
def test_a_file_that_was_cut_after_opening_is_refused(tmp_path, n_samples):
    record = np.zeros(n_samples, dtype="<i2").tobytes()
    path = write(tmp_path, edf_bytes([channel(n_samples=n_samples)], [record] * 3))
    recording = open_recording(str(path))
    os.truncate(path, path.stat().st_size - 2)
    with pytest.raises(UnreadableError, match="missing_file"):
        recording.read([0])


@pytest.mark.parametrize(
    ("n_records", "n_extra_bytes", "duration_s", "notes"),
    [
        (-1, 0, 3.0, ("n_records_unknown",)),
        (0, 11, 3.3125, ("n_records_unknown", "truncated_last_record")),  # five whole samples of 16 in a second
        (100, 10, 3.3125, ("missing_records", "truncated_last_record")),
        (2, 0, 2.0, ("trailing_bytes",)),
        (3, 1, 3.0, ("trailing_bytes",)),
        ("abc", 0, 3.0, ("n_records_unknown",)),
    ],
)
def test_what_is_promised_and_present_is_read(tmp_path, n_records, n_extra_bytes, duration_s, notes):
    octets = edf_bytes([channel()], [ramp(i) for i in range(3)], n_records=n_records) + b"\x01" * n_extra_bytes
    recording = open_recording(str(write(tmp_path, octets)))
    assert recording.duration_s == duration_s
    assert recording.notes == notes
    assert recording.read([0]).shape == (1, 16 * duration_s)


@pytest.mark.parametrize("bdf", [False, True])
def test_a_cut_record_is_kept_to_its_last_whole_sample(tmp_path, bdf):
    # 16 and 8 samples a second; the third record is cut after 16 samples of the first and 3 1/2 of the second channel.
    width = 3 if bdf else 2
    values = np.arange(-30, 42)  # three records of 24 samples
    octets = b"".join(int(value).to_bytes(width, "little", signed=True) for value in values)
    limits = (-32768, 32767, -32768, 32767)
    channels = [channel(limits=limits), channel("EEG Fp2", limits=limits, n_samples=8)]
    whole = edf_bytes(channels, [octets[24 * width * i : 24 * width * (i + 1)] for i in range(3)], bdf=bdf)
    cut = whole[: 256 * 3 + (48 + 19) * width + 1]
    recording = open_recording(str(write(tmp_path, cut, "x.bdf" if bdf else "x.edf")))
    assert recording.notes == ("missing_records", "truncated_last_record")
    assert recording.duration_s == 3.0
    first = np.concatenate([values[24 * i : 24 * i + 16] for i in range(3)])
    second = np.concatenate([values[16:24], values[40:48], values[64:67], [np.nan] * 5])
    np.testing.assert_array_equal(recording.read([0])[0], first)
    np.testing.assert_array_equal(recording.read([1])[0], second)
    for start, stop in [(0, 5), (14, 18), (15, 24), (17, 20), (20, 24), (16, 16)]:
        np.testing.assert_array_equal(recording.read([1], start=start, stop=stop)[0], second[start:stop])
    again = pickle.loads(pickle.dumps(recording))
    np.testing.assert_array_equal(again.read([1])[0], second)


def test_a_file_cut_within_its_only_record_is_read(tmp_path):
    octets = edf_bytes([channel(n_samples=1000)], [ramp(0, 1000)], record_s=10)[: 512 + 2 * 700 + 1]
    recording = open_recording(str(write(tmp_path, octets)))
    assert recording.duration_s == 7.0  # 700 of 1000 samples of 10 s
    assert recording.read([0], start=699).shape == (1, 1)
    assert recording.read([0], stop=0).shape == (1, 0)  # there is no whole record to map
    with pytest.raises(UnreadableError, match="no_samples"):
        open_recording(str(write(tmp_path, octets[:513])))


def test_the_cut_record_of_a_discontinuous_file_is_left_out(tmp_path):
    # Its time stands in the annotations signal, which is the part that is cut off.
    channels = [channel(), channel("EDF Annotations", "", (-1, 1, -32768, 32767), 8)]
    octets = edf_bytes(channels, [ramp(i) + tal(2 * i, 16) for i in range(3)], reserved="EDF+D")[:-20]
    recording = open_recording(str(write(tmp_path, octets)))
    assert recording.segments == (Segment(0.0, 1.0), Segment(2.0, 1.0))
    assert recording.notes == ("missing_records", "truncated_last_record", "gaps")


@pytest.mark.parametrize(
    "limits", [(0, 0, -1, 1), (-1, 1, 5, 5), ("abc", 1, -1, 1), ("nan", 1, -1, 1), (-1, "1e30", -1, 1), (-1, 1, 0, 0.1)]
)
def test_a_channel_without_a_range_is_dropped_with_a_note(tmp_path, limits):
    octets = edf_bytes([channel(limits=limits), channel("Fp2", limits=("-1,5", "1,5", -10, 10))], [ramp(0, 32)])
    recording = open_recording(str(write(tmp_path, octets)))
    assert recording.ch_names == ("Fp2",)
    assert recording.notes == ("dropped_channels",)
    assert recording.read([0])[0, 0] == np.float32(16 * 0.15)  # its first sample is 16, a decimal comma in the range
    with pytest.raises(UnreadableError, match="corrupt_header"):
        open_recording(str(write(tmp_path, edf_bytes([channel(limits=limits)], [ramp(0)]))))


def test_inverted_polarity_and_nonsense_dates(tmp_path):
    octets = edf_bytes([channel(limits=(100, -100, -100, 100))], [ramp(-8)], date="42.00.00")
    assert open_recording(str(write(tmp_path, octets))).read([0])[0].tolist() == list(range(8, -8, -1))


def damaged(rng: random.Random, octets: bytes) -> bytes:
    """Return the file with bytes changed, a header field replaced, cut short, or prolonged."""
    data = bytearray(octets)
    kind = rng.randrange(5)
    header_bytes = 256 * 4
    if kind == 0:
        for _ in range(rng.randint(1, 20)):
            data[rng.randrange(8, header_bytes)] = rng.randrange(256)
    elif kind == 1:
        at = rng.choice(
            [184, 236, 244, 252, *range(256 + 3 * 104, 256 + 3 * 136, 8), *range(256 + 3 * 216, 256 + 3 * 224, 8)]
        )
        junk = [b"-1", b"0", b"1e9", b"1e-320", b"nan", b"inf", b"99999999", b"\x00" * 8, b"2.5", b"1_0", b"-0"]
        data[at : at + 8] = rng.choice(junk).ljust(8)
    elif kind == 2:
        data = data[: rng.randrange(len(data))]
    elif kind == 3:
        for _ in range(rng.randint(1, 50)):
            data[rng.randrange(header_bytes, len(data))] = rng.choice([0, 0x14, 0x15, 0x2B, 0x39, 0xFF])
    else:
        data += rng.randbytes(rng.randint(1, 300))
    return bytes(data)


@pytest.mark.parametrize("bdf", [False, True])
def test_damaged_files_are_read_or_refused_with_a_reason(tmp_path, bdf):
    width = 3 if bdf else 2
    channels = [
        channel(),
        channel("ECG", "mV", n_samples=4),
        channel(("BDF" if bdf else "EDF") + " Annotations", "", n_samples=30),
    ]
    records = [bytes(20 * width) + tal(2 * i, 30 * width, (i, 1, "event")) for i in range(6)]
    good = edf_bytes(channels, records, bdf=bdf, reserved="BDF+D" if bdf else "EDF+D")
    assert len(open_recording(str(write(tmp_path, good, "good.edf"))).segments) == 6
    rng = random.Random(7)
    reasons = []
    for _ in range(300):
        path = write(tmp_path, damaged(rng, good))
        began = time.perf_counter()
        try:
            recording = open_recording(str(path))
            for pick in range(len(recording.ch_names)):
                for segment in range(len(recording.segments)):
                    assert recording.read([pick], segment=segment).dtype == np.float32
            reasons.append("read")
        except UnreadableError as error:
            reasons.append(error.reason)
        assert time.perf_counter() - began < 2.0
    # a reader of our own has no excuse for "reader_crashed"
    assert {"read", "corrupt_header", "no_samples"} <= set(reasons)
    assert "reader_crashed" not in reasons
    assert reasons.count("read") > 100


def test_no_handle_stays_open(tmp_path):
    recording = open_recording(str(write(tmp_path, edf_bytes([channel()], [ramp(0)]))))
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else 0
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        for _ in range(50):
            recording.read([0])
    after = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else 0
    assert after <= before
