import os
import pickle
import random
import time
import warnings
from dataclasses import replace
from pathlib import Path

import edfio
import numpy as np
import pyedflib
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signals.readers.channels.units import scaling_of
from signals.readers.edf.edf_annotations import parse_records, parse_tals
from signals.readers.edf.edf_header import read_header
from signals.readers.registry import open_recording, reopen_recording
from signals.recording.recording import Annotation, Recording, Segment, UnreadableError
from synthetic.recordings.long_recording import long_recording

REAL_DATA = os.environ.get("CEREBEAM_REAL_DATA", "")
needs_real_data = pytest.mark.skipif(not Path(REAL_DATA, "awkward").is_dir(), reason="CEREBEAM_REAL_DATA is not set")
READABLE = [
    "awkward/edf.jl/bdf_test.bdf",
    "awkward/edf.jl/test_merged.edf",
    "awkward/edf.jl/test_uneven_samp.edf",
    "awkward/edfio/mne_test.bdf",
    "awkward/edfio/short_psg.bdf",
    "awkward/edfio/test_subsecond.edf",
    "awkward/epilepsy2bids/PN00-5_sample.edf",
    "awkward/epilepsy2bids/P_ID10_r5_sample.edf",
    "awkward/epilepsy2bids/chb01_01_sample.edf",
    "awkward/mne-python/duplicate_channel_labels.edf",
    "awkward/mne-python/test_edf_stim_channel.edf",
    "awkward/mne-python/test_uneven_samp.edf",
    "awkward/ptsa/broken_header.bdf",
    "awkward/pyedflib/test_legacy.edf",
    "awkward/pyedflib/test_utf8.edf",
    "real/albany-eegmmidb/S001R01.edf",
    "real/frankfurt-rest/test.edf",
    "real/kyiv-eegmat/Subject00_2.edf",
    "real/neonatal-stevenson/demo.edf",
    "real/neonatal-stevenson/eeg_burst_eg.edf",
]
PYEDFLIB_REFUSES = {
    "awkward/edf.jl/test_merged.edf",
    "awkward/edf.jl/test_uneven_samp.edf",
    "awkward/ptsa/broken_header.bdf",
    "awkward/pyedflib/test_legacy.edf",  # opens, but without the annotations of a plain EDF
    "real/neonatal-stevenson/eeg_burst_eg.edf",
}


def channel(label="EEG Fp1", unit="uV", limits=(-100, 100, -32768, 32767), n_samples=16):
    return {"label": label, "unit": unit, "limits": limits, "n_samples": n_samples}


def edf_bytes(
    channels, records, *, bdf=False, reserved="", n_records=None, record_s=1, patient="X X X X", date="01.01.20"
):
    """Return a file built straight from the specification; `records` holds one bytes object per data record."""
    version = b"\xffBIOSEMI" if bdf else b"0       "
    n_records = len(records) if n_records is None else n_records

    def field(value, width):
        octets = value if isinstance(value, bytes) else str(value).encode("utf-8")
        return octets[:width].ljust(width)

    head = version + field(patient, 80) + field("", 80) + field(date, 8) + field("10.00.00", 8)
    head += field(256 * (len(channels) + 1), 8) + field(reserved, 44) + field(n_records, 8) + field(record_s, 8)
    head += field(len(channels), 4)
    columns = [
        ("label", 16),
        (None, 80),
        ("unit", 8),
        (0, 8),
        (1, 8),
        (2, 8),
        (3, 8),
        (None, 80),
        ("n_samples", 8),
        (None, 32),
    ]
    for key, width in columns:
        for ch in channels:
            value = "" if key is None else ch["limits"][key] if isinstance(key, int) else ch[key]
            head += field(value, width)
    return head + b"".join(records)


def tal(onset, n_bytes, *texts):
    """Return an annotation signal's bytes: the record's onset, then (onset, duration, text) entries."""
    octets = b"%+g\x14\x14\x00" % onset
    for start, duration, text in texts:
        octets += b"%+g\x15%g\x14" % (start, duration) + text.encode() + b"\x14\x00"
    return octets.ljust(n_bytes, b"\x00")


def ramp(first, n_samples=16):
    return np.arange(first, first + n_samples, dtype="<i2").tobytes()


def write(tmp_path, octets, name="x.edf"):
    path = tmp_path / name
    path.write_bytes(octets)
    return path


