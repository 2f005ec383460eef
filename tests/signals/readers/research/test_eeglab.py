import base64
import dataclasses
import os
import pickle
import zlib
from pathlib import Path

import mne
import numpy as np
import pytest
from scipy.io import savemat

from signals.readers import isolated
from signals.readers.registry import open_recording, reopen_recording, source_files
from signals.recording.events import event_word
from signals.recording.recording import Annotation, Segment, UnreadableError
from synthetic.recordings.laboratory_files import write_eeglab, write_mat73

REAL_DATA = os.environ.get("CEREBEAM_REAL_DATA", "")
VALUES = np.arange(200, dtype=np.float32).reshape(2, 100)


def write(folder, data, *, fdt=None, events=(), **changes):
    locations = np.array([("Fp1", ""), ("hand", "EMG")], dtype=[("labels", object), ("type", object)])
    event = np.array(list(events), dtype=[("type", object), ("latency", object), ("duration", object)])
    eeg = {"nbchan": 2, "pnts": 100, "trials": 1, "srate": 50, "data": data, "chanlocs": locations, "event": event}
    eeg |= {"subject": "S-7", "ref": "common"} | changes
    savemat(folder / "x.set", {"EEG": eeg})
    if fdt is not None:
        folder.joinpath("x.fdt").write_bytes(fdt)
    return str(folder / "x.set")


@pytest.mark.parametrize("inside", [True, False])
def test_samples_inside_and_beside_are_the_same(tmp_path, inside):
    fdt = None if inside else VALUES.T.tobytes()  # .fdt: all channels of a time beside each other
    path = write(tmp_path, VALUES if inside else "renamed.fdt", fdt=fdt)
    recording = open_recording(path)
    assert np.array_equal(recording.read([1, 0], start=3, stop=50), VALUES[::-1, 3:50])
    assert recording.sensor_types == ("eeg", "emg")
    assert (recording.patient, recording.reference, recording.sfreqs) == ("S-7", "common", (50.0, 50.0))
    assert len(source_files(path)) == (1 if inside else 2)


def test_boundaries_are_gaps(tmp_path):
    # EEGLAB counts samples from 1 and puts a boundary half a sample before the first sample after the cut.
    events = [("rt", 11, 0), ("boundary", 50.5, 25), ("rt", 51, 5)]
    recording = open_recording(write(tmp_path, VALUES, events=events))
    assert recording.segments == (Segment(0.0, 1.0), Segment(1.5, 1.0))
    assert recording.annotations == (Annotation(0.2, 0.0, "response"), Annotation(1.5, 0.1, "response"))
    assert np.array_equal(recording.read([0], segment=1), VALUES[:1, 50:])


@pytest.mark.parametrize(
    ("data", "fdt", "changes", "reason"),
    [
        (VALUES, None, {"trials": 2}, "corrupt_header"),
        (VALUES, None, {"nbchan": 3}, "corrupt_header"),
        (VALUES, None, {"pnts": 90}, "corrupt_header"),
        (VALUES, None, {"srate": 0}, "corrupt_header"),
        (VALUES, None, {"srate": 1e7}, "corrupt_header"),
        (VALUES, None, {"srate": "fast"}, "corrupt_header"),
        (VALUES, None, {"nbchan": 2.5}, "corrupt_header"),
        (VALUES[:1], None, {"nbchan": 1}, "corrupt_header"),  # one channel, two labels
        (VALUES[:, :0], None, {"pnts": 0}, "no_samples"),
        ("x.fdt", None, {}, "missing_file"),
        ("x.fdt", bytes(796), {}, "corrupt_header"),
    ],
)
def test_contradictions_have_their_reason(tmp_path, data, fdt, changes, reason):
    with pytest.raises(UnreadableError) as caught:
        open_recording(write(tmp_path, data, fdt=fdt, **changes))
    assert caught.value.reason == reason


def test_newer_files_hold_the_fields_as_variables(tmp_path):
    locations = np.array([("Cz", "")], dtype=[("labels", object), ("type", object)])
    eeg = {"nbchan": 1, "pnts": 100, "srate": 50, "data": VALUES[:1], "chanlocs": locations}
    savemat(tmp_path / "x.set", eeg)
    recording = open_recording(str(tmp_path / "x.set"))
    # No field "trials" is a continuous file; without subject, reference and events it has none.
    assert (recording.ch_names, recording.segments) == (("Cz",), (Segment(0.0, 2.0),))
    assert (recording.patient, recording.reference, recording.annotations) == ("", "", ())
    assert np.array_equal(recording.read([0]), VALUES[:1])
    savemat(tmp_path / "y.set", {key: value for key, value in eeg.items() if key != "srate"})
    with pytest.raises(UnreadableError, match="not_what_it_says"):
        open_recording(str(tmp_path / "y.set"))


