"""What clinicians would name, on windows in which it was planted."""

import numpy as np
import pytest

from signals.modality import EEG_1020
from signals.patterns.features import pattern_features

SFREQ, N_TIMES = 256.0, 50 * 256
X = np.array([x for x, _, _ in EEG_1020.positions])
LEFT = np.array([np.exp(-4 * ((x + 0.8) ** 2 + y**2)) for x, y, _ in EEG_1020.positions])
"""A focus between C3 and T3."""
EVERYWHERE = np.array([1.0 + y for _, y, _ in EEG_1020.positions])
"""Both sides alike, most in front."""


def noise(seed: int = 0, size_uv: float = 10.0) -> np.ndarray:
    """Return pink noise that neighbours share, µV, shape (19, n_times)."""
    rng = np.random.default_rng(seed)
    spectrum = np.fft.rfft(rng.standard_normal((19, N_TIMES)), axis=1) / np.sqrt(1 + np.arange(N_TIMES // 2 + 1) / 50)
    x = np.fft.irfft(spectrum, n=N_TIMES, axis=1)
    return size_uv * x / x.std()


def planted(scalp: np.ndarray, rate_hz: float, *, sharp: bool, height_uv: float = 100.0) -> np.ndarray:
    """Return a window with discharges or a rhythm, average reference, µV."""
    t = np.arange(N_TIMES) / SFREQ
    wave = np.sin(2 * np.pi * rate_hz * t)
    if sharp:
        away = (t * rate_hz) % 1 / rate_hz - 0.5 / rate_hz
        wave = np.exp(-0.5 * (away / 0.025) ** 2)
    x = noise() + height_uv * np.outer(scalp, wave)
    return x - x.mean(axis=0)


def test_periodic_discharges_are_sharp_and_have_their_rate() -> None:
    described, quiet = pattern_features(planted(LEFT, 1.2, sharp=True), SFREQ), pattern_features(noise(), SFREQ)
    assert described["whole_sharpness_agreed_hz"] == pytest.approx(1.2, rel=0.05)
    assert described["whole_sharpness_best_strong"] > 0.5 > 0.3 > quiet["whole_sharpness_best_strong"]
    assert described["discharges_per_s"] == pytest.approx(1.2, rel=0.1)
    assert described["interval_spread"] < 0.1 < quiet["interval_spread"]
    assert described["discharge_likeness"] > 0.5 > 0.2 > quiet["discharge_likeness"]


def test_lateralised_against_generalised() -> None:
    left = pattern_features(planted(LEFT, 1.2, sharp=True), SFREQ)
    both = pattern_features(planted(EVERYWHERE, 1.2, sharp=True), SFREQ)
    assert left["whole_sharpness_extent_one_sided"] > 0.5 > 0.2 > both["whole_sharpness_extent_one_sided"]
    assert left["whole_slow_map_one_sided"] > 0.4 > 0.1 > both["whole_slow_map_one_sided"]
    assert left["whole_slow_map_mirror"] < 0.5 < 0.9 < both["whole_slow_map_mirror"]


def test_rhythmic_delta_has_a_peak_and_no_sharpness() -> None:
    described = pattern_features(planted(EVERYWHERE, 2.0, sharp=False), SFREQ)
    assert described["middle_delta_agreed_hz"] == pytest.approx(2.0, rel=0.05)
    assert described["middle_slow_peak_hz_strong"] == pytest.approx(2.0, abs=0.13)
    assert described["middle_slow_peak_share_strong"] > 0.7
    assert described["middle_sharpness_best_strong"] < 0.4


def test_a_rhythm_that_slows_down_is_an_evolution() -> None:
    t = np.arange(N_TIMES) / SFREQ
    rate = np.linspace(8.0, 3.0, N_TIMES)
    x = noise() + 60 * np.outer(LEFT, np.sin(2 * np.pi * np.cumsum(rate) / SFREQ))
    described, steady = pattern_features(x, SFREQ), pattern_features(planted(LEFT, 5.0, sharp=False), SFREQ)
    # ln(8/3) = 0.98 over the window.
    assert described["peak_trend_size"] == pytest.approx(0.98, rel=0.25)
    assert described["peak_trend"] < -0.2
    assert abs(steady["peak_trend"]) < 0.05
    assert t.size == x.shape[1]


def test_bursts_and_suppression() -> None:
    x = noise()
    x[:, (np.arange(N_TIMES) // (5 * 256)) % 2 == 0] *= 0.05
    assert pattern_features(x, SFREQ)["suppressed"] < pattern_features(noise(), SFREQ)["suppressed"] - 1


def test_mirrored_and_louder_windows_have_the_same_row() -> None:
    x = planted(LEFT, 1.2, sharp=True)
    mirror = [int(np.argmin(np.linalg.norm(np.array(EEG_1020.positions) - (-a, b, c), axis=1)))
              for a, b, c in EEG_1020.positions]  # fmt: skip
    described, other, loud = (pattern_features(y, SFREQ) for y in (x, x[mirror], 3 * x))
    np.testing.assert_allclose(list(other.values()), list(described.values()), rtol=1e-6, atol=1e-6)
    names = [name for name in described if name != "log10_scale_uv"]
    np.testing.assert_allclose([loud[n] for n in names], [described[n] for n in names], rtol=1e-6, atol=1e-6)
    assert loud["log10_scale_uv"] - described["log10_scale_uv"] == pytest.approx(np.log10(3))


def test_empty_and_bad_windows() -> None:
    flat = pattern_features(np.full((19, N_TIMES), np.nan), SFREQ)
    assert np.isfinite(list(flat.values())).all()
    assert set(flat) == set(pattern_features(noise(), SFREQ))
    with pytest.raises(ValueError, match="19 channels and 30 s"):
        pattern_features(np.zeros((18, N_TIMES)), SFREQ)
    with pytest.raises(ValueError, match="no multiple of 128"):
        pattern_features(np.zeros((19, 50 * 200)), 200.0)
