import math

import numpy as np
import pytest

from signals.description.artifacts import BIT, KINDS
from signals.description.quality import (
    REASONS,
    WEIGHTS,
    Limits,
    channel_quality,
    deviation_z,
    snr_db,
    verdict,
    window_verdict,
)
from signals.shards.records import decode_window, encode_window
from signals.window import ABSENT, INTERPOLATED, MEASURED, Provenance, Window

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


def window_of(x, mask=None, state=STATE):
    provenance = Provenance(
        source_sha256="0" * 64, segment=0, start_sample=0, stop_sample=1, reader="r", config_hash="c", code_version="1"
    )
    mask = clean_mask() if mask is None else mask
    return Window(
        data=x.astype(np.float32), ch_state=state, artifact_mask=mask, quality=channel_quality(x, mask, state),
        features=np.zeros((N_CHANS, 1), dtype=np.float32), modality="eeg_1020", sfreq=float(SFREQ), band=(0.5, 115.0),
        site_id="s", subject_id="p", recording_id="r", start_s=0.0, provenance=provenance,
    )  # fmt: skip


def test_a_verdict_can_be_had_of_a_window_from_a_shard():
    for x, mask in ((montage(), None), (montage(1), np.full((N_CHANS, N_SECONDS), BIT["muscle"], dtype=np.uint16))):
        window = window_of(x, mask)
        stored = window_verdict(decode_window(encode_window(window)))
        assert stored.ok == window_verdict(window).ok
        assert stored.snr_db == pytest.approx(window_verdict(window).snr_db, abs=0.2)  # steps of 0.1 µV
        assert ("artifacts" in stored.reasons) == (mask is not None)


def test_snr_and_verdict_follow_the_planted_noise():
    # Twice the noise is 6 dB less, as long as signal and noise both stand out.
    levels = [1.0, 2.0, 4.0, 8.0, 16.0, 64.0]
    found = [snr_db(montage(6, noise_uv=level), SFREQ, STATE) for level in levels]
    assert found == sorted(found, reverse=True)
    assert found[0] - found[2] == pytest.approx(12.0, abs=1.5)
    verdicts = [window_verdict(window_of(montage(6, noise_uv=level))) for level in levels]
    assert "noise" not in verdicts[0].reasons
    assert "noise" in verdicts[-1].reasons
