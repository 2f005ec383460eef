import os
import pickle
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
from signals.recording.recording import Annotation, Segment, UnreadableError
from synthetic.recordings.long_recording import long_recording
from tests.signals.readers.edf.written_edf import channel, edf_bytes, ramp, read_all, tal, write

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
