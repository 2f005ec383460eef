import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from signals.conditioning.filters import (
    antialias_taps,
    band_taps,
    bandpass,
    detect_mains,
    effective_band,
    mains_harmonics,
    notch,
    reflect,
    resampling_ratio,
)


def tone(freq, sfreq, seconds, phase=0.3):
    return np.sin(2 * np.pi * freq * np.arange(round(seconds * sfreq)) / sfreq + phase)


@pytest.mark.parametrize(
    ("sfreq", "ratio"),
    [
        (128, (2, 1)),
        (160, (8, 5)),
        (200, (32, 25)),
        (250, (128, 125)),
        (500, (64, 125)),
        (173, (256, 173)),
        (256, (1, 1)),
    ],
)
def test_resampling_ratio_is_exact(sfreq, ratio):
    assert resampling_ratio(sfreq, 256.0) == ratio


def test_resampling_ratio_of_a_rate_with_decimals():
    # 256 / 199.5 = 512 / 399
    assert resampling_ratio(199.5, 256.0) == (512, 399)


@pytest.mark.parametrize("sfreq", [256.0, 173.0])
def test_bandpass_gain_at_tones_of_known_answer(sfreq):
    freqs, response = signal.freqz(band_taps(sfreq, 0.5, 50.0), worN=2**16, fs=sfreq)
    gain = np.abs(response)
    assert np.abs(gain[(freqs >= 0.5) & (freqs <= 50.0)] - 1).max() < 0.02  # Hamming: 0.0194 dB ripple is 0.2%; edges
    assert gain[freqs >= 50.6].max() < 0.005  # stop band of a Hamming design: -53 dB is 0.0022
    assert gain[0] < 1e-12


@pytest.mark.parametrize("freq", [1.0, 10.0, 49.0])
def test_bandpass_has_no_delay(freq):
    x = tone(freq, 256.0, 30)
    y = bandpass(x, 256.0, l_freq=0.5, h_freq=50.0)
    assert np.abs(y[1024:-1024] - x[1024:-1024]).max() < 0.01


def test_bandpass_agrees_with_mnes_firwin_design():
    import mne

    x = np.random.default_rng(1).standard_normal((2, 256 * 40))
    theirs = mne.filter.filter_data(
        x, 256.0, 0.5, 50.0, l_trans_bandwidth=0.5, h_trans_bandwidth=0.5, filter_length="6.6s", verbose="error"
    )
    ours = bandpass(x, 256.0, l_freq=0.5, h_freq=50.0)
    # Two designs of one specification: they differ in ripple (0.2%) and in how the edges are continued.
    assert np.abs(ours - theirs)[:, 1024:-1024].std() < 0.01 * x.std()


def test_notch_takes_mains_and_spares_its_neighbours():
    x = tone(50.0, 256.0, 40) + tone(45.0, 256.0, 40)
    y = notch(x, 256.0, freqs=[50.0])
    assert np.abs(y - tone(45.0, 256.0, 40))[2048:-2048].max() < 0.02


def test_one_filter_does_band_and_harmonics():
    assert mains_harmonics(50.0, 115.2) == (50.0, 100.0)
    assert mains_harmonics(60.0, 50.0) == ()
    assert mains_harmonics(None, 115.2) == ()
    freqs, response = signal.freqz(band_taps(256.0, 0.5, 115.2, (50.0, 100.0)), worN=2**16, fs=256.0)
    gain = np.abs(response)
    assert gain[np.argmin(np.abs(freqs - 50.0))] < 0.01
    assert gain[np.argmin(np.abs(freqs - 100.0))] < 0.01
    assert gain[np.argmin(np.abs(freqs - 48.5))] > 0.98


def test_effective_band_is_guarded_by_both_rates():
    assert effective_band(0.5, 128.0, native_sfreq=500.0, sfreq=256.0) == (0.5, 115.2)  # 0.45 x 256
    assert effective_band(0.5, 128.0, native_sfreq=128.0, sfreq=256.0) == (0.5, 57.6)  # 0.45 x 128
    assert effective_band(0.5, 50.0, native_sfreq=200.0, sfreq=256.0) == (0.5, 50.0)
    with pytest.raises(ValueError, match="holds nothing"):
        effective_band(0.5, 50.0, native_sfreq=1.0, sfreq=256.0)


def test_reflect_mirrors_about_the_end_samples():
    assert reflect(np.array([1.0, 2.0, 4.0]), 2, 1).tolist() == [-2.0, 0.0, 1.0, 2.0, 4.0, 6.0]
    with pytest.raises(ValueError, match="too short"):
        reflect(np.zeros(3), 3, 0)


@pytest.mark.parametrize("mains_hz", [50.0, 60.0, None])
def test_detect_mains(mains_hz):
    noise = np.random.default_rng(2).standard_normal((4, 250 * 30)) * 10
    hum = 0 if mains_hz is None else 5 * tone(mains_hz, 250.0, 30)
    assert detect_mains([noise + hum], 250.0) == mains_hz
    # Of several stretches most decide: one that was recorded elsewhere, or holds nothing, does not.
    elsewhere = noise + 30 * tone(60.0, 250.0, 30)
    lost = np.full_like(noise, np.nan)
    assert detect_mains([noise + hum, elsewhere, noise + hum, lost, noise + hum], 250.0) == mains_hz


@given(freq=st.floats(1.0, 45.0), sfreq=st.sampled_from([160.0, 200.0, 250.0, 173.0]))
@settings(max_examples=10, deadline=None)
def test_band_keeps_the_amplitude_of_any_tone_within(freq, sfreq):
    x = tone(freq, sfreq, 20)
    y = bandpass(x, sfreq, l_freq=0.5, h_freq=50.0)
    inner = slice(x.size // 4, -x.size // 4)
    assert abs(y[inner].std() / x[inner].std() - 1) < 0.01


@pytest.mark.parametrize(("up", "down"), [(8, 5), (1, 2), (64, 125), (25600, 17361)])
def test_antialias_taps_are_scipys_and_symmetric_to_the_last_bit(up, down):
    taps = antialias_taps(up, down)
    # Kaiser's formula for 100 dB; the edge lies in the middle of the transition from 0.45 to 0.5 of the lower rate.
    reference = signal.firwin(taps.size, 0.95 / max(up, down), window=("kaiser", 0.1102 * (100 - 8.7)))
    assert np.abs(taps - reference).max() < 1e-12 * reference.max()
    assert np.array_equal(taps, taps[::-1])


def test_a_rate_of_a_large_ratio_takes_little_more_than_its_taps():
    """A damaged header of 364.3386 Hz needs 12 million taps: designing them took seconds and nearly a gigabyte."""
    antialias_taps.cache_clear()
    tracemalloc.start()
    taps = antialias_taps(25600, 17361)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert taps.size == 3_282_675
    assert peak < 6 * taps.nbytes  # 9.7 times before only half of them was computed
