import pickle

import mne
import numpy as np
import pytest

from signals.readers.memory import recording_of_array, recording_of_mne, to_raw
from signals.recording.recording import Annotation, Segment

NAMES = ["Fp1", "O2", "EKG", "Resp"]


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(0, 50, (4, 1000)).astype(np.float32)


def test_an_array_is_a_recording(x):
    recording = recording_of_array(x, ch_names=NAMES, sfreq=100.0, annotations=[Annotation(1.0, 0.5, "Dr. Doe: spike")])
    assert recording.sensor_types == ("eeg", "eeg", "ecg", "resp")
    assert recording.segments == (Segment(0.0, 10.0),)
    assert np.array_equal(recording.read([1, 0], start=3, stop=700), x[[1, 0], 3:700])
    np.testing.assert_allclose(recording.read([2]), x[2:3] / 1000, rtol=1e-6)  # µV of the heart are mV
    assert recording.annotations == (Annotation(1.0, 0.5, "other"),)
    volts = recording_of_array(x * 1e-6, ch_names=NAMES, sfreq=100.0, unit="V")
    np.testing.assert_allclose(volts.read([0]), x[:1], rtol=1e-6)
    assert np.array_equal(pickle.loads(pickle.dumps(recording)).read([0]), x[:1])


def test_what_is_no_recording_is_refused(x):
    with pytest.raises(ValueError, match=r"shape \(1000, 4\) is not"):
        recording_of_array(x.T, ch_names=NAMES, sfreq=100.0)
    with pytest.raises(ValueError, match="sfreq=0"):
        recording_of_array(x, ch_names=NAMES, sfreq=0)
    with pytest.raises(ValueError, match="is not"):
        recording_of_array(x[:, :0], ch_names=NAMES, sfreq=100.0)


def test_a_raw_there_and_back(x):
    info = mne.create_info(NAMES, 100.0, ["eeg", "eeg", "ecg", "resp"])
    volts = x.astype(np.float64) * np.array([[1e-6, 1e-6, 1e-6, 1.0]]).T
    raw = mne.io.RawArray(volts, info, verbose="ERROR")
    raw.set_annotations(mne.Annotations([2.0, 4.0], [0.5, 1.5], ["spike", "BAD_ACQ_SKIP"]))
    recording = recording_of_mne(raw)
    assert recording.segments == (Segment(0.0, 4.0), Segment(5.5, 4.5))
    assert recording.annotations == (Annotation(2.0, 0.5, "spike"),)
    again = to_raw(recording)
    assert again.ch_names == NAMES
    assert again.get_channel_types() == ["eeg", "eeg", "ecg", "resp"]
    kept = np.r_[0:400, 550:1000]
    np.testing.assert_allclose(again.get_data()[:, kept], volts[:, kept], rtol=1e-6)
    assert not again.get_data()[:, 400:550].any()
    marks = sorted(zip(again.annotations.onset, again.annotations.duration, again.annotations.description, strict=True))
    assert [(float(a), float(b), str(c)) for a, b, c in marks] == [(2.0, 0.5, "spike"), (4.0, 1.5, "BAD_ACQ_SKIP")]
    assert recording_of_mne(again).segments == recording.segments


def test_several_rates_have_no_raw(tmp_path):
    pytest.importorskip("wfdb")
    from signals.readers.registry import open_recording
    from synthetic.recordings.laboratory_files import write_wfdb

    write_wfdb(tmp_path / "x.hea", np.zeros((2, 800)), ch_names=("Fp1", "O2"), sfreq=200, slow=("O2",))
    with pytest.raises(ValueError, match=r"\[50.0, 200.0\] Hz"):
        to_raw(open_recording(str(tmp_path / "x.hea")))
