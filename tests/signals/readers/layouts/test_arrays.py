import os
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.io import loadmat, savemat

from signals.modality import EEG_1020
from signals.readers.declaration import Declaration
from signals.readers.layouts.known import LAYOUTS
from signals.readers.layouts.layout import layout_of
from signals.readers.registry import open_recording
from signals.recording.recording import UnreadableError
from synthetic.recordings.laboratory_files import write_mat73

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
            variable = {"iiic-sparcnet": "seg_10sec"}[layout.name]
            path = write(tmp_path, "some_file.mat", **{variable: np.zeros(shape)})
            assert open_recording(path).reader == f"mat/{layout.name}"


def by(card, path):
    """Open a file by a layout of a site's own."""
    return open_recording(str(path), declared=Declaration(layouts=(layout_of(card, name="lab"),)))


def save(path, variables):
    """Write variables in the format of the file's name."""
    if path.suffix == ".npz":
        np.savez(path, **variables)
    elif path.suffix == ".npy":
        np.save(path, variables["eeg"])
    elif path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            for name, content in variables.items():
                file[f"rec/{name}"] = content
    elif path.name.startswith("new"):
        write_mat73(path, variables)
    else:
        savemat(path, variables)
    return str(path)


@pytest.mark.parametrize("name", ["old.mat", "new.mat", "a.npz", "a.npy", "a.h5"])
@pytest.mark.parametrize("time_axis", [0, 1])
def test_a_declared_layout_reads_any_file_of_arrays(tmp_path, name, time_axis):
    x = np.random.default_rng(0).normal(5000, 40, (4, 300)).astype(np.float32)  # the third channel is a counter
    card = {"formats": ["mat", "npz", "npy", "h5"], "axis": time_axis, "channels": ["Fp1", "O2", "", "EKG"],
            "unit": "µV", "rate": 200, "offset": 5000, "reference": "Cz"}  # fmt: skip
    (tmp_path / "lab").mkdir()
    path = save(tmp_path / "lab" / name, {"eeg": x if time_axis == 1 else x.T})
    recording = by(card, path)
    assert recording.reader.endswith("/lab")
    assert (recording.ch_names, recording.reference) == (("Fp1", "O2", "EKG"), "Cz")
    for again in (recording, pickle.loads(pickle.dumps(recording))):
        np.testing.assert_allclose(again.read([1, 0], start=9, stop=205), x[[1, 0], 9:205] - 5000, rtol=1e-6, atol=1e-4)
        np.testing.assert_allclose(again.read([2]), (x[3:] - 5000) / 1000, rtol=1e-5, atol=1e-6)
    with pytest.raises(UnreadableError, match="no declared layout"):
        open_recording(path)  # without the layout


@pytest.mark.parametrize("name", ["old.mat", "a.npz"])
def test_rate_and_labels_can_stand_in_the_file(tmp_path, name):
    card = {"formats": ["mat", "npz"], "variable": "samples", "axis": 0, "channels_from": "names", "rate": "fs",
            "unit": "V"}  # fmt: skip
    x = np.random.default_rng(0).normal(0, 4e-5, (500, 3))
    names = np.array(["Fp1", "C3", "O2"], dtype=object if name.endswith("mat") else "U3")
    variables = {"samples": x, "names": names, "fs": 250.0, "times": np.arange(500.0)[:, None]}
    recording = by(card, save(tmp_path / name, variables))
    assert (recording.ch_names, recording.sfreqs[0]) == (("Fp1", "C3", "O2"), 250.0)
    np.testing.assert_allclose(recording.read([2, 1]), x.T[[2, 1]] * 1e6, rtol=1e-6)
    for broken, reason in (({"names": names[:2]}, "does not name 3 channels"), ({"fs": 0.0}, "corrupt_header"),
                           ({"fs": np.ones(2)}, "unsupported_format")):  # fmt: skip
        with pytest.raises(UnreadableError, match=reason):
            by(card, save(tmp_path / f"b{name}", variables | broken))


def test_without_a_name_exactly_one_array_must_be_plausible(tmp_path):
    card = {"formats": "mat", "channels": ["Fp1", "O2"], "rate": 200, "unit": "µV"}
    x = np.ones((2, 300))
    assert by(card, write(tmp_path, "a.mat", x=x, table=np.ones((3, 300)), note="text")).duration_s == 1.5
    with pytest.raises(UnreadableError, match=r"shapes \(2, 300\), \(2, 400\)"):
        by(card, write(tmp_path, "b.mat", x=x, y=np.ones((2, 400))))
    with pytest.raises(UnreadableError, match="unsupported_format"):
        by(card, write(tmp_path, "c.mat", x=np.ones((2, 2))))


def test_segments_of_ten_seconds_as_matlab_73(tmp_path):
    x = np.random.default_rng(0).normal(0, 30, (20, 2000))
    write_mat73(tmp_path / "a.mat", {"seg_10sec": x, "Fs": 200.0})
    recording = open_recording(str(tmp_path / "a.mat"))
    assert (recording.reader, recording.duration_s) == ("mat/iiic-sparcnet", 10.0)
    np.testing.assert_allclose(recording.read(range(19), start=500), x[:19, 500:], rtol=1e-6)
    write_mat73(tmp_path / "b.mat", {"seg_10sec": x, "Fs": 256.0})
    with pytest.raises(UnreadableError, match="the layout iiic-sparcnet has 200.0 Hz"):
        open_recording(str(tmp_path / "b.mat"))


def test_pickles_in_arrays_are_not_opened(tmp_path):
    card = {"formats": ["npz", "npy"], "channels": ["Fp1", "O2"], "rate": 200}
    np.save(tmp_path / "a.npy", np.array([[1, 2], [3, {}]], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "a.npz", x=np.array([{}], dtype=object))
    for name in ("a.npy", "a.npz"):
        with pytest.raises(UnreadableError, match="unsupported_format"):
            by(card, tmp_path / name)


def test_the_side_file_of_a_wfdb_record_is_named_as_such(tmp_path):
    (tmp_path / "a.hea").write_text("a 12 500 5000\n")
    with pytest.raises(UnreadableError, match="open its .hea"):
        open_recording(write(tmp_path, "a.mat", val=np.ones((12, 5000))))


@needs_real_data
def test_real_files():
    path = Path(REAL_DATA, "real/boston-iiic-sparcnet/GPD_sample2.mat")
    assert np.array_equal(open_recording(str(path)).read([0, 18]), loadmat(path)["seg"][[0, 18]].astype(np.float32))
