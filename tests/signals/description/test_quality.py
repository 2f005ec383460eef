import math

import numpy as np
import pytest

from signals.description.artifacts import BIT, KINDS
from signals.description.quality import (
    GOOD,
    REASONS,
    WEIGHTS,
    Limits,
    artifact_ratio,
    channel_quality,
    channel_snr_db,
    deviation_z,
    quality_verdict,
    trust,
    window_artifact_ratio,
    window_snr_db,
)
from signals.spectrograms import welch
from signals.window import ABSENT, INTERPOLATED, MEASURED

SFREQ, N_CHANS, N_SECONDS = 256, 19, 10
STATE = np.full(N_CHANS, MEASURED, dtype=np.uint8)


def montage(seed=0, noise_uv=2.0):
    """EEG-like: neighbours share sources below 20 Hz, each channel has white noise of its own."""
    rng = np.random.default_rng(seed)
    freqs = np.fft.rfftfreq(N_SECONDS * SFREQ, 1 / SFREQ)
    gain = np.where((freqs >= 0.5) & (freqs < 20), np.maximum(freqs, 0.5) ** -0.75, 0.0)
    parts = rng.normal(size=(2, 6, len(freqs)))
    sources = np.fft.irfft(gain * (parts[0] + 1j * parts[1]), n=N_SECONDS * SFREQ)
    mixing = np.exp(-0.5 * ((np.arange(N_CHANS)[:, None] / 3.6 - np.arange(6)) / 1.2) ** 2)
    mixed = mixing @ sources
    return 20 * mixed / mixed.std() + noise_uv * rng.normal(size=mixed.shape)


def clean_mask():
    return np.zeros((N_CHANS, N_SECONDS), dtype=np.uint16)


def test_quality_of_a_clean_window_is_one():
    quality = channel_quality(montage(), clean_mask(), STATE)
    assert quality.dtype == np.float32
    np.testing.assert_array_equal(quality, np.ones(N_CHANS))


def test_quality_counts_seconds_flags_and_states():
    mask, state = clean_mask(), STATE.copy()
    mask[1, :5] = BIT["flat"]  # half of the seconds lost
    mask[2] = BIT["muscle"] | BIT["line"]  # 0.4 x 0.6
    mask[3, 0] = BIT["blink"]  # 9 whole seconds and 0.8
    state[4], state[5] = INTERPOLATED, ABSENT
    quality = channel_quality(montage(), mask, state)
    np.testing.assert_allclose(quality[:6], [1, 0.5, 0.24, 0.98, 0.5, 0], rtol=1e-5)


def test_quality_falls_with_deviation_and_takes_batches():
    x = montage()
    x[7] *= 40
    z = deviation_z(x, STATE)
    quality = channel_quality(np.stack([x, montage(1)]), np.stack([clean_mask()] * 2), np.stack([STATE] * 2))
    assert quality.shape == (2, N_CHANS)
    assert quality[0, 7] == pytest.approx(math.exp(-(z[7] - 3) / 3), rel=1e-5)
    assert quality[0, 7] < 0.15
    assert ((quality >= 0) & (quality <= 1)).all()


def snr_db(x, *, h_freq=115.0):
    """Of all channels of a window."""
    return channel_snr_db(*welch(x, SFREQ), h_freq=h_freq)


def judged(x, mask, state=STATE, limits=None):
    quality = channel_quality(x, mask, state)
    return quality_verdict(
        artifact_mask=mask, ch_state=state, quality=quality, snr_db=snr_db(x), limits=limits or Limits()
    )


def test_every_kind_has_a_weight_and_most_are_artifacts():
    assert set(WEIGHTS) == set(KINDS)
    for kind in KINDS:
        mask = clean_mask()
        mask[:] = BIT[kind]
        # Flag, never hide: a whole window of large, blinking or humming seconds stays.
        spared = kind in ("amplitude", "blink", "line")
        assert (judged(montage(), mask) == GOOD) == spared
        np.testing.assert_array_equal(artifact_ratio(mask), np.zeros(N_CHANS) if spared else np.ones(N_CHANS))


def test_snr_follows_the_ratio_of_densities():
    rng = np.random.default_rng(4)
    white = 5 * rng.normal(size=(N_CHANS, 200 * SFREQ))
    at = np.arange(white.shape[-1]) / SFREQ
    # White noise of 5 µV: 25 / 128 µV²/Hz. A 10 Hz tone of amplitude A adds A² / 2 over 29 Hz (58 bins of 0.5 Hz).
    # The median of a Welch density over ~400 half-overlapping segments is within 1% of its mean.
    for amplitude_uv in (10.0, 40.0, 100.0):
        expected = 10 * np.log10(amplitude_uv**2 / 2 / 29 / (25 / 128))
        measured = snr_db(white + amplitude_uv * np.sin(2 * np.pi * 10 * at))
        assert measured.dtype == np.float32
        np.testing.assert_allclose(measured, np.full(N_CHANS, expected), atol=0.5)
    assert (snr_db(white) < -10).all()
    hum = white + 300 * np.sin(2 * np.pi * 50 * at) + 40 * np.sin(2 * np.pi * 10 * at)
    clean = snr_db(white + 40 * np.sin(2 * np.pi * 10 * at))
    np.testing.assert_allclose(snr_db(hum), clean, atol=0.5)
    assert np.isnan(snr_db(white, h_freq=30.0)).all()
    white[3] = 0.0
    assert np.isnan(snr_db(white)).tolist() == [row == 3 for row in range(N_CHANS)]