def read_all(recording: Recording, pick: int) -> np.ndarray:
    return np.concatenate([recording.read([pick], segment=s)[0] for s in range(len(recording.segments))])


@needs_real_data
@pytest.mark.parametrize("name", READABLE)
def test_samples_and_annotations_equal_those_of_reference_readers(name):
    path = Path(REAL_DATA, name)
    recording = open_recording(str(path))
    channels = [ch for ch in read_header(path).channels if not ch.is_annotations]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if name in PYEDFLIB_REFUSES:
            file = (edfio.read_bdf if name.endswith("bdf") else edfio.read_edf)(path)
            signals, n_annotations = [signal.data for signal in file.signals], len(file.annotations)
        else:
            with pyedflib.EdfReader(str(path)) as file:
                ordinary = [i for i, label in enumerate(file.getSignalLabels()) if "Annotations" not in label]
                signals, n_annotations = [file.readSignal(i) for i in ordinary], len(file.readAnnotations()[0])
    assert len(recording.annotations) == n_annotations
    assert len(recording.ch_names) == len(signals) == len(channels)
    for pick, (signal, ch) in enumerate(zip(signals, channels, strict=True)):
        wanted = signal * scaling_of(ch.label, ch.unit).factor
        # float32 rounds once: half an ulp is 6e-8 of the value; the references add float64 rounding of the offset.
        np.testing.assert_allclose(read_all(recording, pick), wanted, rtol=1.2e-7, atol=1e-9 * np.abs(wanted).max())


@needs_real_data
def test_units_of_known_files():
    psg = open_recording(str(Path(REAL_DATA, "awkward/edfio/short_psg.bdf")))
    assert psg.sfreqs == (100.0, 100.0, 100.0, 1.0, 1.0, 1.0, 1.0)
    assert psg.sensor_types == ("eeg", "eeg", "eog", "resp", "emg", "misc", "stim")
    volts = open_recording(str(Path(REAL_DATA, "awkward/mne-python/test_uneven_samp.edf")))
    # Its label says "3Hz +5/-5 V" and its unit V: five volts are 5e6 µV.
    assert np.abs(volts.read([0])).max() == pytest.approx(5e6, rel=0.01)
    ecg = open_recording(str(Path(REAL_DATA, "real/kyiv-eegmat/Subject00_2.edf")))
    assert ecg.sensor_types[20] == "ecg"
    assert -0.125 < ecg.read([20]).min() < ecg.read([20]).max() < 0.62  # header: -0.12418 to 0.611228 mV


@needs_real_data
def test_time_zero_is_the_first_sample():
    # The first record's onset is 0.3945312 s and the first event's 2.3457031 s.
    recording = open_recording(str(Path(REAL_DATA, "awkward/edfio/test_subsecond.edf")))
    assert recording.annotations[0].onset_s == pytest.approx(2.3457031 - 0.3945312)


def test_ranges_cross_records_and_equal_the_whole(tmp_path):
    path = write(
        tmp_path, edf_bytes([channel(), channel("EEG Fp2", n_samples=4)], [ramp(40 * i, 20) for i in range(5)])
    )
    recording = open_recording(str(path))
    whole = recording.read([0])
    # gain 200/65535 µV, sample 3 of record 2 holds 2 * 40 + 3
    assert whole[0, 35] == np.float32(-100 + (83 + 32768) * 200 / 65535)
    for start, stop in [(0, 80), (15, 17), (3, 3), (79, 80), (16, 64)]:
        assert np.array_equal(recording.read([0], start=start, stop=stop), whole[:, start:stop])
    assert recording.sfreqs == (16.0, 4.0)
    assert recording.read([1]).shape == (1, 20)
    with pytest.raises(ValueError, match="one sampling rate"):
        recording.read([0, 1])


def test_any_range_of_any_channels_equals_pyedflibs(tmp_path):
    path = tmp_path / "long.edf"
    long_recording(path, hours=1 / 60, n_chans=24, sfreq=173, seed=0)
    recording, rng = open_recording(str(path)), np.random.default_rng(0)
    with pyedflib.EdfReader(str(path)) as file:
        for _ in range(25):
            start, stop = np.sort(rng.integers(0, 60 * 173 + 1, 2)).tolist()
            picks = rng.permutation(24)[: rng.integers(1, 6)].tolist()
            wanted = np.stack([file.readSignal(pick, start, stop - start) for pick in picks])
            ours = recording.read(picks, start=start, stop=stop)
            np.testing.assert_allclose(ours, wanted.reshape(ours.shape), rtol=1.2e-7, atol=1e-6)


