"""Recordings that are refused and windows that are rejected, each with its reason."""

from dataclasses import replace

import numpy as np
import pytest

from signals.conditioning.cleaning import Cleaning
from signals.conditioning.filters import bandpass
from signals.recording.recording import UnreadableError
from signals.windows.blocks import Block, blocks, plan_windows
from signals.windows.prepare import prepare_block, prepare_recording
from signals.windows.profiles import PRETRAIN, SIX_CLASS
from tests.signals.windows.recordings_in_memory import NAMES, eeg, plan_of, recording_of


def test_a_flat_recording_is_rejected():
    recording = recording_of(np.zeros((19, 128 * 12)), 128.0)
    plan = plan_of(recording)
    prepared = prepare_block(recording, Block(plan, tuple(plan_windows(recording, plan))))
    assert [r.reason for r in prepared.rejected] == ["flat"]


@pytest.mark.parametrize(
    ("reason", "x", "ch_names", "profile"),
    [
        ("no_eeg_channels", eeg(12, 128.0, 2), ["SpO2", "Pulse"], PRETRAIN),
        ("too_short", eeg(9, 128.0), NAMES, PRETRAIN),
        ("too_few_channels", eeg(60, 128.0, 4), ["Fp1", "Fp2", "T3", "T4"], SIX_CLASS),
        ("implausible_amplitude", eeg(12, 128.0) * 1e6, NAMES, PRETRAIN),
        ("implausible_amplitude", eeg(12, 128.0) * 1e-6, NAMES, PRETRAIN),
        ("bipolar_montage", eeg(12, 128.0, 4), ["F7-C3", "C3-T5", "F8-C4", "C4-T6"], PRETRAIN),
    ],
)
def test_reason_codes(reason, x, ch_names, profile):
    recording = recording_of(x, 128.0, ch_names=ch_names)
    with pytest.raises(UnreadableError) as caught:
        plan_windows(recording, plan_of(recording, profile))
    assert caught.value.reason == reason


@pytest.mark.parametrize("size_uv", [1.1, 180.0])
@pytest.mark.parametrize(
    ("factor", "says"),
    [
        (1e3, "looks 1000 times too large"),
        (1e6, "looks 1000000 times too large"),
        (1e-3, "looks 1000 times too small"),
        (1e-6, "looks 1000000 times too small"),
    ],
)
def test_a_wrong_unit_is_reported_with_its_factor(size_uv, factor, says):
    # eeg() has 20 µV over the whole band; what counts is its robust size within 1-35 Hz.
    x = eeg(12, 128.0)
    band = bandpass(x, 128.0, l_freq=1.0, h_freq=35.0)
    x *= size_uv / np.median(1.4826 * np.median(np.abs(band), axis=1))
    plan_of(recording_of(x, 128.0))
    with pytest.raises(UnreadableError, match=says):
        plan_of(recording_of(x * factor, 128.0))


@pytest.mark.parametrize(
    ("sfreq", "says"),
    [
        (20.0, "20 Hz, EEG has 30 to"),
        (1e308, r"1e\+308 Hz"),
        (173.6113, "no ratio of whole numbers"),
        (2e5, "200000 Hz"),
    ],
)
def test_a_rate_that_is_none_of_eeg_is_refused(sfreq, says):
    with pytest.raises(UnreadableError, match=says) as caught:
        plan_of(replace(recording_of(eeg(12, 200.0), 200.0), sfreqs=(sfreq,) * 19))
    assert caught.value.reason == "unusable_rate"


def test_a_rate_of_two_decimals_is_fine():
    recording = recording_of(eeg(12, 173.61), 173.61)  # of the Bonn data: 25600 / 17361
    assert len(list(prepare_recording(recording, plan_of(recording)))) == 1


def test_a_short_recording_is_refused_before_its_mains_are_looked_for():
    with pytest.raises(UnreadableError, match="too_short: 0.4 s"):  # 50 Hz +- 0.5 Hz has no bin in 0.4 s
        plan_of(recording_of(eeg(0.41, 200.0), 200.0))


def test_mains_of_the_recording_count_where_nobody_else_states_them():
    recording = replace(recording_of(eeg(12, 200.0), 200.0), mains_hz=60.0)
    assert plan_of(recording).mains_hz == 60.0
    assert plan_of(recording, mains_hz=50.0).mains_hz == 50.0


def spoilt(seconds, sfreq):
    """EEG with a dead electrode, a stretch that is lost on all channels, one lost on half, and a flat minute."""
    x = eeg(seconds, sfreq)
    x[3, :] = 0.0
    x[:, round(20 * sfreq) : round(26.5 * sfreq)] = np.nan
    x[::2, round(41 * sfreq) : round(43 * sfreq)] = np.nan
    x[:, round(60 * sfreq) :] = 7.0
    return x


@pytest.mark.parametrize("changes", [{}, {"cleaning": Cleaning(transients=True)}, {"repair_bad_channels": False}])
@pytest.mark.parametrize("sfreq", [200.0, 256.0, 173.61])
def test_a_window_without_its_description_has_the_same_samples_and_is_rejected_alike(sfreq, changes):
    recording = recording_of(spoilt(90, sfreq), sfreq)
    plan = plan_of(recording, replace(PRETRAIN, hop_s=5.0, **changes))
    for block in blocks(plan, plan_windows(recording, plan)):
        whole, lean = prepare_block(recording, block), prepare_block(recording, block, want=())
        assert whole.rejected == lean.rejected
        assert [w.key for w in whole.windows] == [w.key for w in lean.windows]
        for a, b in zip(whole.windows, lean.windows, strict=True):
            assert np.array_equal(a.data, b.data)
            assert np.array_equal(a.ch_state, b.ch_state)
            assert a.provenance == b.provenance
            # What was not computed cannot be mistaken for something that was.
            assert (b.artifact_mask.shape, b.features.shape) == ((19, 0), (19, 0))
            assert (b.snr_db, b.artifact_ratio, b.quality_verdict) == (None, None, "")
            assert np.isnan(b.quality).all()


def test_rejections_of_both_kinds_occur_above():
    recording = recording_of(spoilt(90, 200.0), 200.0)
    plan = plan_of(recording, replace(PRETRAIN, hop_s=5.0))
    parts = blocks(plan, plan_windows(recording, plan))
    assert {r.reason for block in parts for r in prepare_block(recording, block, want=()).rejected} == {
        "mostly_missing",
        "flat",
    }


def test_something_unknown_to_want_is_refused():
    recording = recording_of(eeg(20, 200.0), 200.0)
    with pytest.raises(ValueError, match=r"want=\['colour'\] is not a part of \['description', 'spectrogram'\]"):
        list(prepare_recording(recording, plan_of(recording), want={"colour"}))