def test_events_without_a_time_are_left_out(tmp_path):
    events = [("rt", np.nan, 1), ("rt", "late", 1), (7, 26, -3), ("rt", 51, np.nan)]
    recording = open_recording(write(tmp_path, VALUES, events=events))
    # Sample 26 is the 25th from 0, at 0.5 s; a negative or missing duration is none.
    assert recording.annotations == (Annotation(0.5, 0.0, "7"), Annotation(1.0, 0.0, "response"))
    assert recording.notes == ()


def test_a_renamed_pair_is_found_and_types_are_taken(tmp_path):
    path = Path(write(tmp_path, "C:\\lab\\session 1.fdt", fdt=VALUES.T.tobytes()))
    assert open_recording(str(path)).read([0], stop=3).tolist() == [[0.0, 1.0, 2.0]]
    path.with_name("x.fdt").rename(path.with_name("session 1.fdt"))
    assert [side.name for side in source_files(path)] == ["x.set", "session 1.fdt"]
    for kind, sensor_type in {"EKG": "ecg", "ECG": "ecg", "eog": "eog", "EEG": "eeg"}.items():
        locations = np.array([("Fp1", kind), ("Fp2", "")], dtype=[("labels", object), ("type", object)])
        recording = open_recording(write(tmp_path, VALUES, chanlocs=locations))
        assert recording.sensor_types == (sensor_type, "eeg")
        # The file's µV are mV for the heart.
        np.testing.assert_allclose(recording.read([0]), VALUES[:1] * (1e-3 if sensor_type == "ecg" else 1), rtol=1e-6)


NAMES = ("Fp1", "C3", "O2")
EVENTS = [("square", 10.0, 0.0), ("rt", 130.0, 5.0), ("Mrs. Doe", 260.0, 0.0)]


@pytest.fixture
def epochs():
    """Three channels, 100 times, three epochs, µV."""
    return np.random.default_rng(0).normal(0, 30, (3, 100, 3)).astype(np.float32)


@pytest.mark.parametrize("in_fdt", [False, True])
@pytest.mark.parametrize("hdf5", [False, True])
def test_epochs_are_segments(tmp_path, epochs, hdf5, in_fdt):
    path = tmp_path / "x.set"
    write_eeglab(path, epochs, ch_names=NAMES, sfreq=50, events=EVENTS, hdf5=hdf5, in_fdt=in_fdt, subject="S-7")
    recording = open_recording(str(path))
    assert recording.ch_names == NAMES
    assert recording.segments == (Segment(0.0, 2.0), Segment(2.0, 2.0), Segment(4.0, 2.0))
    assert recording.notes == ("epochs", "gaps")
    for k in range(3):
        np.testing.assert_array_equal(recording.read([2, 0], segment=k, start=7), epochs[[2, 0], 7:, k])
    # events count from the first sample of the first epoch: 130 / 50 Hz is 0.6 s into the second one
    assert [(a.onset_s, a.duration_s, a.description) for a in recording.annotations] == [
        (0.2, 0.0, "stimulus"), (2.6, 0.1, "response"), (5.2, 0.0, "other"),
    ]  # fmt: skip
    assert (recording.patient, recording.reference) == ("S-7", "common")
    assert len(source_files(path)) == (2 if in_fdt else 1)
    again = pickle.loads(pickle.dumps(recording))
    np.testing.assert_array_equal(again.read([1], segment=2), epochs[1:2, :, 2])


@pytest.mark.parametrize("in_fdt", [False, True])
def test_matlab_73_equals_matlab_5_and_mne(tmp_path, epochs, in_fdt):
    pytest.importorskip("pymatreader")
    x, events = epochs.reshape(3, 300), [("boundary", 149.5, 25.0), *EVENTS]
    for name, hdf5 in (("old", False), ("new", True)):
        write_eeglab(tmp_path / f"{name}.set", x, ch_names=NAMES, sfreq=50, events=events, hdf5=hdf5, in_fdt=in_fdt)
    old, new = (open_recording(str(tmp_path / f"{name}.set")) for name in ("old", "new"))
    assert dataclasses.replace(new, uri=old.uri) == old
    # the boundary, half a sample before the 150th, stands for 25 samples that were cut out
    assert new.segments == (Segment(0.0, 3.0), Segment(3.5, 3.0))
    ours = np.concatenate([new.read(range(3), segment=k) for k in (0, 1)], axis=1)
    raw = mne.io.read_raw_eeglab(tmp_path / "new.set", verbose="ERROR")
    np.testing.assert_allclose(ours, raw.get_data() * 1e6, rtol=1e-6)


