import numpy as np
import pytest
import pywt

from signals.conditioning.filters import bandpass
from signals.conditioning.wavelets import LEVEL, WAVELET, denoise
from synthetic.patterns.waves import discharge

SFREQ = 256.0


@pytest.fixture(scope="module")
def brain():
    """1/f EEG of 20 µV up to 50 Hz."""
    spectrum = np.fft.rfft(np.random.default_rng(0).standard_normal((4, 2560)))
    spectrum /= np.maximum(np.fft.rfftfreq(2560, 1 / SFREQ), 0.5)
    x = np.fft.irfft(spectrum, 2560)
    return bandpass(20 * x / x.std(), SFREQ, l_freq=0.5, h_freq=50.0)


def test_white_noise_shrinks_and_nothing_slow_changes(brain):
    noise = bandpass(np.random.default_rng(1).normal(0, 10, brain.shape), SFREQ, l_freq=0.5, h_freq=50.0)
    clean = denoise(brain + noise, SFREQ, h_freq=50.0)
    # A third of the noise lies below 16 Hz, where nothing is touched.
    assert np.square(clean - brain).sum() < 0.6 * np.square(noise).sum()
    slow = pywt.wavedec(clean, WAVELET, mode="periodization", level=LEVEL)[0]
    expected = pywt.wavedec(brain + noise, WAVELET, mode="periodization", level=LEVEL)[0]
    np.testing.assert_allclose(slow, expected, atol=1e-9)


@pytest.mark.parametrize("form", ["spike-wave", "polyspike", "sharp"])
def test_a_spike_keeps_its_height(brain, form):
    wave = 150 * discharge(form, SFREQ)
    x = brain.copy()
    x[:, 1000 : 1000 + wave.size] += wave
    difference = denoise(x, SFREQ, h_freq=50.0) - denoise(brain, SFREQ, h_freq=50.0)
    kept = (difference[:, 1000 : 1000 + wave.size] @ wave) / (wave @ wave)
    assert kept.min() > 0.95


def test_a_band_that_holds_no_noise_level_comes_back(brain):
    x = bandpass(brain, SFREQ, l_freq=0.5, h_freq=35.0)
    assert denoise(x, SFREQ, h_freq=35.0) is x


def test_dtype_shape_and_refusal(brain):
    odd = brain[:, :1001].astype(np.float32)
    assert denoise(odd, SFREQ, h_freq=50.0).dtype == np.float32
    assert denoise(odd, SFREQ, h_freq=50.0).shape == odd.shape
    assert denoise(np.zeros((2, 256)), SFREQ, h_freq=50.0).max() == 0
    with pytest.raises(ValueError, match="n_times=31"):
        denoise(np.zeros((2, 31)), SFREQ, h_freq=50.0)
