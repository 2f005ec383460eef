from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import resample_poly

from signals.conditioning.filters import antialias_taps, resampling_ratio
from signals.modality import EEG_1020
from signals.recording.recording import Recording, Segment
from signals.windows.plan import plan_recording
from signals.windows.prepare import prepare_recording
from signals.windows.profiles import PRETRAIN
from synthetic.perturb import (
    NotPossibleError,
    add_artifact,
    add_hum,
    change_gains,
    record_at,
    remove_channels,
    rereference,
)

NAMES = ("EKG", *EEG_1020.ch_names)
SFREQ, N_TIMES = 200.0, 26000


def in_memory(data, *, sfreq=SFREQ, ch_names=NAMES, types=None):
    """Return two segments of samples (n_chans, n_times) as a recording; the second begins after a gap of 10 s."""
    half = data.shape[1] // 2

    def read(picks, segment, start, stop):
        return data[list(picks), segment * half + start : segment * half + stop].astype(np.float32)

    return Recording(
        uri="memory",
        reader="memory",
        ch_names=ch_names,
        sensor_types=types or ("ecg", *("eeg",) * (len(ch_names) - 1)),
        sfreqs=(sfreq,) * len(ch_names),
        segments=(Segment(0.0, half / sfreq), Segment(half / sfreq + 10, half / sfreq)),
        read_samples=read,
    )


@pytest.fixture(scope="module")
def recording():
    return in_memory(np.random.default_rng(0).normal(0, 20, (20, N_TIMES)))


CHANGES = {
    "remove": partial(remove_channels, n=4, among=EEG_1020.ch_names, seed=1),
    "gain": partial(change_gains, spread=0.3, seed=1),
    "hum": partial(add_hum, mains_hz=50.0, amplitude_uv=20.0, seed=1),
    "blink": partial(add_artifact, kind="blink", amplitude_uv=100.0, seed=(1,)),
    "muscle": partial(add_artifact, kind="muscle", amplitude_uv=30.0, seed=(1,)),
    "pop": partial(add_artifact, kind="pop", amplitude_uv=100.0, seed=(1,)),
    "drift": partial(add_artifact, kind="drift", amplitude_uv=100.0, seed=(1,)),
    "heartbeat": partial(add_artifact, kind="heartbeat", amplitude_uv=10.0, seed=(1,)),
    "Cz": partial(rereference, reference="Cz"),
    "average": partial(rereference, reference="average"),
    "100 Hz": partial(record_at, sfreq=100.0),
    "128 Hz": partial(record_at, sfreq=128.0),
    "500 Hz": partial(record_at, sfreq=500.0),
}
WHOLE = {}


@settings(max_examples=12, deadline=None)
@given(start=st.integers(0, 5000), length=st.integers(1, 1400), segment=st.integers(0, 1), pick=st.integers(1, 12))
@pytest.mark.parametrize("name", CHANGES)
def test_ranges_are_those_of_the_whole(recording, name, start, length, segment, pick):
    changed = CHANGES[name](recording)
    if (name, segment) not in WHOLE:
        WHOLE[name, segment] = changed.read(range(1, 13), segment=segment)
    part = changed.read([pick], segment=segment, start=start, stop=start + length)
    np.testing.assert_allclose(part, WHOLE[name, segment][[pick - 1], start : start + length], atol=1e-4)


@pytest.mark.parametrize("name", [name for name in CHANGES if name != "gain" and not name.endswith("Hz")])
def test_electrodes_change_and_the_heart_does_not(recording, name):
    changed = CHANGES[name](recording)
    np.testing.assert_array_equal(changed.read([0]), recording.read([0]))
    if name != "remove":
        kept = [recording.ch_names.index(ch_name) for ch_name in changed.ch_names]
        assert np.abs(changed.read(range(len(kept))) - recording.read(kept)).max() > 5


def test_removed_channels_were_never_recorded(recording):
    two = remove_channels(recording, 2, among=EEG_1020.ch_names, seed=3)
    five = remove_channels(recording, 5, among=EEG_1020.ch_names, seed=3)
    assert len(two.ch_names) == len(two.sfreqs) == len(two.sensor_types) == 18
    assert set(five.ch_names) < set(two.ch_names) < set(recording.ch_names)
    for pick, name in enumerate(five.ch_names):
        np.testing.assert_array_equal(five.read([pick]), recording.read([recording.ch_names.index(name)]))
    only = remove_channels(recording, 2, among=("Fp1", "T8"), seed=3)  # T8 is T4
    assert set(recording.ch_names) - set(only.ch_names) == {"Fp1", "T4"}
    with pytest.raises(NotPossibleError, match="20 electrodes cannot be removed from 19"):
        remove_channels(recording, 20, among=EEG_1020.ch_names, seed=3)


def test_gains_are_one_number_a_channel(recording):
    x, y = recording.read(range(20)), change_gains(recording, 0.2, seed=5).read(range(20))
    gains = np.median(y / x, axis=1)
    np.testing.assert_allclose(y, gains[:, None] * x, rtol=1e-5)
    np.testing.assert_allclose(np.log(gains), 0.2 * np.random.default_rng(5).standard_normal(20), atol=1e-5)
    np.testing.assert_array_equal(change_gains(recording, 0.0, seed=5).read(range(20)), x)