def test_a_file_of_one_channel_and_one_event(tmp_path, epochs):
    write_eeglab(tmp_path / "x.set", epochs[:1, :, 0], ch_names=("Cz",), sfreq=50, events=EVENTS[:1], hdf5=True)
    recording = open_recording(str(tmp_path / "x.set"))
    assert (recording.ch_names, len(recording.annotations)) == (("Cz",), 1)


def test_damaged_matlab_73_files_have_their_reason(tmp_path, epochs):
    path = tmp_path / "x.set"
    write_eeglab(path, epochs[:, :, 0], ch_names=NAMES[:2], sfreq=50, hdf5=True)
    with pytest.raises(UnreadableError, match="corrupt_header"):
        open_recording(str(path))
    write_mat73(path, {"other": 1.0})
    with pytest.raises(UnreadableError, match="not_what_it_says"):
        open_recording(str(path))
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(UnreadableError, match="corrupt_header"):
        open_recording(str(path))


@pytest.mark.skipif(not Path(REAL_DATA, "real").is_dir(), reason="CEREBEAM_REAL_DATA is not set")
def test_a_real_file_equals_mne():
    path = Path(REAL_DATA, "real/sandiego-eeglab/eeglab_data.set")
    recording = open_recording(str(path))
    raw = mne.io.read_raw_eeglab(path, verbose="ERROR", montage_units="auto")
    assert list(recording.ch_names) == raw.ch_names
    np.testing.assert_allclose(recording.read(range(32)), raw.get_data() * 1e6, rtol=1e-6)
    np.testing.assert_allclose([a.onset_s for a in recording.annotations], raw.annotations.onset, atol=1e-6)
    assert [a.description for a in recording.annotations] == [event_word(text) for text in raw.annotations.description]


DAMAGED = (
    "c-"
    "p;}&riZI6vrPwg_sx<k6wE8pkxd|vWp^N#zd6F9Xxm$qYE=zw`_%g7ykq=9{hLoukg?C;@y_b2`FM%Xp^R|UB3IgzP>eY?S^*II7QWxgxU@5"
    "z_e_PI<`(t*LM`;xq&s>M@=8=6!(xz6m&fx=+Ye`Sw^y?RO(9Qh#7JXR%og7_7)r7HUaW%EU=!A9_6BWD()F*wa(aj7K+iD!8++0eVs7FBQ%"
    "&Osc-2vHv^wJ%~wW_MIbcv(ZmP_-8*bh03VwnucuReV({15t`PtpVnSnAxu13T_A|fG&#)Dv^{`b=66v2_lIh|7IGNr`$X`8vkFOtlw-"
    "4%sFHPyQbNV=?qH%ixH~R}WKd0k!!*v{&{7;{o)AM=1WcFype=hu;-#b%!p5GhMoNH~pi&-"
    "|)v4`XRNK5?5%=nW5)hk1i_$}k5XLM;$D<G8D6wK?anHR_LNbJ5e!Ew~8VtH3(u{`x&@OL1X*I6^~=RGEiJ-"
    "<W2=O>ug5zJHTg6|i>`_pQI?=v|W?*<mvCG)!Jx_g&b*<S?-`&Yok7_$m`!0K(w4J&Q<1g7O_?E"
)
"""A MATLAB 5 file of a struct with a string and 19 labels, damaged by the fuzz: zlib, base 85. SciPy 1.17's loadmat
ends its process over it with a segmentation fault."""


@pytest.mark.parametrize("name", ["x.set", "x.mat"])
def test_a_file_that_crashes_the_library_costs_itself_only(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(zlib.decompress(base64.b85decode(DAMAGED)))
    for _ in range(2):  # the next one finds a new process
        with pytest.raises(UnreadableError, match="reader_crashed: .*ended its process"):
            open_recording(str(path))


def test_reopening_decodes_in_this_process_alone(tmp_path, monkeypatch):
    path = write(tmp_path, VALUES)
    header = open_recording(path).header
    monkeypatch.setattr(isolated, "run_isolated", lambda *_, **__: pytest.fail("another process"))
    assert np.array_equal(reopen_recording(path, header).read([0]), VALUES[:1])
