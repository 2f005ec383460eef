"""Planted rates come back; noise has none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import welch

from signals.patterns.periodicity import (
    ENVELOPE_SFREQ,
    autocorrelation,
    repetition,
    sharpness_envelope,
    spectral_peak,
)

SFREQ = 128.0


def discharges(rate_hz: float, *, jitter: float = 0.0, seconds: float = 20.0, seed: int = 0) -> np.ndarray:
    """Return sharp waves of 70 ms with slow waves behind them on noise, shape (n_times,)."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * SFREQ)) / SFREQ
    at, x = 0.3, 0.3 * rng.standard_normal(t.size)
    while at < seconds:
        x += 8 * np.exp(-0.5 * ((t - at) / 0.018) ** 2) - 3 * np.exp(-0.5 * ((t - at - 0.15) / 0.05) ** 2)
        at += (1 + jitter * rng.standard_normal()) / rate_hz
    return x


def found_in(x: np.ndarray) -> tuple[float, float]:
    lags = int(2.1 * ENVELOPE_SFREQ / 0.35)
    found = repetition(autocorrelation(sharpness_envelope(x, SFREQ), lags), ENVELOPE_SFREQ)
    return float(found.strength), float(found.rate_hz)


@pytest.mark.parametrize("rate_hz", [0.5, 0.8, 1.0, 1.5, 2.2, 3.0])
def test_a_planted_rate_is_found(rate_hz: float) -> None:
    strength, found = found_in(discharges(rate_hz))
    # The envelope has 64 samples a second: at 3 Hz a lag is off by at most half of one in 21, 2.4%.
    assert found == pytest.approx(rate_hz, rel=0.04)
    assert strength > 0.6


def test_jitter_weakens_and_noise_has_next_to_none() -> None:
    exact, loose, none = (found_in(x)[0] for x in (
        discharges(1.0), discharges(1.0, jitter=0.15), np.random.default_rng(1).standard_normal(int(20 * SFREQ))
    ))  # fmt: skip
    assert exact > loose > none
    assert none < 0.35


def test_slow_waves_are_not_sharp() -> None:
    t = np.arange(int(20 * SFREQ)) / SFREQ
    assert sharpness_envelope(np.sin(2 * np.pi * t), SFREQ)[64:-64].max() < 0.02


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 100), lag=st.integers(1, 40))
def test_autocorrelation_is_the_mean_product(seed: int, lag: int) -> None:
    x = np.random.default_rng(seed).standard_normal(200)
    y = x - x.mean()
    expected = np.mean(y[lag:] * y[:-lag]) / np.mean(y * y)
    assert autocorrelation(x, 40)[lag] == pytest.approx(expected, abs=1e-9)


def test_a_sine_peaks_at_its_rate_and_a_sawtooth_has_octaves() -> None:
    t = np.arange(int(40 * SFREQ)) / SFREQ
    x = np.stack([np.sin(2 * np.pi * 1.5 * t), 2 * ((1.5 * t) % 1) - 1])
    freqs, density = welch(x, SFREQ, nperseg=512)
    peak_hz, share, octave = spectral_peak(freqs, density, band_hz=(0.5, 4.5))
    np.testing.assert_allclose(peak_hz, 1.5)
    assert share[0] > 0.95
    # A sawtooth's n-th harmonic has 1/n of the amplitude: a quarter of the power at the octave.
    assert octave[1] == pytest.approx(0.25, rel=0.1)
    assert octave[0] < 1e-3


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="no multiple of 64"):
        sharpness_envelope(np.zeros(1000), 100.0)
    with pytest.raises(ValueError, match="max_lag=10 must lie below n_times=10"):
        autocorrelation(np.zeros(10), 10)
    with pytest.raises(ValueError, match="do not reach 0.35 Hz"):
        repetition(np.zeros(20), ENVELOPE_SFREQ)
    flat = repetition(autocorrelation(np.zeros(1000), 400), ENVELOPE_SFREQ)
    assert flat.strength == 0
    assert flat.rate_hz == 0
