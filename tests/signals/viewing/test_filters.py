import itertools

import numpy as np
import pytest
from scipy.signal import butter, iirnotch, sosfilt, tf2sos

from signals.viewing.filters import HIGH_PASS_HZ, LOW_PASS_HZ, NOTCH_HZ, ViewFilter


def reference(x, sfreq, l_freq, h_freq, notch_hz):
    sections = [butter(1, l_freq, "highpass", fs=sfreq, output="sos")]
    if h_freq < 0.98 * sfreq / 2:
        sections.append(butter(2, h_freq, fs=sfreq, output="sos"))
    if 0 < notch_hz < 0.98 * sfreq / 2:
        sections.append(tf2sos(*iirnotch(notch_hz, 30, fs=sfreq)))
    return sosfilt(np.vstack(sections), x)


@pytest.mark.parametrize("sfreq", [100.0, 256.0, 500.0])
def test_equals_scipys_recursive_filters(sfreq):
    rng = np.random.default_rng(0)
    for l_freq, h_freq, notch_hz in itertools.product((0.1, 0.5, 5.0), (10.0, 70.0), NOTCH_HZ):
        one = ViewFilter(sfreq=sfreq, l_freq=l_freq, h_freq=h_freq, notch_hz=notch_hz)
        x = rng.normal(0, 30, (2, one.reach + 3000)).astype(np.float32)
        x -= x[:, :1]  # the filter takes a constant off first, which the high-pass would forget later
        wanted = reference(x, sfreq, l_freq, h_freq, notch_hz)[:, one.reach :]
        # e^-20 of what came before is left out, and float32.
        np.testing.assert_allclose(one.apply(x), wanted, atol=2e-3)


def test_parts_equal_the_whole():
    rng = np.random.default_rng(1)
    one = ViewFilter(sfreq=256.0, l_freq=0.5, h_freq=70.0, notch_hz=50.0)
    x = rng.normal(0, 30, (3, one.reach + 40_000)).astype(np.float32) + 5000
    whole = one.apply(x)
    for start, stop in ((0, 10), (100, 2660), (12_345, 40_000)):
        np.testing.assert_allclose(one.apply(x[:, start : one.reach + stop]), whole[:, start:stop], atol=5e-3)


def test_an_offset_of_an_amplifier_does_not_show():
    one = ViewFilter(sfreq=256.0, l_freq=0.1, h_freq=70.0)
    x = np.full((1, one.reach + 1000), 250_000.0, dtype=np.float32)
    assert np.abs(one.apply(x)).max() == 0.0


def test_choices_are_checked():
    with pytest.raises(ValueError, match=r"l_freq=0.2 Hz is none of 0.1, 0.3"):
        ViewFilter(sfreq=256.0, l_freq=0.2, h_freq=70.0)
    with pytest.raises(ValueError, match="not longer than the reach"):
        ViewFilter(sfreq=256.0, l_freq=0.5, h_freq=70.0).apply(np.zeros((1, 100), np.float32))
    assert {0.1, 5.0} <= set(HIGH_PASS_HZ)
    assert {10.0, 100.0} <= set(LOW_PASS_HZ)