@pytest.mark.parametrize("record_s", [1, 90])
def test_ranges_of_many_megabytes_equal_pyedflibs(tmp_path, record_s):
    # 24 channels at 500 Hz are 24 kB a second: a read of all takes several parts, a record of 90 s is longer than one.
    path, rng = tmp_path / "long.edf", np.random.default_rng(1)
    n_record, n_records = 500 * record_s, 180 // record_s
    channels = [channel(f"EEG {index}", n_samples=n_record) for index in range(24)]
    values = rng.integers(-32768, 32768, (n_records, 24 * n_record)).astype("<i2")
    path.write_bytes(edf_bytes(channels, [row.tobytes() for row in values], record_s=record_s))
    recording = open_recording(str(path))
    whole = recording.read(range(24))
    by_channel = values.reshape(n_records, 24, n_record).swapaxes(0, 1).reshape(24, -1)
    # gain 200/65535 µV from -100 µV at -32768
    assert np.array_equal(whole, (by_channel * (200 / 65535) + (-100 + 32768 * (200 / 65535))).astype(np.float32))
    for start, stop in ((0, 500), (21_844, 43_690), (89_999, 90_000), (12_345, 78_901)):
        assert np.array_equal(recording.read([23, 0], start=start, stop=stop), whole[[23, 0], start:stop])


@pytest.mark.parametrize("n_samples", [16, 600_000])
def test_a_file_that_was_cut_after_opening_is_refused(tmp_path, n_samples):
    record = np.zeros(n_samples, dtype="<i2").tobytes()
    path = write(tmp_path, edf_bytes([channel(n_samples=n_samples)], [record] * 3))
    recording = open_recording(str(path))
    os.truncate(path, path.stat().st_size - 2)
    with pytest.raises(UnreadableError, match="missing_file"):
        recording.read([0])


def test_24_bit_integers_keep_their_sign(tmp_path):
    octets = b"".join(int(value).to_bytes(3, "little", signed=True) for value in (-8388608, -1, 0, 8388607))
    limits = (-8388608, 8388607, -8388608, 8388607)
    recording = open_recording(
        str(write(tmp_path, edf_bytes([channel(limits=limits, n_samples=4)], [octets], bdf=True)))
    )
    assert recording.reader == "bdf"
    assert recording.notes == ("name_disagrees",)  # a BDF named .edf
    assert recording.read([0])[0].tolist() == [-8388608, -1, 0, 8388607]


def test_gaps_of_a_discontinuous_file_stay_gaps(tmp_path):
    channels = [channel(), channel("EDF Annotations", "", (-1, 1, -32768, 32767), 20)]
    onsets = [5.25, 6.25, 10.5, 11.5004, 30.0]
    records = [ramp(16 * i) + tal(onset, 40, *[(6.0, 0.5, "spike")] * (i == 0)) for i, onset in enumerate(onsets)]
    recording = open_recording(str(write(tmp_path, edf_bytes(channels, records, reserved="EDF+D"))))
    # Onsets count from the first; 0.4 ms after a record's end is a rounding, not a gap.
    assert recording.segments == (Segment(0.0, 2.0), Segment(5.25, 2.0), Segment(24.75, 1.0))
    assert recording.annotations == (Annotation(0.75, 0.5, "spike"),)
    assert recording.notes == ("gaps",)
    digital = (recording.read([0], segment=1)[0] + 100) / 200 * 65535 - 32768
    np.testing.assert_allclose(digital, np.arange(32, 64), atol=0.01)


@pytest.mark.parametrize("drift_s", [0.0009, 0.00005, -0.0004, 0.0])
def test_a_drifting_clock_is_followed(tmp_path, drift_s):
    # Each record lies less than a millisecond from where the last one ends; in an hour 0.9 ms add up to 3.2 s.
    channels = [channel(n_samples=256), channel("EDF Annotations", "", (-1, 1, -32768, 32767), 20)]
    records = [ramp(0, 256) + (b"+%.5f\x14\x14\x00" % (i * (1 + drift_s))).ljust(40, b"\x00") for i in range(3600)]
    recording = open_recording(str(write(tmp_path, edf_bytes(channels, records, reserved="EDF+D"))))
    # Every record lies within 10 ms of where the file says; the last one begins at 3599 (1 + drift).
    first = np.cumsum([0, *(round(s.duration_s) for s in recording.segments)])
    assert first[-1] == 3600
    for start, segment in zip(first, recording.segments, strict=False):
        within = np.arange(round(segment.duration_s))
        assert np.abs(segment.onset_s + within - (start + within) * (1 + drift_s)).max() < 0.0101
    # 10 ms in steps of |drift|: 0.9 ms are passed after 12 records, 0.4 ms after 26, 0.05 ms after 201.
    expected = {0.0009: 300, -0.0004: 139, 0.00005: 18, 0.0: 1}[drift_s]
    assert len(recording.segments) == pytest.approx(expected, abs=1)
    assert ("gaps" in recording.notes) == (drift_s != 0)