def test_hum_is_at_its_frequency_and_of_its_size():
    silent = in_memory(np.zeros((20, N_TIMES)))
    hum = add_hum(silent, mains_hz=50.0, amplitude_uv=10.0, seed=0).read(range(20), stop=4000)  # 20 s: 0.05 Hz bins
    spectrum = np.abs(np.fft.rfft(hum, axis=1)) * 2 / 4000
    freqs = np.fft.rfftfreq(4000, 1 / SFREQ)
    assert (spectrum[0] == 0).all()  # EKG
    peaks = spectrum[1:, np.argmin(np.abs(freqs - 50))]
    assert ((peaks > 5) & (peaks < 15)).all()  # 0.5 to 1.5 times 10 µV
    assert spectrum[1:, np.abs(freqs - 50) > 0.2].max() < 0.05  # 150 Hz would lie above half of 200 Hz
    with pytest.raises(NotPossibleError, match="100 Hz cannot hold 60 Hz"):
        add_hum(record_at(silent, 100.0), mains_hz=60.0, amplitude_uv=1.0, seed=0)


@pytest.mark.parametrize("kind", ["blink", "eye_movement", "muscle", "heartbeat", "drift", "pop"])
def test_artifacts_only_grow_with_their_amplitude(recording, kind):
    x = recording.read(range(20))
    once, twice = (
        add_artifact(recording, kind, amplitude_uv=amplitude, seed=(2,)).read(range(20)) - x
        for amplitude in (40.0, 80.0)
    )
    assert np.abs(once).max() > 10
    np.testing.assert_allclose(twice, 2 * once, atol=1e-3)
    np.testing.assert_array_equal(add_artifact(recording, kind, amplitude_uv=0.0, seed=(2,)).read(range(20)), x)


def test_blinks_are_strongest_in_front(recording):
    added = add_artifact(recording, "blink", amplitude_uv=100.0, seed=(2,)).read(range(20)) - recording.read(range(20))
    size = dict(zip(recording.ch_names, np.abs(added).max(axis=1), strict=True))
    assert 50 < size["Fp1"] < 250
    assert size["Fp1"] > 2 * size["C3"] > 10 * size["O1"]


def test_a_bipolar_channel_sees_the_difference():
    zeros = np.zeros((2, 4000))
    pair = in_memory(zeros, ch_names=("Fp1-F7", "F7-T3"), types=("eeg", "eeg"))
    single = in_memory(np.zeros((3, 4000)), ch_names=("Fp1", "F7", "T3"), types=("eeg",) * 3)
    # the same electrodes in the same order give the same shapes
    one = add_artifact(single, "drift", amplitude_uv=50.0, seed=(0,)).read(range(3))
    two = add_artifact(pair, "drift", amplitude_uv=50.0, seed=(0,)).read(range(2))
    np.testing.assert_allclose(two, one[:2] - one[1:], atol=1e-4)


def test_the_reference_electrode_is_gone_and_taken_off(recording):
    against = rereference(recording, "Cz")
    assert "Cz" not in against.ch_names
    pick = against.ch_names.index("O2")
    expected = recording.read([19]) - recording.read([recording.ch_names.index("Cz")])
    np.testing.assert_allclose(against.read([pick]), expected, atol=1e-4)
    with pytest.raises(NotPossibleError, match="has no A1"):
        rereference(recording, "A1")


def test_an_average_reference_changes_no_window_of_the_whole_montage(recording):
    windows = []
    for one in (recording, rereference(recording, "average")):
        plan = plan_recording(one, PRETRAIN, site_id="s", subject_id="p", source_sha256="0" * 64)
        windows.append(np.stack([window.data for window in prepare_recording(one, plan)]))
    assert windows[0].shape == (12, 19, 2560)
    np.testing.assert_allclose(windows[1], windows[0], atol=1e-3)


def test_another_rate_keeps_what_it_can_hold():
    times = np.arange(N_TIMES) / SFREQ
    wave = 4200 + 50 * np.sin(2 * np.pi * 10 * times) + 50 * np.sin(2 * np.pi * 80 * times)
    wave[3000:3100] = np.nan
    changed = record_at(in_memory(np.tile(wave, (20, 1))), 128.0)
    assert changed.sfreqs == (128.0,) * 20
    assert changed.n_times(0) == 13000 * 128 // 200
    x = changed.read([3])[0]
    new_times = np.arange(x.size) / 128
    expected = 4200 + 50 * np.sin(2 * np.pi * 10 * new_times)  # 80 Hz lies above half of 128 Hz
    missing = (new_times >= 3000 / SFREQ) & (new_times < 3100 / SFREQ)
    assert np.abs(np.isnan(x).astype(int) - missing).sum() <= 2
    clear = (new_times > 1) & (new_times < 64) & (np.abs(new_times - 15.25) > 1)
    assert np.abs(x - expected)[clear].max() < 0.5


def test_another_rate_is_the_polyphase_change_of_the_whole(recording):
    x = recording.read([4], segment=1).astype(np.float64)
    up, down = resampling_ratio(SFREQ, 128.0)
    whole = resample_poly(x, up, down, axis=-1, window=antialias_taps(up, down))
    whole = whole[:, : record_at(recording, 128.0).n_times(4, 1)]
    got = record_at(recording, 128.0).read([4], segment=1)
    np.testing.assert_allclose(got[:, 100:-100], whole[:, 100:-100], atol=1e-3)
