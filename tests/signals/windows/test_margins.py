"""Recordings shorter than a window: what is known is as in a long one, what is not is marked, nothing is lost."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.io import savemat

from signals.description.artifacts import BIT
from signals.modality import EEG_1020
from signals.readers.memory import recording_of_array
from signals.readers.registry import open_recording
from signals.recording.recording import UnreadableError
from signals.shards.records import decode_window, encode_window
from signals.window import MEASURED
from signals.windows.blocks import place_windows, plan_windows
from signals.windows.labels import Label
from signals.windows.margins import margins_of, with_margins
from signals.windows.plan import plan_recording
from signals.windows.prepare import prepare_recording
from signals.windows.profiles import PRETRAIN, SIX_CLASS, SIX_CLASS_SPECTROGRAM, SLEEP

WHOLE = (Label(onset_s=None, label="LPD"),)


def eeg(seconds, *, sfreq=200, seed=0):
    """Return 19 channels of noise with a 1/f spectrum, µV."""
    rng = np.random.default_rng(seed)
    freqs = np.fft.rfftfreq(int(seconds * sfreq), 1 / sfreq)
    shape = np.where(freqs < 0.5, 0, 1 / np.maximum(freqs, 0.5))
    spectrum = np.fft.rfft(rng.normal(size=(19, int(seconds * sfreq)))) * shape
    return 60 * np.fft.irfft(spectrum, n=int(seconds * sfreq))


def planned(x, profile=SIX_CLASS, sfreq=200):
    recording = recording_of_array(x, ch_names=EEG_1020.ch_names, sfreq=sfreq)
    how = {"site_id": "s", "subject_id": "p", "source_sha256": "ab" * 32, "mains_hz": 60.0}
    return recording, plan_recording(recording, profile, **how)


def window_of(x, profile=SIX_CLASS, labels=WHOLE, sfreq=200):
    recording, plan = planned(x, profile, sfreq)
    (window,) = prepare_recording(recording, plan, labels)
    return window


@pytest.mark.parametrize("sfreq", [200, 256, 173])
def test_the_ten_seconds_stand_where_the_label_speaks(sfreq):
    whole = eeg(50, sfreq=sfreq)
    cut = whole[:, 20 * sfreq : 30 * sfreq]
    short, long = window_of(cut, sfreq=sfreq), window_of(whole, sfreq=sfreq)
    assert short.data.shape == long.data.shape == (19, 12800)
    assert (short.start_s, short.label_span_s, short.label) == (-20.0, (20.0, 30.0), "LPD")
    inner = slice(22 * 256, 28 * 256)  # two seconds from the cut, where the filters see other neighbours
    apart = short.data[:, inner] - long.data[:, inner]
    assert np.sqrt((apart**2).mean()) < 0.2 * long.data[:, inner].std()
    assert all(np.corrcoef(a, b)[0, 1] > 0.95 for a, b in zip(short.data[:, inner], long.data[:, inner], strict=True))
    # The mirrored margins have the size of the signal: no scale is fooled.
    assert 0.5 < short.data.std() / short.data[:, 20 * 256 : 30 * 256].std() < 1.5


def test_what_is_unknown_is_marked_and_nothing_else():
    window = window_of(eeg(10))
    gap = (window.artifact_mask & BIT["gap"]) > 0
    known = np.zeros(50, dtype=bool)
    known[20:30] = True
    assert (gap[window.ch_state == MEASURED] == ~known).all()


@pytest.mark.parametrize("seconds", [10, 11.5, 29, 49.9])
def test_a_longer_one_stands_in_the_middle(seconds):
    window = window_of(eeg(seconds))
    assert window.start_s == pytest.approx(seconds / 2 - 25, abs=0.01)
    known = ((window.artifact_mask & BIT["gap"]) == 0).all(axis=0)
    assert int(seconds) - 2 <= known.sum() <= seconds
    assert known[24:26].all()


def test_a_record_keeps_a_window_that_begins_before_its_recording():
    window = window_of(eeg(10))
    again = decode_window(encode_window(window))
    assert (again.start_s, again.key) == (-20.0, window.key)


def test_labels_with_onsets_speak_of_their_own_ten_seconds():
    recording, plan = planned(eeg(34))
    labels = [Label(onset_s=onset, label="GPD") for onset in (-20.0, -10.0, 4.0, 5.0)]
    placed = place_windows(recording, plan, labels)
    assert [start.start for start in placed.starts] == [0, 2560, 24 * 256]
    assert [(row.onset_s, row.reason) for row in placed.refused] == [(5.0, "label_out_of_range")]


def test_without_a_label_or_room_it_is_too_short():
    recording, plan = planned(eeg(10))
    with pytest.raises(
        UnreadableError, match=r"too_short: 10.0 s without a gap, a window takes 50 s, a labelled one 10"
    ):
        plan_windows(recording, plan)
    with pytest.raises(UnreadableError, match=r"too_short: 9.5 s"):
        planned(eeg(9.5))
    for profile in (PRETRAIN, SLEEP):  # their labels speak of whole windows
        with pytest.raises(UnreadableError, match="too_short"):
            planned(eeg(9), profile)
    with pytest.raises(UnreadableError, match="contradicting_labels"):
        plan_windows(recording, plan, (*WHOLE, Label(onset_s=None, label="GPD")))
    votes = tuple(
        Label(onset_s=None, label=name, votes=(1.0, k, 0, 0, 0, 0)) for name, k in (("Seizure", 0.0), ("LPD", 4.0))
    )
    (start,) = plan_windows(recording, plan, votes)
    assert (start.label.label, start.label.votes) == ("LPD", (2.0, 4.0, 0, 0, 0, 0))


def test_a_hop_tiles_what_was_recorded():
    recording, plan = planned(eeg(34), replace(SIX_CLASS, windows="tile", hop_s=10))
    assert [start.start / 256 for start in plan_windows(recording, plan)] == [0, 10, 20]
    windows = list(prepare_recording(recording, plan))
    assert [window.start_s + 20 for window in windows] == [0.0, 10.0, 20.0]


def test_a_flat_or_lost_segment_is_still_rejected():
    for x in (np.zeros((19, 2000)), np.full((19, 2000), np.nan)):
        x[:, :2] = 30.0  # amplitude of the whole is judged elsewhere
        recording, plan = planned(eeg(10))
        broken = replace(recording, read_samples=lambda picks, s, a, b, x=x: x[picks, a:b].astype(np.float32))
        assert list(prepare_recording(broken, plan, WHOLE)) == []


def test_the_spectrogram_knows_ten_seconds():
    window = window_of(eeg(10), SIX_CLASS_SPECTROGRAM)
    known = np.isfinite(window.spectrogram[:, 20]).all(axis=0)
    assert 1 <= known.sum() <= 5
    assert known[147:153].sum() == known.sum()


def test_margins():
    assert margins_of(SIX_CLASS, 49.99, native_sfreq=200) == (0.0, 0.0)
    assert margins_of(SIX_CLASS, 49.98, native_sfreq=200) == (20.0, 20.0)
    assert margins_of(SIX_CLASS, 9.99, native_sfreq=200) == (20.0, 20.0)
    assert margins_of(SIX_CLASS, 9.98, native_sfreq=200) is None
    recording = recording_of_array(np.arange(4.0)[None], ch_names=["Fp1"], sfreq=1.0)
    view = with_margins(recording, (5.0, 3.0))
    assert view.read([0])[0].tolist() == [1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0]
    assert view.read([0], start=4, stop=7)[0].tolist() == [1, 0, 1]
    assert (view.segments[0].onset_s, view.segments[0].duration_s) == (-5.0, 12.0)
    assert with_margins(recording, (0.0, 0.0)) is recording


def test_the_form_of_ten_seconds_of_critical_care(tmp_path):
    x = np.r_[eeg(10), np.random.default_rng(1).normal(0, 300, (1, 2000))]  # rows in HMS order, EKG last
    savemat(tmp_path / "a.mat", {"seg_10sec": x})
    recording = open_recording(str(tmp_path / "a.mat"))
    plan = plan_recording(recording, SIX_CLASS, site_id="s", subject_id="p", source_sha256="0" * 64)
    (window,) = prepare_recording(recording, plan, WHOLE)
    assert (window.ch_state == MEASURED).all()
    assert window.data.shape == (19, 12800)
