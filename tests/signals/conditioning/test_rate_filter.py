import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from signals.conditioning.filters import antialias_taps, band_taps, effective_band, mains_harmonics, reflect
from signals.conditioning.rate_filter import RateFilter, polyphase

RATES = [128.0, 160.0, 173.61, 199.5, 200.0, 250.0, 256.0, 257.0, 499.0, 500.0, 512.0, 1000.0]


def rate_filter(sfreq, *, h_freq=128.0, mains_hz=None, **options):
    band = effective_band(0.5, h_freq, native_sfreq=sfreq, sfreq=256.0)
    return RateFilter(native_sfreq=sfreq, sfreq=256.0, band=band, mains_hz=mains_hz, **options)


def cut(x, first, last):
    """Return x[first:last] with zeros where x has no samples."""
    n_times = x.shape[-1]
    inside = x[..., max(first, 0) : min(last, n_times)]
    return np.pad(inside, [(0, 0)] * (x.ndim - 1) + [(max(-first, 0), max(last - n_times, 0))])


def apply(chain, x, start, stop):
    return chain.apply(cut(x, *chain.span(start, stop)), start, stop)


@pytest.mark.parametrize("sfreq", RATES)
def test_agrees_with_scipys_polyphase_and_convolution_in_float64(sfreq):
    chain = rate_filter(sfreq, mains_hz=50.0)
    up, down = chain.ratio
    assert chain.is_periodic == (sfreq != 173.61)
    n_times = round(20 * sfreq)
    x = np.random.default_rng(0).standard_normal((2, n_times))
    reference = signal.resample_poly(x, up, down, axis=-1, window=antialias_taps(up, down)) if up != down else x
    taps = band_taps(256.0, *chain.band, mains_harmonics(50.0, chain.band[1]))
    reference = signal.convolve(reference, taps[None], mode="same")
    n_out = n_times * up // down
    inner = slice(1024, n_out - 1024)  # beyond 4 s the end of the stretch is out of reach
    ours = apply(chain, x, inner.start, inner.stop)
    assert ours.dtype == np.float32
    # What is left: rounding of float32, and the anti-alias filter's stop band, 1e-5.
    assert np.abs(ours - reference[:, inner]).max() < 1e-5 * np.abs(x).max()


def response_at(chain, freq, *, seconds=16.0):
    """Return the complex gain of a tone: what is found at its frequency, at the new rate, in the middle."""
    sfreq = chain.native_sfreq
    x = np.cos(2 * np.pi * freq * np.arange(round(seconds * sfreq)) / sfreq + 0.3)[None]
    start, stop = round(5 * 256.0), round((seconds - 5) * 256.0)
    y = apply(chain, x, start, stop)[0].astype(np.float64)
    t = np.arange(start, stop) / 256.0
    basis = np.column_stack([np.cos(2 * np.pi * freq * t), np.sin(2 * np.pi * freq * t)])
    (a, b), *_ = np.linalg.lstsq(basis, y, rcond=None)
    rest = y - basis @ [a, b]
    return complex(a, -b) * np.exp(-0.3j), float(np.abs(y).max()), float(np.abs(rest).max())


@pytest.mark.parametrize("sfreq", RATES)
def test_tones_within_the_band_keep_size_and_time(sfreq):
    chain = rate_filter(sfreq)
    h_freq = chain.band[1]
    for freq in (0.5, 1.0, 10.0, 0.5 * h_freq, 0.9 * h_freq, h_freq):
        gain, _, rest = response_at(chain, freq)
        # The Hamming FIR ripples by 0.019 dB, the anti-alias filter by 0.0001 dB; its transition is 0.05 of the rate.
        assert abs(20 * np.log10(abs(gain))) < 0.03, freq
        assert abs(np.angle(gain)) / (2 * np.pi * freq) < 1e-6, freq  # seconds of delay; a sample is 4e-3
        assert rest < 2e-5, freq  # no image and no alias of it


