from dataclasses import replace
from pathlib import Path

import mne
import numpy as np
import pytest

from signals.readers.mne_raw import recording_of_raw
from signals.readers.registry import open_recording, source_files
from signals.readers.research.fif import open_fif, reopen_fif
from signals.recording.recording import Annotation, Segment, UnreadableError

KINDS = ["eeg", "eeg", "ecg", "emg", "stim", "mag"]


@pytest.fixture
def raw():
    info = mne.create_info(["Fp1", "HEOG", "heart", "arm", "STI 014", "MEG1"], 100.0, KINDS)
    values = np.random.default_rng(0).normal(size=(6, 1000)) * np.array([[1e-5, 1e-5, 1e-3, 1e-5, 1.0, 1e-12]]).T
    raw = mne.io.RawArray(values, info, first_samp=500, verbose="ERROR")
    raw.set_meas_date(0)
    raw.info["subject_info"] = {"his_id": "S-1", "last_name": "Doe"}
    return raw


def save(raw, folder):
    path = folder / "x_raw.fif"
    raw.save(path, fmt="double", verbose="ERROR", overwrite=True)
    return str(path)


def test_units_types_and_ranges(raw, tmp_path):
    recording = open_recording(save(raw, tmp_path))
    assert recording.sensor_types == ("eeg", "eog", "ecg", "emg", "stim", "misc")
    factors = np.array([[1e6, 1e6, 1e3, 1e6, 1.0, 1.0]]).T
    wanted = raw.get_data() * factors
    np.testing.assert_allclose(recording.read(range(6), start=10, stop=777), wanted[:, 10:777], rtol=1e-6)
    assert np.array_equal(recording.read([2, 0]), recording.read([0, 2])[::-1])
    assert recording.patient == "S-1 Doe"


def test_annotations_count_from_the_first_sample_and_skips_are_gaps(raw, tmp_path):
    # Annotations of a dated file count from the measurement date, 5 s before the first sample here.
    raw.set_annotations(
        mne.Annotations([6.0, 8.0], [0.5, 2.0], ["spike", "BAD_ACQ_SKIP"], orig_time=raw.info["meas_date"])
    )
    recording = open_recording(save(raw, tmp_path))
    assert recording.annotations == (Annotation(pytest.approx(1.0), pytest.approx(0.5), "spike"),)
    assert recording.segments == (Segment(0.0, 3.0), Segment(5.0, 5.0))
    assert recording.notes == ("gaps",)
    np.testing.assert_allclose(recording.read([0], segment=1), raw.get_data([0])[:, 500:] * 1e6, rtol=1e-6)


def test_a_file_without_date(raw, tmp_path):
    raw.set_meas_date(None)
    raw.set_annotations(mne.Annotations([1.0], [0.5], ["spike"]))
    assert open_recording(save(raw, tmp_path)).annotations[0].onset_s == pytest.approx(1.0)


def stretches(raw, *skips):
    """Return the samples [start, stop) of the segments that are left of 10 s at 100 Hz, counted in the file."""
    onsets, durations = zip((4.5, 0.1), *skips, strict=True)
    texts = ["spike", *["BAD_ACQ_SKIP"] * len(skips)]
    raw.set_annotations(
        mne.Annotations(np.add(onsets, raw.first_time), durations, texts, orig_time=raw.info["meas_date"])
    )
    segments = recording_of_raw(raw).segments
    return [(round(100 * s.onset_s), round(100 * (s.onset_s + s.duration_s))) for s in segments]


def test_skips_may_overlap_repeat_and_reach_the_end(raw):
    # Of 10 s, the skips at 0-1, 3-5 (twice), 4-6 and 9-10 s leave 1-3 and 6-9.
    skips = ((9.0, 1.0), (0.0, 1.0), (3.0, 2.0), (3.0, 2.0), (4.0, 2.0))
    assert stretches(raw, *skips) == [(100, 300), (600, 900)]
    assert stretches(raw, (3.0, 5.0), (4.0, 1.0)) == [(0, 300), (800, 1000)]
    assert stretches(raw) == [(0, 1000)]
    with pytest.raises(UnreadableError, match="nothing but acquisition skips"):
        stretches(raw, (0.0, 10.0))


def test_a_file_without_its_last_samples_is_refused(raw, tmp_path):
    # The header and the first samples are whole; the last second of 6 x 100 doubles is not.
    path = Path(save(raw, tmp_path))
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(UnreadableError) as caught:
        open_recording(str(path))
    assert caught.value.reason == "reader_crashed"


def test_parts_of_a_split_file_belong_to_it(raw, tmp_path):
    path = Path(save(raw, tmp_path))
    assert source_files(path) == (path,)
    for name in ("x_raw-1.fif", "x_raw-2.fif", "x_raw-4.fif", "y_raw-1.fif"):  # the third is missing
        (tmp_path / name).write_bytes(b"part")
    assert [part.name for part in source_files(path)] == ["x_raw.fif", "x_raw-1.fif", "x_raw-2.fif"]


def test_reopening_gives_the_same(raw, tmp_path):
    path = Path(save(raw, tmp_path))
    first, second = open_fif(path), reopen_fif(path)
    assert replace(second, read_samples=first.read_samples) == first
    assert np.array_equal(second.read([0, 4], start=3, stop=9), first.read([0, 4], start=3, stop=9))
    assert first.segments == (Segment(0.0, 10.0),)
    assert (first.reader, first.notes) == ("fif", ())


def test_files_without_continuous_data_are_refused(raw, tmp_path):
    epochs = mne.make_fixed_length_epochs(raw, 1.0, preload=True, verbose="ERROR")
    epochs.save(tmp_path / "x-epo.fif", verbose="ERROR")
    with pytest.raises(UnreadableError) as caught:
        open_recording(str(tmp_path / "x-epo.fif"))
    assert caught.value.reason == "unsupported_format"


def test_a_cut_file_is_refused(raw, tmp_path):
    path = save(raw, tmp_path)
    with open(path, "rb+") as file:
        file.truncate(3000)
    with pytest.raises(UnreadableError) as caught:
        open_recording(path)
    assert caught.value.reason in ("reader_crashed", "unsupported_format")
