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


def test_an_estimate_that_is_missing_is_a_line_at_zero():
    x = wave() + 0.3
    hidden = np.where(np.arange(len(x)) % 7 == 0, np.nan, 0.9 * x)
    assert snr_db(x, hidden, 500.0) == pytest.approx(snr_db(x, np.nan_to_num(hidden), 500.0))
    # Half of a line at 1 mV, the other half guessed as it is: error 1 in half of the samples; its mean of .5 goes.
    line = np.ones(1000)
    half = np.where(np.arange(1000) < 500, np.nan, 1.0)
    assert snr_db(line, half, 500.0, most_shift_s=0.0) == pytest.approx(10 * np.log10(1 / 0.25))


@pytest.mark.parametrize("side", [-1, 1])
def test_shifts_count_to_the_sample_and_to_the_millivolt_on_both_sides(side):
    pulse = np.zeros(3000)
    pulse[1400:1450] = np.hanning(50)
    assert snr_db(pulse, np.roll(pulse, side * 250), 500.0) == np.inf  # 0.5 s
    assert snr_db(pulse, np.roll(pulse, side * 251), 500.0) < 60
    assert snr_db(pulse, np.roll(pulse, side * 20), 500.0, most_shift_s=0.04) == np.inf
    assert snr_db(pulse, np.roll(pulse, side * 21), 500.0, most_shift_s=0.04) < 60
    power = np.square(pulse).sum()
    assert snr_db(pulse, pulse + side * 1.0, 500.0) > 200
    # A quarter of a millivolt remains at each of 3000 samples.
    expected = 10 * np.log10(power / (3000 * 0.25**2))
    assert snr_db(pulse, pulse + side * 1.25, 500.0, most_shift_s=0.0) == pytest.approx(expected)
    assert snr_db(pulse, pulse + side * 0.75, 500.0, most_shift_mv=0.5, most_shift_s=0.0) == pytest.approx(expected)


def test_ends_are_held_where_a_shift_reaches_beyond_what_is_known():
    # A ramp, and the same 10 samples earlier with its end held: nothing differs after a shift of 10.
    ramp = np.arange(100.0)
    assert snr_db(ramp, np.minimum(ramp + 10, 99.0), 500.0, most_shift_mv=0.0) == pytest.approx(
        10 * np.log10(np.square(ramp).sum() / np.square(np.arange(1, 11)).sum())
    )
