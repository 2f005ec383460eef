import os
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from signals.modality import EEG_1020
from signals.readers.layouts.known import LAYOUTS
from signals.readers.registry import open_recording
from signals.recording.recording import UnreadableError

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
    assert recording.duration_s == 2.0
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
        ]
    ):
        with pytest.raises(UnreadableError) as caught:
            open_recording(write(tmp_path, f"f{number}.mat", **variables))
        assert caught.value.reason == "unsupported_format"
    with pytest.raises(UnreadableError, match="no_samples"):
        open_recording(write(tmp_path, "e.mat", seg=np.ones((20, 0))))


def test_every_known_layout_of_arrays_can_be_recognised(tmp_path):
    for layout in LAYOUTS:
        if "mat" in layout.formats:
            shape = (len(layout.ch_names), 300) if layout.time_axis == 1 else (300, len(layout.ch_names))
            variable = {"iiic-sparcnet": "seg_10sec", "tehran-adhd": "file"}[layout.name]
            path = write(tmp_path, "some_file.mat", **{variable: np.zeros(shape)})
            assert open_recording(path).reader == f"mat/{layout.name}"


@needs_real_data
def test_real_files():
    path = Path(REAL_DATA, "real/boston-iiic-sparcnet/GPD_sample2.mat")
    assert np.array_equal(open_recording(str(path)).read([0, 18]), loadmat(path)["seg"][[0, 18]].astype(np.float32))
    path = Path(REAL_DATA, "real/tehran-adhd/ADHD_v10p.mat")
    assert np.array_equal(open_recording(str(path)).read([4]), loadmat(path)["v10p"].T[4:5].astype(np.float32))