@pytest.mark.parametrize("kind", ["", "EDF+C", "EDF+D"])
def test_reopening_looks_at_no_annotation(tmp_path, kind):
    channels = [channel(), channel("EDF Annotations", "", (-1, 1, -32768, 32767), 20)]
    onsets = [0, 1, 2, 7.5, 8.5, 20] if kind == "EDF+D" else range(6)
    records = [ramp(16 * i) + tal(onset, 40, (onset, 1, "spike")) for i, onset in enumerate(onsets)]
    octets = edf_bytes(channels, records, reserved=kind) + (b"" if kind == "EDF+D" else ramp(96, 5))
    octets = octets if kind == "EDF+D" else octets[:236] + b"-1      " + octets[244:]  # with a cut last record
    path = write(tmp_path, octets)
    recording = open_recording(str(path))
    assert len(recording.annotations) == 6
    # Other onsets and other texts in the same places: whoever parsed them would see other segments.
    spoilt = octets.replace(b"+7.5\x14", b"+9.5\x14").replace(b"spike", b"seize")
    assert len(spoilt) == len(octets)
    write(tmp_path, spoilt)
    header = pickle.loads(pickle.dumps(recording.header))
    again = reopen_recording(str(path), header)
    assert again.annotations == ()
    assert replace(again, annotations=recording.annotations) == recording
    for segment in range(len(recording.segments)):
        np.testing.assert_array_equal(again.read([0], segment=segment), recording.read([0], segment=segment))
    write(tmp_path, octets + bytes(72))
    with pytest.raises(UnreadableError, match=f"the file had {len(octets)} bytes, now it has {len(octets) + 72}"):
        reopen_recording(str(path), header)


def test_many_gaps(tmp_path):
    channels = [channel(), channel("EDF Annotations", "", (-1, 1, -32768, 32767), 8)]
    records = [ramp(i) + tal(2 * i, 16) for i in range(2000)]
    recording = open_recording(str(write(tmp_path, edf_bytes(channels, records, reserved="EDF+D"))))
    assert len(recording.segments) == 2000
    assert recording.segments[-1] == Segment(3998.0, 1.0)


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


@pytest.mark.parametrize(
    ("label", "unit", "factor", "sensor_type", "notes"),
    [
        ("Fp1", "V", 1e6, "eeg", ()),
        ("Fp1", "mV", 1e3, "eeg", ()),
        ("Fp1", "uV", 1.0, "eeg", ()),
        ("Fp1", "µV".encode(), 1.0, "eeg", ()),
        ("Fp1", "µV".encode("latin-1"), 1.0, "eeg", ()),
        ("Fp1", "nV", 1e-3, "eeg", ()),
        ("Fp1", "", 1.0, "eeg", ("unit_guessed",)),
        ("Fp1", "μV".encode(), 1.0, "eeg", ()),  # the Greek letter, not the micro sign
        ("Fp1", "Volts", 1e6, "eeg", ()),
        ("Fp1", "mVolt", 1e3, "eeg", ()),
        ("Fp1", "?V", 1.0, "eeg", ("unit_guessed",)),
        ("Fp1", "ÂµV".encode(), 1.0, "eeg", ("unit_guessed",)),  # UTF-8 taken for latin-1 and written again
        ("Fp1", b"\xe6V", 1.0, "eeg", ("unit_guessed",)),  # µ of DOS
        ("Fp1", "degC", 1.0, "misc", ("unit_not_electric",)),
        ("ECG", "uV", 1e-3, "ecg", ()),
        ("ECG", "mV", 1.0, "ecg", ()),
        ("SpO2", "%", 1.0, "misc", ()),
    ],
)
def test_units_become_microvolts_and_ecg_millivolts(tmp_path, label, unit, factor, sensor_type, notes):
    octets = edf_bytes([channel(label, unit, (-10, 10, -10, 10))], [ramp(0)])
    recording = open_recording(str(write(tmp_path, octets)))
    assert (recording.sensor_types, recording.notes) == ((sensor_type,), notes)
    np.testing.assert_allclose(recording.read([0])[0], np.arange(16) * factor, rtol=1e-6)


