import numpy as np
import pytest
import pywt
from scipy import signal, stats

from signals.description.features import BANDS, FEATURES, features, sharp_waves

SFREQ = 256


@pytest.fixture(scope="module")
def x():
    rng = np.random.default_rng(0)
    walk = np.cumsum(rng.normal(size=(3, 19, 2560)), axis=-1)
    sos = signal.butter(2, [0.5, 60], "bandpass", fs=SFREQ, output="sos")
    noise = signal.sosfiltfilt(sos, walk)
    return (20 * noise / noise.std() + rng.normal(scale=3, size=noise.shape)).astype(np.float32)


def column(table, name):
    return table[..., FEATURES.index(name)]


def test_time_features_equal_scipy(x):
    table, x64 = features(x, SFREQ), x.astype(np.float64)
    assert table.shape == (3, 19, len(FEATURES))
    assert table.dtype == np.float32
    np.testing.assert_allclose(column(table, "mean"), x64.mean(-1), atol=1e-4)
    np.testing.assert_allclose(column(table, "std"), x64.std(-1), rtol=1e-5)
    np.testing.assert_allclose(column(table, "skewness"), stats.skew(x64, axis=-1), atol=1e-4)
    np.testing.assert_allclose(column(table, "kurtosis"), stats.kurtosis(x64, axis=-1), atol=1e-4)
    step, bend = np.diff(x64), np.diff(x64, 2)
    mobility = step.std(-1) / x64.std(-1)
    np.testing.assert_allclose(column(table, "hjorth_mobility"), mobility, rtol=1e-4)
    np.testing.assert_allclose(column(table, "hjorth_complexity"), bend.std(-1) / step.std(-1) / mobility, rtol=1e-4)
    np.testing.assert_allclose(column(table, "line_length_uv_per_s"), np.abs(step).mean(-1) * SFREQ, rtol=1e-5)


def test_spectral_features_equal_scipy(x):
    table = features(x, SFREQ)
    freqs, density = signal.welch(x.astype(np.float64), SFREQ, nperseg=2 * SFREQ)
    inside = (freqs >= 0.5) & (freqs < 45)
    total = density[..., inside].sum(-1) * 0.5
    for band, (low, high) in BANDS.items():
        power = density[..., (freqs >= low) & (freqs < high)].sum(-1) * 0.5  # bins of 0.5 Hz
        np.testing.assert_allclose(column(table, f"{band}_log10_uv2"), np.log10(power), atol=1e-4)
        np.testing.assert_allclose(column(table, f"{band}_relative"), power / total, rtol=1e-4)
    share = density[..., inside] * 0.5 / total[..., None]
    entropy = stats.entropy(share, axis=-1) / np.log(inside.sum())
    np.testing.assert_allclose(column(table, "spectral_entropy"), entropy, rtol=1e-4)
    np.testing.assert_array_equal(column(table, "peak_hz"), freqs[inside][share.argmax(-1)])
    edge = freqs[inside][(np.cumsum(share, -1) >= 0.95).argmax(-1)]
    np.testing.assert_allclose(column(table, "spectral_edge_95_hz"), edge, atol=0.5)


def test_wavelet_powers_equal_pywt(x):
    table, x64 = features(x, SFREQ), x.astype(np.float64)
    x64 = x64 - x64.mean(-1, keepdims=True)
    bands = pywt.wavedec(x64, "db4", mode="periodization", level=6)
    for name, band in zip(("a6", "d6", "d5", "d4", "d3", "d2", "d1"), bands, strict=True):
        expected = np.log10((band**2).sum(-1) / 2560)
        np.testing.assert_allclose(column(table, f"wavelet_{name}_log10_uv2"), expected, atol=1e-4)


def test_known_tone():
    # 10 Hz, 20 µV: power 200 µV², 20 crossings a second, line length 4 x 20 µV x 10 a second.
    table = features((20 * np.sin(2 * np.pi * 10 * np.arange(2560) / SFREQ + 0.1))[None], SFREQ)
    assert column(table, "alpha_log10_uv2")[0] == pytest.approx(np.log10(200), abs=1e-3)
    assert column(table, "alpha_relative")[0] == pytest.approx(1, abs=1e-3)
    assert column(table, "zero_crossings_per_s")[0] == pytest.approx(20, abs=0.2)
    assert column(table, "line_length_uv_per_s")[0] == pytest.approx(800, rel=0.01)
    assert column(table, "peak_hz")[0] == 10
    assert column(table, "sharp_waves_per_s")[0] == 0


