import os
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from signals.modality import EEG_1020
from signals.readers.mat import MAT_FORMS, refuse_hdf5
from signals.readers.registry import open_recording
from signals.recording.recording import Segment, UnreadableError

REAL_DATA = os.environ.get("CEREBEAM_REAL_DATA", "")
needs_real_data = pytest.mark.skipif(not Path(REAL_DATA, "real").is_dir(), reason="CEREBEAM_REAL_DATA is not set")


def write(folder, name, **variables):
    savemat(folder / name, variables)
    return str(folder / name)


@pytest.mark.parametrize("variable", ["seg", "data"])
def test_iiic_form(tmp_path, variable):
    values = np.arange(20 * 400.0).reshape(20, 400)
    recording = open_recording(write(tmp_path, "a.mat", **{variable: values}, Fs=200))
    assert recording.ch_names == (*EEG_1020.ch_names, "EKG")
    assert recording.segments == (Segment(0.0, 2.0),)
    assert (recording.sfreqs, recording.notes) == ((200.0,) * 20, ())
    assert recording.sensor_types == ("eeg",) * 19 + ("ecg",)
    assert np.array_equal(recording.read([3], start=1, stop=5), values[3:4, 1:5].astype(np.float32))
    np.testing.assert_allclose(recording.read([19]), values[19:] / 1000, rtol=1e-6)  # the ECG becomes mV


@pytest.mark.parametrize(
    ("name", "variable"), [("v10p.mat", "v10p"), ("ADHD_v10p.mat", "v10p"), ("x_kid3.mat", "kid3")]
)
def test_tehran_form(tmp_path, name, variable):
    values = np.arange(256 * 19.0).reshape(256, 19)
    recording = open_recording(write(tmp_path, name, **{variable: values}))
    assert (recording.ch_names[:2], recording.ch_names[-1], recording.duration_s) == (("Fp1", "Fp2"), "Pz", 2.0)
    assert recording.notes == ("unit_guessed",)
    assert np.array_equal(recording.read([18]), values.T[18:].astype(np.float32))


def test_other_content_is_refused(tmp_path):
    for number, variables in enumerate(
        [
            {"other": np.ones((20, 400))},
            {"seg": np.ones((19, 400))},
            {"seg": np.ones((20, 400)), "Fs": 256},
            {"seg": "text"},
            {"seg": np.ones((20, 400)), "srate": np.array([200, 200])},
            {"seg": np.ones((20, 4, 100))},
            {"seg": np.ones((20, 400)) > 0},
            {"segment": np.ones((20, 400))},
        ]
    ):
        with pytest.raises(UnreadableError) as caught:
            open_recording(write(tmp_path, f"f{number}.mat", **variables))
        assert caught.value.reason == "unsupported_format"
    with pytest.raises(UnreadableError, match="no_samples"):
        open_recording(write(tmp_path, "e.mat", seg=np.ones((20, 0))))


@pytest.mark.parametrize("dtype", ["<f8", "<f4", "<i2", "<i4"])
def test_every_kind_of_number_is_read(tmp_path, dtype):
    values = np.arange(20 * 30).reshape(20, 30).astype(dtype)
    recording = open_recording(write(tmp_path, "a.mat", seg=values, fs=200.0))
    assert np.array_equal(recording.read([1]), values[1:2].astype(np.float32))


@pytest.mark.parametrize("head", [b"MATLAB 7.3 MAT-file".ljust(512), b"MATLAB 5.0".ljust(512) + b"\x89HDF\r\n\x1a\n",
                                  b"\x89HDF\r\n\x1a\n".ljust(512)])  # fmt: skip
def test_hdf5_is_refused_with_what_to_do(tmp_path, head):
    (tmp_path / "x.mat").write_bytes(head.ljust(2000))
    with pytest.raises(UnreadableError, match="save it again with '-v7'"):
        refuse_hdf5(tmp_path / "x.mat")
    with pytest.raises(UnreadableError, match="save it again with '-v7'"):
        open_recording(str(tmp_path / "x.mat"))
    (tmp_path / "x.mat").write_bytes(b"MATLAB 5.0 MAT-file".ljust(2000))
    refuse_hdf5(tmp_path / "x.mat")


def test_a_file_that_was_written_anew_is_read_anew(tmp_path):
    for number in range(2):
        path = write(tmp_path, "a.mat", seg=np.full((20, 10), float(number)))
        os.utime(path, (number, number))
        assert open_recording(path).read([0])[0, 0] == number


def test_every_form_can_be_recognised(tmp_path):
    for form in MAT_FORMS:
        shape = (len(form.ch_names), 300) if form.time_axis == 1 else (300, len(form.ch_names))
        variable = form.variable.split("|")[0].replace("{stem}", "file")
        path = write(tmp_path, "some_file.mat", **{variable: np.zeros(shape)})
        assert open_recording(path).reader == f"mat/{form.name}"


@needs_real_data
def test_real_files():
    path = Path(REAL_DATA, "real/boston-iiic-sparcnet/GPD_sample2.mat")
    assert np.array_equal(open_recording(str(path)).read([0, 18]), loadmat(path)["seg"][[0, 18]].astype(np.float32))
    path = Path(REAL_DATA, "real/tehran-adhd/ADHD_v10p.mat")
    assert np.array_equal(open_recording(str(path)).read([4]), loadmat(path)["v10p"].T[4:5].astype(np.float32))
