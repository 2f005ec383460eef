import math

import numpy as np
import pytest

from signals.artifacts import BIT, KINDS
from signals.quality import REASONS, WEIGHTS, Limits, bad_channels, channel_quality, deviation_z, snr_db, verdict
from signals.windows import ABSENT, INTERPOLATED, MEASURED

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


def test_every_kind_has_a_weight_and_most_are_artifacts():
    assert set(WEIGHTS) == set(KINDS)
    for kind in KINDS:
        mask = clean_mask()
        mask[:] = BIT[kind]
        found = verdict(montage(), SFREQ, artifact_mask=mask, ch_state=STATE, bad=np.zeros(N_CHANS, dtype=bool))
        # Flag, never hide: a whole window of large, blinking or humming seconds stays.
        assert found.ok == (kind in ("amplitude", "blink", "line"))
        assert found.artifact_ratio == (0.0 if found.ok else 1.0)


def test_bad_channels_one_of_each_kind():
    rng = np.random.default_rng(3)
    x = montage()
    assert not bad_channels(x, SFREQ, ch_state=STATE).any()
    x[2] = 0.1 * rng.normal(size=x.shape[-1])  # flat
    x[5] *= 50  # deviant
    x[9] = 20 * rng.normal(size=x.shape[-1])  # alone, and noisy
    smooth = np.convolve(rng.normal(size=x.shape[-1] + 63), np.ones(64) / 8, "valid")
    x[12] = 20 * smooth / smooth.std()  # alone, not noisy, of usual size
    x[15] += 15 * rng.normal(size=x.shape[-1])  # noisy
    bad = bad_channels(x, SFREQ, ch_state=STATE)
    np.testing.assert_array_equal(np.flatnonzero(bad), [2, 5, 9, 12, 15])
    state = STATE.copy()
    state[2], state[5] = ABSENT, INTERPOLATED
    np.testing.assert_array_equal(np.flatnonzero(bad_channels(x, SFREQ, ch_state=state)), [9, 12, 15])
    batch = bad_channels(np.stack([x, montage()]), SFREQ, ch_state=STATE)
    np.testing.assert_array_equal(batch, [bad, np.zeros(N_CHANS, dtype=bool)])


def test_a_focal_discharge_does_not_make_channels_bad():
    x = montage()
    at = np.arange(x.shape[-1]) / SFREQ % (1 / 3)
    wave = 250 * np.exp(-0.5 * ((at - 0.04) / 0.012) ** 2) - 150 * np.sin(np.pi * at * 3) ** 2
    x[4:8] += np.array([0.5, 1.0, 1.0, 0.5])[:, None] * wave
    assert not bad_channels(x, SFREQ, ch_state=STATE).any()


def test_snr_follows_the_ratio_of_densities():
    rng = np.random.default_rng(4)
    white = 5 * rng.normal(size=(N_CHANS, 200 * SFREQ))
    at = np.arange(white.shape[-1]) / SFREQ
    # White noise of 5 µV: 25 / 128 µV²/Hz. A 10 Hz tone of amplitude A adds A² / 2 over 29 Hz (58 bins of 0.5 Hz).
    # The median of a Welch density over ~400 half-overlapping segments is within 1% of its mean.
    for amplitude_uv in (10.0, 40.0, 100.0):
        expected = 10 * np.log10(amplitude_uv**2 / 2 / 29 / (25 / 128))
        measured = snr_db(white + amplitude_uv * np.sin(2 * np.pi * 10 * at), SFREQ, STATE)
        assert measured == pytest.approx(expected, abs=0.3)
    assert snr_db(white, SFREQ, STATE) < -10
    hum = white + 300 * np.sin(2 * np.pi * 50 * at) + 40 * np.sin(2 * np.pi * 10 * at)
    clean = snr_db(white + 40 * np.sin(2 * np.pi * 10 * at), SFREQ, STATE)
    assert snr_db(hum, SFREQ, STATE) == pytest.approx(clean, abs=0.5)
    assert math.isnan(snr_db(white, SFREQ, np.zeros(N_CHANS, dtype=np.uint8)))
    assert math.isnan(snr_db(white, SFREQ, STATE, h_freq=30.0))


def test_verdicts_name_their_reasons():
    x, none_bad = montage(), np.zeros(N_CHANS, dtype=bool)
    good = verdict(x, SFREQ, artifact_mask=clean_mask(), ch_state=STATE, bad=none_bad)
    assert good.ok
    assert good.reasons == ()
    assert good.snr_db > 5
    mask = clean_mask()
    mask[:10] = BIT["gap"]
    assert verdict(x, SFREQ, artifact_mask=mask, ch_state=STATE, bad=none_bad).reasons == ("signal_lost",)
    mask[:] = BIT["muscle"]
    found = verdict(x, SFREQ, artifact_mask=mask, ch_state=STATE, bad=~none_bad)
    assert found.reasons == ("artifacts", "bad_channels")
    noise = np.random.default_rng(5).normal(scale=30, size=x.shape)
    assert verdict(noise, SFREQ, artifact_mask=clean_mask(), ch_state=STATE, bad=none_bad).reasons == ("noise",)
    nothing = verdict(x, SFREQ, artifact_mask=mask, ch_state=np.zeros(N_CHANS, dtype=np.uint8), bad=none_bad)
    assert nothing.reasons == ("no_measured_channels",)
    strict = verdict(x, SFREQ, artifact_mask=clean_mask(), ch_state=STATE, bad=none_bad, limits=Limits(snr_db=90.0))
    assert strict.reasons == ("noise",)
    assert {"signal_lost", "artifacts", "bad_channels", "noise", "no_measured_channels"} == set(REASONS)
