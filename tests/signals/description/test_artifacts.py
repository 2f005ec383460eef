import numpy as np
import pytest
from scipy.signal import butter, sosfiltfilt

from signals.description.artifacts import BIT, KINDS, Thresholds, detect, electrode_faults, kinds_of
from tests.signals.description.planted_artifacts import (
    CH_NAMES,
    SFREQ,
    background,
    band_limited,
    flags,
    plant,
    spike_and_wave,
)


@pytest.mark.parametrize("kind", KINDS)
def test_planted_artifacts_are_found_where_they_are(kind):
    rng = np.random.default_rng(KINDS.index(kind))
    n_trials, n_found, n_elsewhere = 20, 0, 0
    for _ in range(n_trials):
        x = background(rng)
        planted = plant(kind, x, rng)
        found = flags(x, kind)
        n_found += bool(found[planted, 4].all())
        others = np.delete(found, planted, axis=0)
        n_elsewhere += int(others.sum()) if kind != "blink" else int(np.delete(found, 4, axis=1).sum())
    assert n_found >= 0.9 * n_trials, f"{kind}: {n_found} of {n_trials}"
    assert n_elsewhere <= 0.002 * n_trials * len(CH_NAMES) * 10


def test_background_is_hardly_ever_flagged():
    rng = np.random.default_rng(1)
    x = np.stack([background(rng, std=std) for std in (8, 15, 25) for _ in range(10)])
    bits = detect(x, SFREQ, ch_names=CH_NAMES, mains_hz=50.0)
    rates = {kind: float(((bits & BIT[kind]) != 0).mean()) for kind in KINDS}
    assert max(rates.values()) < 0.002, rates


@pytest.mark.parametrize("h_freq", [None, 50.0])
@pytest.mark.parametrize("focal", [True, False])
@pytest.mark.parametrize("rate_hz", [1.5, 3.0, 4.0])
def test_spike_and_wave_is_no_artifact(focal, rate_hz, h_freq):
    rng = np.random.default_rng(2)
    for spike_uv, wave_uv in ((200, 200), (300, 250), (300, 100), (-250, 200)):
        x = background(rng)
        gains = np.ones(19) if not focal else np.where(np.isin(CH_NAMES, ["T3", "F7", "T5"]), 1.0, 0.05)
        x += gains[:, None] * spike_and_wave(10, rate_hz=rate_hz, spike_uv=spike_uv, wave_uv=wave_uv)
        bits = detect(x.astype(np.float32), SFREQ, ch_names=CH_NAMES, mains_hz=50.0, h_freq=h_freq)
        for kind in ("flat", "muscle", "pop", "clipped", "drift", "line", "blink", "gap"):
            assert not (bits & BIT[kind]).any(), (kind, spike_uv, wave_uv)


def test_generalised_delta_is_no_blink_and_no_drift():
    rng = np.random.default_rng(3)
    wave = 120 * np.sin(2 * np.pi * 1.5 * np.arange(10 * SFREQ) / SFREQ)
    x = background(rng) + np.linspace(1.2, 0.7, 19)[:, None] * wave
    assert not flags(x, "blink").any()
    assert not flags(x, "drift").any()


def test_frontal_rhythm_is_no_blink():
    # A frontal seizure: as large over F3, Fz, F4 as at the poles, little of it behind.
    rng = np.random.default_rng(12)
    wave = 200 * np.sin(2 * np.pi * 3 * np.arange(10 * SFREQ) / SFREQ)
    gains = [1.0 if name in ("Fp1", "Fp2", "F3", "Fz", "F4") else 0.2 for name in CH_NAMES]
    assert not flags(background(rng) + np.array(gains)[:, None] * wave, "blink").any()


def test_clipping_is_still_seen_after_the_band_pass():
    rng = np.random.default_rng(4)
    x = background(rng).astype(np.float64)
    x[3] = np.clip(x[3] + 500 * np.sin(2 * np.pi * 1.2 * np.arange(10 * SFREQ) / SFREQ), -300, 300)
    x = sosfiltfilt(butter(2, [0.5, 70], "bandpass", fs=SFREQ, output="sos"), x)
    found = flags(x, "clipped")
    assert found[3].mean() > 0.8
    assert not np.delete(found, 3, axis=0).any()


def test_muscle_is_looked_for_below_the_band_edge():
    rng = np.random.default_rng(5)
    x = background(rng).astype(np.float64)
    x[CH_NAMES.index("T3")] += 60 * band_limited(rng, 20, 100, x.shape[-1])
    x = sosfiltfilt(butter(8, 50, "lowpass", fs=SFREQ, output="sos"), x)
    assert flags(x, "muscle", h_freq=50.0)[CH_NAMES.index("T3")].all()
    # Half of 20-100 Hz is empty after the filter, so without knowing the edge the median over the spectrum is small.
    assert not flags(x, "muscle")[CH_NAMES.index("T3")].any()


def test_mains_is_not_muscle_and_is_skipped_above_the_edge():
    rng = np.random.default_rng(6)
    x = background(rng)
    x += 60 * np.sin(2 * np.pi * 60 * np.arange(x.shape[-1]) / SFREQ)
    assert flags(x, "line", mains_hz=60.0).all()
    assert not flags(x, "muscle", mains_hz=60.0).any()
    assert not flags(x, "line", mains_hz=60.0, h_freq=50.0).any()