def test_labels_are_utf8_or_latin1_and_duplicates_stay(tmp_path):
    channels = [channel("Größe".encode()), channel("Größe".encode("latin-1"))]
    recording = open_recording(str(write(tmp_path, edf_bytes(channels, [ramp(0, 32)]))))
    assert recording.ch_names == ("Größe", "Größe")
    assert recording.notes == ("duplicate_labels",)


@pytest.mark.parametrize(
    ("text", "patient"),
    [
        ("X X X X", ""),
        ("X F 20-JAN-1998 X,X", ""),
        ("", ""),
        ("MCH-1 F X Doe", "MCH-1"),
        ("MCH-1 F 02-MAY-1951 Haagse_Harry", "MCH-1"),  # one patient, however the name is spelled
        ("X F 02-MAY-1951 Haagse_Harry", "X F 02-MAY-1951 Haagse_Harry"),
        ("Max Mustermann geb. 1961", "Max Mustermann geb. 1961"),  # no EDF+: nobody has the code "Max"
        ("12 M 01-JAN-1993 X", "12"),
    ],
)
def test_patient_is_empty_where_nobody_is_named(tmp_path, text, patient):
    assert open_recording(str(write(tmp_path, edf_bytes([channel()], [ramp(0)], patient=text)))).patient == patient


def test_tals():
    octets = b"+1.5\x14\x14\x00-0.5\x15 2\x14a\x14b\x14\x00junk\x00+x\x14c\x14\x00+3\x14\xe9\x14\x00\x00\x00"
    # two texts share an onset; lists without a number are skipped; 0xE9 is latin-1's é
    wanted = [Annotation(-0.5, 2.0, "a"), Annotation(-0.5, 2.0, "b"), Annotation(3.0, 0.0, "é")]
    assert parse_tals(octets) == (1.5, wanted)


@given(
    records=st.lists(
        st.one_of(
            st.binary(max_size=24),
            st.lists(st.sampled_from(b"+-.019e \x00\x00\x14\x14\x15ax"), max_size=24).map(bytes),
            st.floats(-1e5, 1e5).map(lambda onset: b"%+.4f\x14\x14\x00" % onset),
            st.integers(0, 10**9).map(lambda onset: b"+%d\x14\x14\x00+1\x152\x14event\x14\x00" % onset),
        ),
        min_size=1,
        max_size=8,
    ),
    n_signals=st.integers(1, 2),
)
@settings(max_examples=300, deadline=None)
def test_records_parsed_at_once_equal_records_parsed_one_by_one(records, n_signals):
    padded = [np.frombuffer(record[:30].ljust(30, b"\x00"), np.uint8) for record in records]
    signals = [np.stack(padded), np.stack(padded[::-1])][:n_signals]
    onsets, annotations = parse_records(signals)
    one_by_one = [parse_tals(row.tobytes()) for signal in signals for row in signal]
    expected = [np.nan if onset is None else onset for onset, _ in one_by_one[: len(records)]]
    np.testing.assert_array_equal(onsets, expected)
    assert annotations == sorted((a for _, found in one_by_one for a in found), key=lambda a: a.onset_s)


def test_opening_costs_little_for_each_record(tmp_path):
    # An hour of 1-s records, every fiftieth with an event; parsed one by one they took 0.2 ms each.
    channels = [channel(), channel("EDF Annotations", "", (-1, 1, -32768, 32767), 57)]
    records = [ramp(0) + tal(i, 114, *[(i + 0.5, 1, "event")] * (i % 50 == 7)) for i in range(3600)]
    path = write(tmp_path, edf_bytes(channels, records, reserved="EDF+D"))
    open_recording(str(path))
    began = time.process_time()
    recording = open_recording(str(path))
    assert time.process_time() - began < 0.1  # 28 µs a record
    assert recording.segments == (Segment(0.0, 3600.0),)
    assert [a.onset_s for a in recording.annotations] == [i + 0.5 for i in range(7, 3600, 50)]


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
