"""Recordings of real devices equal what their libraries read, sample for sample; skipped without CEREBEAM_REAL_DATA."""

import os
from pathlib import Path

import mne
import numpy as np
import pytest

from signals.readers.registry import open_recording
from signals.recording.events import event_word

REAL_DATA = Path(os.environ.get("CEREBEAM_REAL_DATA", "/nonexistent"))
pytestmark = pytest.mark.skipif(not (REAL_DATA / "formats").is_dir(), reason="CEREBEAM_REAL_DATA is not set")
SCALE = {"ecg": 1e3, "stim": 1.0, "misc": 1.0}


def only(pattern):
    (path,) = REAL_DATA.glob(pattern)
    return path


def compare(recording, raw):
    scale = np.array([[SCALE.get(kind, 1e6)] for kind in recording.sensor_types])
    x = recording.read(range(len(recording.ch_names)))
    voltages = [k for k, kind in enumerate(recording.sensor_types) if kind != "misc"]
    np.testing.assert_allclose(x[voltages], (raw.get_data() * scale)[voltages], rtol=2e-6, atol=1e-4)
    assert len(recording.annotations) == len(raw.annotations)
    ours = sorted((round(a.onset_s, 6), a.description) for a in recording.annotations)
    theirs = zip(raw.annotations.onset, raw.annotations.description, strict=True)
    assert ours == sorted((round(float(onset), 6), event_word(text)) for onset, text in theirs)


@pytest.mark.parametrize(
    ("pattern", "read", "n_chans", "sfreq"),
    [
        ("formats/ant-andy101/*.cnt", "read_raw_ant", 128, 2000.0),
        ("formats/persyst/*.lay", "read_raw_persyst", 83, 200.0),
        ("formats/gdf-1ch/*.gdf", "read_raw_gdf", 1, 150.0),
        ("awkward/mne-python/test_egi.raw", "read_raw_egi", 262, 250.0),
    ],
)
def test_files_equal_mne(pattern, read, n_chans, sfreq):
    if "ant" in pattern:
        pytest.importorskip("antio")
    path = only(pattern)
    recording = open_recording(str(path))
    assert (len(recording.ch_names), set(recording.sfreqs)) == (n_chans, {sfreq})
    compare(recording, getattr(mne.io, read)(path, verbose="ERROR"))


def test_ant_equals_the_same_recording_as_brainvision():
    pytest.importorskip("antio")
    ant = open_recording(str(only("formats/ant-andy101/*.cnt")))
    truth = open_recording(str(only("formats/ant-andy101/*.vhdr")))
    assert ant.ch_names == truth.ch_names
    picks = [k for k, pair in enumerate(zip(ant.sensor_types, truth.sensor_types, strict=True)) if len(set(pair)) == 1]
    assert len(picks) == 128
    np.testing.assert_allclose(ant.read(picks), truth.read(picks), atol=0.1)


def test_openvibe_equals_the_same_recording_as_edf():
    vibe = open_recording(str(only("formats/openvibe-ov/*.ov")))
    truth = open_recording(str(only("more/santafe-openbci/S03_FILT_S1R0.edf")))
    assert (vibe.ch_names, vibe.sfreqs) == (truth.ch_names, truth.sfreqs)
    n_times = truth.n_times(0)  # the EDF ends with its last whole second
    assert 0 <= vibe.n_times(0) - n_times < 125
    # 16 bits over the range of each channel, about ±300 µV: half a step is 0.005 µV
    np.testing.assert_allclose(vibe.read(range(15), stop=n_times), truth.read(range(15)), atol=0.006)


@pytest.mark.parametrize(
    ("pattern", "stream", "n_segments"),
    [("more/calgary-gtec/*.xdf", "g.USBamp-1", 1), ("formats/xdf-clockresets/*.xdf", "BioSemi", 2)],
)
def test_xdf_equals_pyxdf(pattern, stream, n_segments):
    pyxdf = pytest.importorskip("pyxdf")
    recording = open_recording(str(only(pattern)))
    (truth,) = [s for s in pyxdf.load_xdf(only(pattern), verbose=False)[0] if s["info"]["name"] == [stream]]
    assert len(recording.segments) == n_segments
    picks = range(len(recording.ch_names))
    x = np.concatenate([recording.read(picks, segment=k) for k in range(n_segments)], axis=1)
    assert np.array_equal(x, truth["time_series"].T.astype(np.float32))
    spans = [span[0] for span in truth["info"]["segments"]]
    onsets = truth["time_stamps"][spans] - truth["time_stamps"][0]
    np.testing.assert_allclose([segment.onset_s for segment in recording.segments], onsets, atol=1e-6)


@pytest.mark.parametrize(
    "pattern",
    [
        "formats/chicago-muse/muse-af.hea",
        "ecg/boston-mitdb/208.hea",
        "ecg/nizhny-ludb/1.hea",
        "ecg/atlanta-g12ec/E00001.hea",
    ],
)
def test_wfdb_equals_wfdb(pattern):
    wfdb = pytest.importorskip("wfdb")
    path = only(pattern)
    recording = open_recording(str(path))
    truth = wfdb.rdrecord(str(path.with_suffix("")))
    picks = range(len(recording.ch_names))
    assert set(recording.sensor_types) == {"ecg"}
    np.testing.assert_allclose(recording.read(picks), truth.p_signal.T, rtol=1e-6, atol=1e-7)  # mV
    start, stop = 1001, 2345
    np.testing.assert_allclose(recording.read([1, 0], start=start, stop=stop), truth.p_signal.T[[1, 0], start:stop],
                               rtol=1e-6, atol=1e-7)  # fmt: skip