def test_a_channels_noise_is_its_own():
    rng = np.random.default_rng(5)
    at = np.arange(200 * SFREQ) / SFREQ
    x = 5 * rng.normal(size=(N_CHANS, len(at))) + 40 * np.sin(2 * np.pi * 10 * at)
    alone = snr_db(x)
    x[3:] *= 50  # the ratio of each of these stays what it was, and so do the others'
    np.testing.assert_allclose(snr_db(x), alone, atol=1e-3)


def test_what_speaks_against_a_window():
    x = montage()
    assert judged(x, clean_mask()) == GOOD
    assert (snr_db(x) > 5).all()
    mask = clean_mask()
    mask[:10] = BIT["gap"]
    assert judged(x, mask) == "signal_lost+bad_channels"
    mask[:] = BIT["muscle"] | BIT["line"]  # a quality of 0.4 x 0.6
    assert judged(x, mask) == "artifacts+bad_channels"
    noise = np.random.default_rng(5).normal(scale=30, size=x.shape)
    assert judged(noise, clean_mask()) == "noise"
    assert judged(x, mask, np.zeros(N_CHANS, dtype=np.uint8)) == "no_measured_channels"
    assert judged(x, clean_mask(), limits=Limits(snr_db=90.0)) == "noise"
    assert {"signal_lost", "artifacts", "bad_channels", "noise", "no_measured_channels"} == set(REASONS)


def test_only_measured_channels_are_judged():
    x, mask, state = montage(), clean_mask(), STATE.copy()
    mask[:10], state[:10] = BIT["flat"], INTERPOLATED
    state[18] = ABSENT
    assert judged(x, mask, state) == GOOD
    assert window_artifact_ratio(artifact_ratio(mask), state) == 0.0
    mask[10, :4] = BIT["pop"]  # 4 of 8 x 10 measured channel-seconds
    assert window_artifact_ratio(artifact_ratio(mask), state) == pytest.approx(0.05)
    ratios = np.arange(19.0)
    assert window_snr_db(ratios, state) == 13.5  # the median of 10 ... 17
    ratios[10:14] = np.nan
    assert window_snr_db(ratios, state) == 15.5
    assert math.isnan(window_snr_db(ratios, np.zeros(N_CHANS, dtype=np.uint8)))
    assert math.isnan(window_artifact_ratio(ratios, np.zeros(N_CHANS, dtype=np.uint8)))


def test_snr_and_decision_follow_the_planted_noise():
    # Twice the noise is 6 dB less, as long as signal and noise both stand out.
    levels = [1.0, 2.0, 4.0, 8.0, 16.0, 64.0]
    found = [window_snr_db(snr_db(montage(6, noise_uv=level)), STATE) for level in levels]
    assert found == sorted(found, reverse=True)
    assert found[0] - found[2] == pytest.approx(12.0, abs=1.5)
    decisions = [judged(montage(6, noise_uv=level), clean_mask()) for level in levels]
    assert decisions[0] == GOOD
    assert decisions[-1] == "noise"


def at_limits(**changes):
    """The decision on ten seconds of 20 channels that are clean but for what is given."""
    fields = {
        "artifact_mask": np.zeros((20, 10), dtype=np.uint16),
        "ch_state": np.full(20, MEASURED, dtype=np.uint8),
        "quality": np.ones(20, dtype=np.float32),
        "snr_db": np.full(20, 9.0, dtype=np.float32),
    } | changes
    return quality_verdict(**fields)


def masked(bits, n_seconds):
    """The mask of 20 channels, `n_seconds` of 200 under the bits."""
    mask = np.zeros(200, dtype=np.uint16)
    mask[:n_seconds] = bits
    return mask.reshape(20, 10)


@pytest.mark.parametrize("kind", ["flat", "gap", "clipped"])
def test_three_tenths_may_be_lost(kind):
    assert at_limits(artifact_mask=masked(BIT[kind], 60)) == GOOD
    assert at_limits(artifact_mask=masked(BIT[kind], 61)) == "signal_lost"


@pytest.mark.parametrize("kind", ["pop", "muscle", "drift"])
def test_seven_tenths_may_hold_artifacts(kind):
    assert at_limits(artifact_mask=masked(BIT[kind], 140)) == GOOD
    assert at_limits(artifact_mask=masked(BIT[kind], 141)) == "artifacts"
    assert at_limits(artifact_mask=masked(BIT[kind] | BIT["flat"], 141)) == "signal_lost+artifacts"


