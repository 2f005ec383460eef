import numpy as np
import pytest

from evaluation.measures.snr import snr_db


def wave(n=2000):
    return np.sin(2 * np.pi * np.arange(n) / 200) ** 9


def test_a_known_error_has_its_decibels():
    x, rng = wave(), np.random.default_rng(0)
    noise = rng.normal(0, 1, len(x))
    noise *= np.sqrt(np.square(x).sum() / np.square(noise).sum() / 100)  # a hundredth of the power: 20 dB
    assert snr_db(x, x + noise, 500.0) == pytest.approx(20.0, abs=0.2)
    assert snr_db(x, x, 500.0) == np.inf
    assert snr_db(x, np.zeros_like(x), 500.0) == pytest.approx(0.0, abs=0.2)


def test_allowed_shifts_cost_nothing_and_larger_ones_do():
    pulse = np.zeros(3000)
    pulse[1400:1450] = np.hanning(50)
    assert snr_db(pulse, np.roll(pulse, 240) + 0.9, 500.0) > 200  # 0.48 s and 0.9 mV
    assert snr_db(pulse, np.roll(pulse, 320), 500.0) < 0.1  # 0.64 s
    assert snr_db(pulse, pulse + 1.5, 500.0) < 0  # 0.5 mV remain


def test_gaps_of_the_reference_do_not_count_and_those_of_the_estimate_are_zeros():
    x = wave()
    hidden = np.where(np.arange(len(x)) < 1000, np.nan, x)
    assert snr_db(hidden, x, 500.0) == np.inf
    assert snr_db(x, hidden, 500.0) < 6
    assert np.isnan(snr_db(np.full(100, np.nan), np.zeros(100), 500.0))
    assert np.isnan(snr_db(np.zeros(100), np.ones(100), 500.0))
    with pytest.raises(ValueError, match="not one lead, twice"):
        snr_db(x, x[:-1], 500.0)