@pytest.mark.parametrize("sfreq", RATES)
def test_tones_outside_of_the_band_are_gone(sfreq):
    chain = rate_filter(sfreq, mains_hz=50.0)
    nyquist = sfreq / 2
    # The Hamming window's stop band is 0.0022 (53 dB) deep; in a notch those of both sides add up.
    for freq in [0.02, 50.0, chain.band[1] + 0.6]:
        assert response_at(chain, freq)[1] < 0.003, freq
    # From half of the lower rate upwards the anti-alias filter is 100 dB down, whatever these alias to.
    for freq in [f for f in (128.5, 140.0, 200.0, 0.99 * nyquist) if 128.0 < f < nyquist]:
        assert response_at(chain, freq)[1] < 1.2e-5, freq


def test_antialias_attenuation_is_a_choice():
    taps = antialias_taps(64, 125, attenuation_db=60.0)
    assert taps.size < antialias_taps(64, 125).size
    freqs, response = signal.freqz(taps, worN=1 << 17, fs=64 * 500.0)
    gain = np.abs(response)
    assert np.abs(20 * np.log10(gain[freqs <= 0.45 * 256])).max() < 0.01  # 60 dB: ripple 0.001 is 0.0087 dB
    assert 20 * np.log10(gain[freqs >= 128.0].max()) < -59.9
    soft, hard = rate_filter(500.0, antialias_db=60.0), rate_filter(500.0)
    assert soft.reach_s < hard.reach_s
    with pytest.raises(ValueError, match="attenuation_db=20"):
        antialias_taps(64, 125, attenuation_db=20)


@given(
    sfreq=st.sampled_from(RATES),
    seconds=st.floats(9.0, 25.0),
    cuts=st.lists(st.floats(0.02, 0.98), min_size=1, max_size=4, unique=True),
    seed=st.integers(0, 9),
)
@settings(max_examples=40, deadline=None)
def test_blocks_equal_the_whole(sfreq, seconds, cuts, seed):
    noise = np.random.default_rng(seed).standard_normal((3, round(seconds * sfreq)))
    x = reflect(np.stack([30 * noise[0], np.cumsum(noise[1]), 500 * np.sign(noise[2])]), 1000, 1000).astype(np.float32)
    chain = rate_filter(sfreq, mains_hz=60.0)
    up, down = chain.ratio
    n_out = x.shape[1] * up // down
    at_once = apply(chain, x, 0, n_out)
    edges = sorted({0, n_out, *(round(c * n_out) for c in cuts)})
    pieces = [apply(chain, x, a, b) for a, b in itertools.pairwise(edges)]
    scale = np.abs(x).max(axis=1, keepdims=True)
    assert (np.abs(np.concatenate(pieces, axis=1) - at_once) < 1e-5 * scale).all()


@pytest.mark.parametrize(("up", "down"), [(8, 5), (64, 125), (25600, 17361)])
def test_polyphase_from_the_middle_is_scipys(up, down):
    x = np.random.default_rng(1).standard_normal((2, 3000))
    taps = antialias_taps(up, down)
    whole = signal.resample_poly(x, up, down, axis=-1, window=taps)
    first, last = 1203, 2204
    start, stop = -(-(first + 300) * up // down), (last - 300) * up // down  # the reach is 64 or 125 native samples
    ours = polyphase(x[:, first:last], up, down, taps, first=first, start=start, stop=stop)
    assert np.abs(ours - whole[:, start:stop]).max() < 1e-12


def test_a_stretch_of_another_length_is_refused():
    chain = rate_filter(250.0)
    with pytest.raises(ValueError, match="not the span"):
        chain.apply(np.zeros((1, 1000), dtype=np.float32), 0, 2560)
    with pytest.raises(ValueError, match="before the reach"):
        polyphase(np.zeros((1, 10)), 8, 5, antialias_taps(8, 5), first=900, start=0, stop=10)
