import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from signals.electrodes import CHAINS
from signals.modality import EEG_1020
from signals.spectrograms import REGIONAL_FREQS, multitaper, regional, regional_blocks, stft_power, welch

SFREQ = 256


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).normal(scale=20, size=(2, 3, 2560))


@pytest.mark.parametrize("n_window", [256, 201])
def test_stft_power_equals_scipy(x, n_window):
    freqs, times, power = stft_power(x, SFREQ, window_s=n_window / SFREQ, step_s=100 / SFREQ)
    expected = signal.spectrogram(x, SFREQ, window="hann", nperseg=n_window, noverlap=n_window - 100)
    for ours, theirs in zip((freqs, times, power), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


def test_welch_equals_scipy(x):
    freqs, density = welch(x, SFREQ)
    expected_freqs, expected = signal.welch(x, SFREQ, nperseg=512)
    np.testing.assert_array_equal(freqs, expected_freqs)
    np.testing.assert_allclose(density, expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(welch(x.astype(np.float32), SFREQ)[1][..., 1:], expected[..., 1:], rtol=1e-3)


def test_multitaper_equals_scipy_over_slepian_tapers(x):
    # Bins of a 1024-point transform at 256 Hz: k / 4 Hz, k = 2 ... 81.
    freqs, times, power = multitaper(x, SFREQ, window_s=4.0, step_s=2.0, f_min=0.5, f_max=20.25, n_bins=80)
    tapers = signal.windows.dpss(1024, NW=2, Kmax=3)
    references = [signal.spectrogram(x, SFREQ, window=t, noverlap=512, detrend=False) for t in tapers]
    np.testing.assert_allclose(freqs, references[0][0][2:82])
    np.testing.assert_allclose(times, references[0][1])
    np.testing.assert_allclose(power, np.mean([r[2] for r in references], axis=0)[..., 2:82, :], rtol=1e-8)


def test_regional_chains():
    index = {name: i for i, name in enumerate(EEG_1020.ch_names)}
    at = np.arange(50 * SFREQ) / SFREQ
    x = np.random.default_rng(1).normal(scale=1, size=(19, len(at)))
    x[index["T3"]] += 50 * np.sin(2 * np.pi * REGIONAL_FREQS[40] * at)
    power = regional(x.astype(np.float32), EEG_1020.ch_names, SFREQ)
    assert power.shape == (4, 100, 25)
    assert (REGIONAL_FREQS[[0, -1]].round(2) == [0.59, 19.92]).all()
    # T3 is in two of the four pairs of LL and in no other chain.
    assert list(CHAINS) == ["LL", "RL", "LP", "RP"]
    assert (power[0, :, 1:-1].argmax(axis=0) == 40).all()  # the outer columns hold a mirror's kink
    assert power[0].max() > 1000 * power[1:].max()
    # The tone's power, 50² / 2, in half of the pairs; the main lobe is 4 Hz·s / 4 s wide and leaks less than 1%.
    spacing = REGIONAL_FREQS[1] - REGIONAL_FREQS[0]
    np.testing.assert_allclose(power[0, 30:51, 1:-1].sum(axis=0) * spacing, 625, rtol=0.02)
    reference = x + 30 * np.sin(2 * np.pi * 7 * at)
    np.testing.assert_allclose(regional(reference, EEG_1020.ch_names, SFREQ), regional(x, EEG_1020.ch_names, SFREQ))


def test_one_column_every_two_seconds_of_ten_minutes():
    x = np.zeros((19, 600 * 64), dtype=np.float32)
    assert regional(x, EEG_1020.ch_names, 64).shape == (4, 100, 300)


def test_refusals(x):
    with pytest.raises(ValueError, match=r"not there: \['O2'\]"):
        regional(np.zeros((18, 2560)), EEG_1020.ch_names[:-1], SFREQ)
    with pytest.raises(ValueError, match="no frame"):
        stft_power(x, SFREQ, window_s=11.0, step_s=1.0)
    with pytest.raises(ValueError, match="must lie in order"):
        multitaper(x, SFREQ, window_s=4.0, step_s=2.0, f_min=0.0, f_max=20.0, n_bins=10)


def test_welch_equals_mne(x):
    from mne.time_frequency import psd_array_welch

    expected, freqs = psd_array_welch(x, SFREQ, n_fft=512, n_overlap=256, window="hann", verbose="error")
    ours_freqs, density = welch(x, SFREQ)
    np.testing.assert_array_equal(ours_freqs, freqs)
    np.testing.assert_allclose(density, expected, rtol=1e-9, atol=1e-12)


def test_multitaper_equals_mne(x):
    from mne.time_frequency import psd_array_multitaper

    # Time-bandwidth 2 over 4 s is a bandwidth of 1 Hz; low_bias keeps three tapers, as ours. MNE's tapers are periodic
    # and weighted by their eigenvalues (1.00, 1.00, 0.96), ours symmetric and equal: 4% a bin, half a percent in all.
    frame = x[..., :1024]
    expected, freqs = psd_array_multitaper(
        frame, SFREQ, fmin=0.5, fmax=20.25, bandwidth=1.0, low_bias=True, remove_dc=False, normalization="full",
        verbose="error",
    )  # fmt: skip
    ours_freqs, _, power = multitaper(frame, SFREQ, window_s=4.0, step_s=4.0, f_min=0.5, f_max=20.25, n_bins=len(freqs))
    np.testing.assert_allclose(ours_freqs, freqs)
    np.testing.assert_allclose(power[..., 0], expected, rtol=0.04)
    np.testing.assert_allclose(power.sum(axis=(-1, -2)), expected.sum(axis=-1), rtol=0.005)


@settings(max_examples=25, deadline=None)
@given(n_times=st.integers(256, 64 * 40), n_columns=st.integers(1, 25))
def test_blocks_of_columns_equal_the_whole(n_times, n_columns):
    x = np.random.default_rng(n_times).normal(size=(19, n_times))
    whole = regional(x, EEG_1020.ch_names, 64)
    assert whole.shape[-1] == n_times // 128
    parts = list(regional_blocks(lambda a, b: x[:, a:b], n_times, EEG_1020.ch_names, 64, n_columns=n_columns))
    assert {part.shape[-1] for part in parts[:-1]} <= {n_columns}
    np.testing.assert_allclose(np.concatenate(parts, axis=-1), whole, rtol=1e-9, atol=1e-12)


def test_a_night_is_read_in_pieces():
    read = []

    def samples(start, stop):
        read.append(stop - start)
        return np.zeros((19, stop - start), dtype=np.float32)

    columns = sum(part.shape[-1] for part in regional_blocks(samples, 64 * 7200, EEG_1020.ch_names, 64))
    assert columns == 3600
    assert max(read) <= 64 * 602  # 300 columns and a second at both ends
    with pytest.raises(ValueError, match="shorter than a window"):
        list(regional_blocks(samples, 255, EEG_1020.ch_names, 64))


@pytest.mark.parametrize(("n_times", "window_s", "step_s"), [(255, 1.0, 1.0), (256, 0.0, 1.0), (256, 1.0, 0.0)])
def test_no_frame_at_all_is_refused(n_times, window_s, step_s):
    with pytest.raises(ValueError, match="no frame of"):
        stft_power(np.zeros(n_times), 256.0, window_s=window_s, step_s=step_s)
    stft_power(np.zeros(256), 256.0, window_s=1.0, step_s=1.0)


@pytest.mark.parametrize(("f_min", "f_max"), [(0.0, 10.0), (20.0, 10.0), (10.0, 128.0)])
def test_frequencies_lie_below_half_the_rate(f_min, f_max):
    with pytest.raises(ValueError, match="must lie in order inside of"):
        multitaper(np.zeros(1024), 256.0, window_s=2.0, step_s=1.0, f_min=f_min, f_max=f_max, n_bins=4)


def test_chains_without_electrodes_are_refused():
    names = [name for name in EEG_1020.ch_names if name not in ("T3", "Fp2")]
    with pytest.raises(ValueError, match=r"electrodes that are not there: \['Fp2', 'T3'\]"):
        regional(np.zeros((17, 2000)), names, 200.0)