def test_half_of_the_channels_may_be_bad():
    quality = np.ones(20, dtype=np.float32)
    quality[:10] = 0.29
    assert at_limits(quality=quality) == GOOD
    quality[10] = 0.29
    assert at_limits(quality=quality) == "bad_channels"
    quality[10] = 0.31
    assert at_limits(quality=quality) == GOOD


def test_noise_may_be_as_dense_as_the_signal():
    assert at_limits(snr_db=np.full(20, 0.05, dtype=np.float32)) == GOOD
    assert at_limits(snr_db=np.full(20, -0.05, dtype=np.float32)) == "noise"
    assert at_limits(snr_db=np.full(20, np.nan, dtype=np.float32)) == GOOD
    # The median over channels decides.
    assert at_limits(snr_db=np.where(np.arange(20) < 9, -9.0, 9.0)) == GOOD
    assert at_limits(snr_db=np.where(np.arange(20) < 11, -9.0, 9.0)) == "noise"


@pytest.mark.parametrize(
    ("kind", "left"),
    [("flat", 0.0), ("gap", 0.0), ("clipped", 0.1), ("pop", 0.4), ("muscle", 0.4), ("drift", 0.4), ("line", 0.6),
     ("blink", 0.8), ("amplitude", 0.8)],
)  # fmt: skip
def test_what_each_flag_leaves_of_a_second(kind, left):
    mask = np.zeros(4, dtype=np.uint16)
    mask[1] = BIT[kind]
    assert trust(mask) == pytest.approx((3 + left) / 4)


def test_deviation_begins_at_three_and_counts_both_ways():
    # An even montage: the spread counts as 0.4 of log std, so z = ln(factor) / 0.4.
    x = np.tile(10 * np.sin(np.arange(2560)), (N_CHANS, 1))
    for row, z in ((3, 2.9), (4, 4.5), (5, -4.5)):
        x[row] *= np.exp(0.4 * z)
    np.testing.assert_allclose(deviation_z(x, STATE)[[0, 3, 4, 5]], [0, 2.9, 4.5, -4.5], atol=1e-6)
    quality = channel_quality(x, clean_mask(), STATE)
    np.testing.assert_allclose(quality[[0, 3, 4, 5]], [1, 1, np.exp(-0.5), np.exp(-0.5)], rtol=1e-5)
    # Samples that are missing do not count, a channel without any is not judged.
    x[7, :1000] = np.nan
    x[8] = np.nan
    z = deviation_z(x, STATE)
    assert abs(z[7]) < 0.1
    assert np.isnan(z[8])
    assert channel_quality(x, clean_mask(), STATE)[8] == 1.0  # its flags say why


def test_only_measured_channels_set_what_is_usual():
    x = np.tile(10 * np.sin(np.arange(2560)), (N_CHANS, 1))
    x[:10] *= 100
    state = STATE.copy()
    state[:10] = INTERPOLATED
    np.testing.assert_allclose(deviation_z(x, state)[10:], np.zeros(9), atol=1e-6)


def test_the_bands_of_signal_and_noise():
    """1 to 30 Hz against 35 Hz to the edge; what lies elsewhere counts nowhere."""
    freqs = np.arange(0, 128, 0.5)

    def snr(*parts, h_freq=100.0):
        density = np.full((1, freqs.size), 1e-3)
        for low, high, value in parts:
            density[0, (freqs >= low) & (freqs < high)] = value
        return float(channel_snr_db(freqs, density, h_freq=h_freq)[0])

    noise = (35, 200, 1.0)
    # Signal at 11 times the noise is 10 dB above it.
    assert snr((1, 30, 11.0), noise) == pytest.approx(10.0, abs=1e-3)
    assert snr((1, 30, 11.0), (0, 1, 500.0), (30, 35, 500.0), noise) == pytest.approx(10.0, abs=1e-3)
    # Noise is the median of what lies up to the edge, which is included.
    assert snr((1, 30, 11.0), (35, 68, 1.0), (68, 200, 300.0)) == pytest.approx(10.0, abs=1e-3)
    assert snr((1, 30, 11.0), (35, 60, 1.0), (60, 200, 300.0)) < -10
    assert snr((1, 30, 11.0), (35, 35.5, 1.0), (35.5, 200, 300.0), h_freq=35.0) == pytest.approx(10.0, abs=1e-3)
    assert np.isnan(snr((1, 30, 11.0), noise, h_freq=34.9))
    # No signal stands out: cut off at -20 dB.
    assert snr((1, 30, 1.001), noise) == pytest.approx(-20.0, abs=1e-3)
    assert snr((1, 30, 0.5), noise) == pytest.approx(-20.0, abs=1e-3)