def test_flat_and_missing_channels():
    rng = np.random.default_rng(1)
    x = rng.normal(scale=20, size=(4, 2560)).astype(np.float32)
    x[0], x[1] = 7.0, np.nan
    x[2, 100:200] = np.nan
    table = features(x, SFREQ)
    for flat in table[:2]:
        undefined = {name for name, value in zip(FEATURES, flat, strict=True) if np.isnan(value)}
        assert undefined == {
            "skewness", "kurtosis", "hjorth_mobility", "hjorth_complexity", "spectral_entropy",
            "spectral_edge_95_hz", "peak_hz", *(f"{band}_relative" for band in BANDS),
        }  # fmt: skip
        assert column(flat, "delta_log10_uv2") == pytest.approx(-6)
    assert np.isfinite(table[2:]).all()
    # 100 of 2560 samples became the mean: the variance shrinks by that share.
    assert column(table, "std")[2] == pytest.approx(np.nanstd(x[2]) * np.sqrt(2460 / 2560), rel=1e-5)


def test_sharp_waves_are_counted_by_duration():
    rng = np.random.default_rng(2)
    at = np.arange(2560) / SFREQ
    sigmas_s = {"spike": 0.012, "sharp wave": 0.03, "slow wave": 0.15, "one sample": 0.0005}
    x = signal.sosfiltfilt(signal.butter(2, [0.5, 25], "bandpass", fs=SFREQ, output="sos"), rng.normal(size=(4, 2560)))
    x *= 4 / x.std()  # white up to 25 Hz, so rougher than EEG of that size
    onsets_s = np.arange(1, 9) + 0.25  # eight of each kind, on the sampling grid
    for row, sigma_s in zip(x, sigmas_s.values(), strict=True):
        row += 150 * np.exp(-0.5 * ((at[:, None] - onsets_s) / sigma_s) ** 2).sum(-1)
    n_found = sharp_waves(x, SFREQ)
    np.testing.assert_array_equal(n_found, [8, 8, 0, 0])
    np.testing.assert_array_equal(sharp_waves(-x, SFREQ), n_found)
    np.testing.assert_array_equal(sharp_waves(np.stack([x, x[::-1]]), SFREQ), [n_found, n_found[::-1]])


def test_background_has_hardly_any_sharp_waves(x):
    assert sharp_waves(x, SFREQ).mean() < 0.2  # a channel in 10 s


def test_too_short_is_refused():
    with pytest.raises(ValueError, match="shorter than 2 s"):
        features(np.zeros((19, 511)), SFREQ)


def test_band_powers_equal_mne(x):
    from mne.time_frequency import psd_array_welch

    density, freqs = psd_array_welch(
        x.astype(np.float64), SFREQ, n_fft=512, n_overlap=256, window="hann", verbose=False
    )
    table = features(x, SFREQ)
    for band, (low, high) in BANDS.items():
        power = density[..., (freqs >= low) & (freqs < high)].sum(-1) * 0.5
        np.testing.assert_allclose(column(table, f"{band}_log10_uv2"), np.log10(power), atol=1e-4)


def test_zero_crossings_are_sign_changes(x):
    centred = x.astype(np.float64) - x.astype(np.float64).mean(-1, keepdims=True)
    expected = (np.signbit(centred[..., 1:]) != np.signbit(centred[..., :-1])).sum(-1) / 10
    np.testing.assert_allclose(column(features(x, SFREQ), "zero_crossings_per_s"), expected, atol=0.11)


def plain_sharp_waves(x, sfreq):
    """The definition in `sharp_waves`' docstring, sample by sample."""
    lag, reach = round(0.03 * sfreq), round(0.1 * sfreq)
    sharpness = np.abs(x[lag:-lag] - 0.5 * (x[: -2 * lag] + x[2 * lag :]))
    floor = max(6.0 * 1.4826 * np.median(sharpness), 25.0)
    count = 0
    for at in range(reach, len(sharpness) - reach):
        around = sharpness[at - reach : at + reach + 1]
        if sharpness[at] <= floor or np.argmax(around) != reach:
            continue
        left = next((k for k in range(1, reach + 1) if around[reach - k] <= 0.5 * sharpness[at]), 0)
        right = next((k for k in range(1, reach + 1) if around[reach + k] <= 0.5 * sharpness[at]), 0)
        if left and right and 0.01 <= (left + right - 1) / sfreq <= 0.1:
            count += 1
    return count


def test_sharp_waves_equal_their_definition_and_one_channel_has_its_own_count():
    from synthetic.patterns.waves import discharge

    rng = np.random.default_rng(4)
    x = 60 * rng.standard_t(2, size=(6, 2560)).cumsum(-1) / 200
    x -= x.mean(-1, keepdims=True)
    for row, form in zip(x, ("spike-wave", "polyspike", "sharp", "blunt", "triphasic", "spike-wave"), strict=True):
        for start in rng.integers(100, 2200, 5):
            wave = discharge(form, SFREQ)
            row[start : start + wave.size] += rng.uniform(50, 200) * wave
    expected = [plain_sharp_waves(row, SFREQ) for row in x]
    assert sum(expected) > 5
    np.testing.assert_array_equal(sharp_waves(x, SFREQ), expected)
    assert [int(sharp_waves(row, SFREQ)) for row in x] == expected
    assert sharp_waves(np.zeros(2560), SFREQ) == 0