def test_hum_is_looked_for_at_both_frequencies_where_the_mains_are_not_known():
    # One loose electrode: the median over channels, which the plan looks at, shows no mains.
    for mains_hz in (50, 60):
        x = background(np.random.default_rng(13))
        x[4] += 12 * np.sin(2 * np.pi * mains_hz * np.arange(x.shape[-1]) / SFREQ)
        found = flags(x, "line", mains_hz=None)
        assert found[4].all()
        assert not np.delete(found, 4, axis=0).any()


def test_a_step_in_all_channels_is_no_pop():
    x = background(np.random.default_rng(7))
    x[:, 1400:] += 180
    assert not flags(x, "pop").any()


def test_missing_samples_are_gaps_and_nothing_else():
    x = background(np.random.default_rng(8))
    missing = np.zeros(x.shape, dtype=bool)
    missing[2, 300:900] = True
    x[2, 300:900] = -5000.0  # filler of a device; must not be looked at
    x[5] = np.nan
    bits = detect(x, SFREQ, ch_names=CH_NAMES, mains_hz=50.0, missing=missing)
    # Samples 300 ... 899 lie in seconds 1, 2, 3 at 256 Hz.
    np.testing.assert_array_equal(bits[2], np.where(np.isin(np.arange(10), [1, 2, 3]), BIT["gap"], 0))
    assert (bits[5] == BIT["gap"]).all()


def test_batches_equal_single_windows_and_input_is_untouched():
    rng = np.random.default_rng(9)
    x = np.stack([background(rng) for _ in KINDS])
    for i, kind in enumerate(KINDS):
        plant(kind, x[i], rng)
    before = x.copy()
    bits = detect(x, SFREQ, ch_names=CH_NAMES, mains_hz=50.0)
    singles = [detect(window, SFREQ, ch_names=CH_NAMES, mains_hz=50.0) for window in x]
    assert bits.dtype == np.uint16
    np.testing.assert_array_equal(bits, singles)
    np.testing.assert_array_equal(x, before)
    assert all((bits[i] & BIT[kind]).any() for i, kind in enumerate(KINDS))


@pytest.mark.parametrize("sfreq", [128, 200, 250])
def test_other_rates(sfreq):
    x = background(np.random.default_rng(10), sfreq=sfreq)
    x[4, 5 * sfreq :] += 200
    bits = detect(x, sfreq, ch_names=CH_NAMES, mains_hz=50.0)
    # The step lies on the border of seconds 4 and 5 and is marked in its middle.
    assert (bits[4, 4:6] & BIT["pop"]).any()
    assert not (np.delete(bits, 4, axis=0)).any()


def test_thresholds_and_names():
    x = background(np.random.default_rng(11))
    assert flags(x, "amplitude", thresholds=Thresholds(amplitude_uv=20.0)).any()
    assert kinds_of(0b101) == ("flat", "drift")
    assert kinds_of(np.uint16(1 << 8)) == ("amplitude",)


@pytest.mark.parametrize(
    ("n_times", "sfreq", "n_names"), [(2500, 256, 19), (2560, 256.5, 19), (2560, 256, 18), (0, 256, 19)]
)
def test_wrong_shapes_are_refused(n_times, sfreq, n_names):
    with pytest.raises(ValueError, match=r"is not a multiple|channels"):
        detect(np.zeros((19, n_times)), sfreq, ch_names=CH_NAMES[:n_names], mains_hz=None)


def test_faults_of_electrodes_are_seen_in_raw_samples():
    rng, sfreq = np.random.default_rng(14), 200
    x = background(rng, sfreq=sfreq).astype(np.float64)
    x[2, 3 * sfreq : 5 * sfreq] = -40.0  # dead in seconds 3 and 4
    x[7] = np.clip(x[7] + 400 * np.sin(2 * np.pi * np.arange(x.shape[1]) / sfreq), -300, 300)
    x[9, 10:20] = np.nan
    x = np.rint(x / 0.2) * 0.2  # as a file holds it
    bits = electrode_faults(x, sfreq, first_s=20.0, onsets_s=20.0 + np.arange(10))
    assert np.flatnonzero(bits[2] & BIT["flat"]).tolist() == [3, 4]
    # A sine of 400 is above 300 for arccos(3 / 4) / pi = 23% of its period: 230 ms at each rail.
    assert ((bits[7] & BIT["clipped"]) != 0).all()
    assert not np.delete(bits, [2, 7], axis=0).any()
    later = electrode_faults(x[:, 2 * sfreq :], sfreq, first_s=22.0, onsets_s=22.0 + np.arange(8))
    np.testing.assert_array_equal(later, bits[:, 2:])


def test_slow_rhythms_are_no_drift_but_a_wandering_electrode_is():
    x = background(np.random.default_rng(15))
    slow = 90 * np.sin(2 * np.pi * 0.6 * np.arange(x.shape[1]) / SFREQ).astype(np.float32)
    assert not flags(x + np.linspace(1.0, 0.6, 19, dtype=np.float32)[:, None] * slow, "drift").any()
    x[5] += slow
    found = flags(x, "drift")
    assert found[5].any()
    assert not np.delete(found, 5, axis=0).any()
