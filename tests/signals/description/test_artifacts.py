import numpy as np
import pytest
from scipy.signal import butter, sosfiltfilt

from signals.description.artifacts import BIT, KINDS, Thresholds, detect, electrode_faults, kinds_of
from signals.modality import EEG_1020

SFREQ = 256
CH_NAMES = EEG_1020.ch_names
FRONTAL = {
    "Fp1": 1.0,
    "Fp2": 1.0,
    "F7": 0.4,
    "F8": 0.4,
    "F3": 0.45,
    "F4": 0.45,
    "Fz": 0.4,
    "C3": 0.12,
    "Cz": 0.12,
    "C4": 0.12,
}


def background(rng, *, n_seconds=10, std=15.0, sfreq=SFREQ):
    """1/f^1.5 noise from 0.5 Hz, a third of it common to all channels."""
    n_times = n_seconds * sfreq
    freqs = np.fft.rfftfreq(n_times, 1 / sfreq)
    gain = np.where(freqs >= 0.5, np.maximum(freqs, 0.5) ** -0.75, 0.0)
    parts = rng.normal(size=(2, len(CH_NAMES) + 1, len(freqs)))
    noise = np.fft.irfft(gain * (parts[0] + 1j * parts[1]), n=n_times)
    noise /= noise.std(axis=-1, keepdims=True)
    return (std * (np.sqrt(2 / 3) * noise[1:] + np.sqrt(1 / 3) * noise[0])).astype(np.float32)


def flags(x, kind, **options):
    options = {"ch_names": CH_NAMES, "mains_hz": 50.0} | options
    return (detect(x, SFREQ, **options) & BIT[kind]) != 0


def band_limited(rng, low, high, n_times):
    sos = butter(4, [low, high], "bandpass", fs=SFREQ, output="sos")
    noise = sosfiltfilt(sos, rng.normal(size=n_times))
    return noise / noise.std()


def spike_and_wave(n_seconds, *, rate_hz=3.0, spike_uv=250.0, wave_uv=200.0):
    """A spike of 50 ms, then a slow wave that fills the rest of each cycle, opposite in sign."""
    phase_s = np.arange(n_seconds * SFREQ) / SFREQ % (1 / rate_hz)
    wave_s = 1 / rate_hz - 0.08
    spike = spike_uv * np.exp(-0.5 * ((phase_s - 0.04) / 0.012) ** 2)
    return spike - wave_uv * np.sin(np.pi * np.clip((phase_s - 0.08) / wave_s, 0, 1)) ** 2


def plant(kind, x, rng):
    """Put one artifact into the fourth second; return the channels that must be flagged."""
    second, at = slice(4 * SFREQ, 5 * SFREQ), np.arange(SFREQ) / SFREQ
    channel = int(rng.integers(len(CH_NAMES)))
    if kind == "flat":
        x[channel, second] = 0.0
    elif kind == "clipped":
        x[channel, second] = np.clip(x[channel, second] + 400 * np.sin(2 * np.pi * 2 * at), -250, 250)
    elif kind == "drift":
        walk = 250 * np.sin(np.pi * np.arange(3 * SFREQ) / (3 * SFREQ))
        x[channel, 3 * SFREQ : 6 * SFREQ] += walk * rng.choice([-1, 1])
    elif kind == "muscle":
        x[channel, second] += 35 * band_limited(rng, 20, 100, SFREQ)
    elif kind == "line":
        x[channel, second] += 12 * np.sin(2 * np.pi * (50 * at + rng.random()))
    elif kind == "pop":
        start = 4 * SFREQ + int(rng.integers(40, SFREQ - 40))
        x[channel, start:] += rng.choice([-1, 1]) * 180 * np.exp(-np.arange(x.shape[-1] - start) / (0.5 * SFREQ))
    elif kind == "blink":
        bump = 150 * np.exp(-0.5 * ((at - 0.5) / 0.08) ** 2)
        for name, gain in FRONTAL.items():
            x[CH_NAMES.index(name), second] += gain * bump
        return [CH_NAMES.index("Fp1"), CH_NAMES.index("Fp2")]
    elif kind == "gap":
        x[channel, 4 * SFREQ + 10 : 4 * SFREQ + 30] = np.nan
    elif kind == "amplitude":
        x[channel, 4 * SFREQ + 100] = 900.0
    return [channel]


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


def still(n_seconds=10, sfreq=SFREQ):
    """Channels without noise but a tone of 20 µV at 10 Hz, so that none is flat: sizes are then what is planted."""
    at = np.arange(n_seconds * sfreq) / sfreq
    return np.tile(20 * np.sin(2 * np.pi * 10 * at), (len(CH_NAMES), 1))


def seconds_of(x, kind, channel, **options):
    return np.flatnonzero(flags(np.asarray(x, dtype=np.float32), kind, **options)[channel]).tolist()


SECOND = slice(4 * SFREQ, 5 * SFREQ)


@pytest.mark.parametrize(("uv", "seconds"), [(0.48, [4]), (0.52, [])])
def test_flat_is_below_half_a_microvolt_peak_to_peak(uv, seconds):
    x = still()
    x[3, SECOND] = 30 + uv / 2 * np.sin(2 * np.pi * 4 * np.arange(SFREQ) / SFREQ)
    assert seconds_of(x, "flat", 3) == seconds


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize(("uv", "seconds"), [(495, []), (505, [4])])
def test_amplitude_begins_at_half_a_millivolt(uv, sign, seconds):
    x = still()
    x[3, 4 * SFREQ + 77] = sign * uv
    assert seconds_of(x, "amplitude", 3) == seconds
    # Beside a gap too: what is there is too large.
    x[3, 4 * SFREQ] = np.nan
    assert seconds_of(x, "amplitude", 3) == seconds
    assert seconds_of(x, "gap", 3) == [4]


@pytest.mark.parametrize(
    ("offset", "slope", "seconds"),
    [(147, 0, []), (153, 0, [4]), (0, 147, []), (0, 153, [4]), (-70, -77, []), (-70, -83, [4]), (70, -83, [4])],
)
def test_drift_is_offset_and_slope_together(offset, slope, seconds):
    # Of all channels at once, so that none is alone.
    x = np.zeros((19, 10 * SFREQ))
    x[:, SECOND] = offset + slope * np.linspace(-1, 1, SFREQ)
    assert seconds_of(x, "drift", 5) == seconds


@pytest.mark.parametrize(
    ("uv", "others", "seconds"), [(58, 0, []), (62, 0, [4]), (62, 15, [4]), (62, 16, []), (-62, 15, [4])]
)
def test_a_channel_that_drifts_alone_may_be_smaller(uv, others, seconds):
    # Four times the median of all channels.
    x = np.zeros((19, 10 * SFREQ))
    x[:, SECOND] = others
    x[5, SECOND] = uv
    assert seconds_of(x, "drift", 5) == seconds


@pytest.mark.parametrize(("tone_uv", "seconds"), [(91, [4]), (97, [])])
def test_nine_tenths_of_a_drifts_power_are_a_line(tone_uv, seconds):
    # 200² µV² against 200² + A² / 2: 0.906 for 91 µV, 0.895 for 97.
    x = np.zeros((19, 10 * SFREQ))
    x[:, SECOND] = 200 + tone_uv * np.cos(2 * np.pi * 20 * np.arange(SFREQ) / SFREQ)
    assert seconds_of(x, "drift", 5) == seconds


@pytest.mark.parametrize("mains_hz", [50.0, 60.0])
@pytest.mark.parametrize(("rms_uv", "is_line"), [(2.9, False), (3.1, True)])
def test_a_mains_tone_counts_from_three_microvolts(rms_uv, mains_hz, is_line):
    # Hann's main lobe, three bins of 1 Hz, holds all of a tone's power.
    at = np.arange(10 * SFREQ) / SFREQ
    x = still()
    x[3] += np.sqrt(2) * rms_uv * np.sin(2 * np.pi * mains_hz * at + 0.3)
    assert seconds_of(x, "line", 3, mains_hz=mains_hz) == (list(range(10)) if is_line else [])
    assert seconds_of(x, "line", 3, mains_hz=110 - mains_hz) == []
    assert seconds_of(x, "line", 3, mains_hz=None) == (list(range(10)) if is_line else [])
    assert seconds_of(x, "line", 3, mains_hz=mains_hz, h_freq=mains_hz) == (list(range(10)) if is_line else [])
    assert seconds_of(x, "line", 3, mains_hz=mains_hz, h_freq=mains_hz - 1) == []


@pytest.mark.parametrize(("ratio", "low", "high"), [(4, 0.0, 0.1), (20, 0.3, 0.8), (60, 0.9, 1.0)])
def test_a_mains_tone_stands_out_of_the_noise_beside_it(ratio, low, high):
    # White noise of 4 µV²/Hz; the tone holds `ratio` times a bin's mean power, of which the median is ln 2. With the
    # noise in its own three bins, 30 medians are passed from about 18 on.
    rng = np.random.default_rng(21)
    x = np.sqrt(4 * SFREQ / 2) * rng.normal(size=(19, 20 * SFREQ))
    x += np.sqrt(2 * ratio * 4) * np.sin(2 * np.pi * 50 * np.arange(x.shape[1]) / SFREQ)
    assert low <= flags(x, "line").mean() <= high


@pytest.mark.parametrize("h_freq", [None, 60.0])
@pytest.mark.parametrize(("rms_uv", "low", "high"), [(12.5, 0.0, 0.1), (19.5, 0.8, 1.0)])
def test_muscle_begins_at_fifteen_microvolts(rms_uv, low, high, h_freq):
    # White noise with that much in 20-100 Hz, a density that counts in a narrower band as well.
    rng = np.random.default_rng(22)
    x = rms_uv * np.sqrt(SFREQ / 2 / 80) * rng.normal(size=(19, 20 * SFREQ))
    assert low <= flags(x, "muscle", h_freq=h_freq).mean() <= high
    assert not flags(x, "muscle", h_freq=25.0).any()  # a band too narrow to tell


def test_muscle_lasts_for_most_of_a_second():
    rng = np.random.default_rng(23)
    burst = 120 * band_limited(rng, 20, 100, 10 * SFREQ)
    x = still()
    x[3] += np.where(np.arange(10 * SFREQ) % SFREQ < 0.35 * SFREQ, burst, 0)
    x[4] += np.where(np.arange(10 * SFREQ) % SFREQ < 0.75 * SFREQ, burst, 0)
    found = flags(x, "muscle")
    assert not found[3].any()
    assert found[4].all()


@pytest.mark.parametrize(("uv", "seconds"), [(68, []), (72, [4]), (-72, [4])])
def test_a_pop_begins_at_seventy_microvolts(uv, seconds):
    x = np.zeros((19, 10 * SFREQ))
    x[3, 4 * SFREQ + 120 :] = uv
    assert seconds_of(x, "pop", 3) == seconds


@pytest.mark.parametrize(("n_others", "is_pop"), [(0, True), (1, True), (2, False)])
def test_a_pop_is_of_one_or_two_channels(n_others, is_pop):
    x = np.zeros((19, 10 * SFREQ))
    x[: 1 + n_others, 4 * SFREQ + 120 :] = 100
    assert flags(x, "pop")[0, 4] == is_pop
    # A step of less than half of it elsewhere does not count.
    x[1:, 4 * SFREQ + 120 :] = 49
    assert flags(x, "pop")[0, 4]


@pytest.mark.parametrize(("uv", "is_pop"), [(105, False), (130, True)])
def test_a_pop_is_three_times_the_usual_deviation(uv, is_pop):
    # A slow wave whose usual deviation, the median over seconds of 1.4826 times their median deviation, is 39 µV.
    slow = np.sin(2 * np.pi * 0.5 * np.arange(10 * SFREQ) / SFREQ)
    seconds = slow.reshape(10, SFREQ)
    spread = np.median(np.abs(seconds - np.median(seconds, axis=1, keepdims=True)), axis=1)
    x = np.zeros((19, 10 * SFREQ))
    x[3] = 39.0 / (1.4826 * np.median(spread)) * slow
    x[3, 4 * SFREQ + 128 :] += uv  # at a crest, where the slow wave stands still
    assert flags(x, "pop")[3, 4] == is_pop


@pytest.mark.parametrize(("ripple_uv", "is_pop"), [(22, True), (28, False)])
def test_a_pop_is_quiet_before_and_after(ripple_uv, is_pop):
    # A jump of 100 µV over the ripple's deviation of A / sqrt(2), on both sides: 100 > 4 x A up to 25 µV.
    x = np.zeros((19, 10 * SFREQ))
    x[3, 4 * SFREQ + 120 :] = 100
    around = slice(4 * SFREQ + 80, 4 * SFREQ + 160)
    x[3, around] += ripple_uv * np.sin(2 * np.pi * 40 * np.arange(80) / SFREQ)
    assert flags(x, "pop")[3, 4] == is_pop


def blink(gains, *, n_blocks=3, sfreq=SFREQ):
    """A rectangle of whole blocks (1/16 s) in second 4, of so many µV by channel, on nothing."""
    x = np.zeros((19, 10 * sfreq))
    n_block = sfreq // 16
    for name, uv in gains.items():
        x[CH_NAMES.index(name), 4 * sfreq + 2 * n_block : 4 * sfreq + (2 + n_blocks) * n_block] = uv
    return x


@pytest.mark.parametrize(
    ("gains", "n_blocks", "is_blink"),
    [
        ({"Fp1": 52, "Fp2": 80}, 2, True),
        ({"Fp1": 48, "Fp2": 80}, 2, False),
        ({"Fp1": 80, "Fp2": 48}, 2, False),
        ({"Fp1": -52, "Fp2": -80}, 2, True),
        ({"Fp1": -80, "Fp2": 80}, 2, False),  # the eyes move to one side
        ({"Fp1": 80, "Fp2": 80}, 1, False),  # 62.5 ms are no blink
    ],
)
def test_a_blink_is_of_both_poles_and_lasts(gains, n_blocks, is_blink):
    found = flags(blink(gains, n_blocks=n_blocks), "blink")
    assert found[CH_NAMES.index("Fp1"), 4] == found[CH_NAMES.index("Fp2"), 4] == is_blink
    assert found.sum() == 2 * is_blink


@pytest.mark.parametrize(
    ("region", "share", "is_blink"),
    [
        (("F3", "Fz", "F4"), 0.68, True),
        (("F3", "Fz", "F4"), 0.72, False),
        (("F3", "F4"), 0.72, False),  # the median of three
        (("C3", "Cz", "C4", "P3", "Pz", "P4"), 0.28, True),
        (("C3", "Cz", "C4", "P3", "Pz", "P4"), 0.32, False),
        (("T5", "T6", "O1", "O2", "C3", "C4"), 0.32, False),
        (("F7", "F8", "T3", "T4"), 1.0, True),  # neither frontal nor behind
    ],
)
def test_a_blink_fades_backwards(region, share, is_blink):
    found = flags(blink({"Fp1": 100, "Fp2": 100} | dict.fromkeys(region, 100 * share)), "blink")
    assert found[0, 4] == is_blink
    # Whoever takes part with half of the threshold is marked too.
    for name in region:
        assert found[CH_NAMES.index(name), 4] == (is_blink and 100 * share > 25)


def test_blinks_need_both_poles():
    names = [name for name in CH_NAMES if name != "Fp2"]
    x = blink({"Fp1": 200})[[CH_NAMES.index(name) for name in names]]
    assert not (detect(x, SFREQ, ch_names=names, mains_hz=50.0) & BIT["blink"]).any()


@pytest.mark.parametrize(("n_samples", "uv", "is_clipped"), [(9, 200, False), (13, 200, True), (13, 45, False)])
def test_a_plateau_at_a_rail_lasts_forty_milliseconds(n_samples, uv, is_clipped):
    # 40 ms are 10 samples; what is nearer to zero than 50 µV is no rail.
    rng = np.random.default_rng(24)
    for sign in (-1, 1):
        x = background(rng, std=4.0)
        x[3] = np.clip(x[3], -20, 20) + 3 * rng.normal(size=x.shape[1])
        x[3, 4 * SFREQ + 100 : 4 * SFREQ + 100 + n_samples] = sign * uv
        assert flags(x, "clipped")[3].tolist() == [second == 4 and is_clipped for second in range(10)]


@pytest.mark.parametrize(("share", "is_clipped"), [(0.65, False), (0.75, True)])
def test_a_plateau_lies_near_the_largest_value(share, is_clipped):
    rng = np.random.default_rng(25)
    x = background(rng, std=4.0)
    x[3] += 3 * rng.normal(size=x.shape[1])
    x[3, 7 * SFREQ] = 300
    x[3, 4 * SFREQ + 100 : 4 * SFREQ + 140] = 300 * share
    assert flags(x, "clipped")[3, 4] == is_clipped


@pytest.mark.parametrize(
    ("sfreq", "n_samples", "is_clipped"), [(200, 6, False), (200, 9, True), (500, 16, False), (500, 21, True)]
)
def test_raw_samples_at_a_rail(sfreq, n_samples, is_clipped):
    # 40 ms are 8 samples at 200 Hz and 20 at 500 Hz.
    rng = np.random.default_rng(26)
    x = 20 * rng.normal(size=(2, 4 * sfreq))
    for sign in (-1, 1):
        y = x.copy()
        y[1, 2 * sfreq + 50 : 2 * sfreq + 50 + n_samples] = sign * 150.0
        bits = electrode_faults(y, sfreq, first_s=0.0, onsets_s=np.arange(4.0))
        assert ((bits & BIT["clipped"]) != 0).tolist() == [[False] * 4, [False, False, is_clipped, False]]
        # A slope of more than 0.3 µV a sample is none, one of less is.
        for slope in (0.2, 0.4):
            y[1, 2 * sfreq + 50 : 2 * sfreq + 50 + n_samples] = sign * (150.0 - slope * 0.1 * np.arange(n_samples))
            y[1, 2 * sfreq + 51 : 2 * sfreq + 50 + n_samples : 2] -= sign * slope
            found = electrode_faults(y, sfreq, first_s=0.0, onsets_s=np.arange(4.0)) & BIT["clipped"]
            assert bool(found[1, 2]) == (is_clipped and slope < 0.3)


@pytest.mark.parametrize(("uv", "is_flat"), [(0.45, True), (0.55, False)])
def test_raw_samples_that_are_flat_or_missing(uv, is_flat):
    x = np.zeros((1, 800))
    x[0] = 20 * np.sin(np.arange(800))
    x[0, 400:600] = 7 + uv * (np.arange(200) % 2)
    bits = electrode_faults(x, 200.0, first_s=3.0, onsets_s=3.0 + np.arange(4))
    assert ((bits & BIT["flat"]) != 0).tolist() == [[False, False, is_flat, False]]
    x[0, 500] = np.nan  # a gap is a gap, not flat
    assert not electrode_faults(x, 200.0, first_s=3.0, onsets_s=3.0 + np.arange(4)).any()


def test_raw_seconds_that_begin_between_samples():
    # 173.61 Hz: seconds are 173 samples from the sample at their onset on, also where the block begins elsewhere.
    sfreq = 173.61
    x = 20 * np.random.default_rng(27).normal(size=(1, round(20 * sfreq)))
    x[0, round(7 * sfreq) - 2 : round(8 * sfreq) + 2] = 0.0
    whole = electrode_faults(x, sfreq, first_s=0.0, onsets_s=np.arange(19.0))
    assert np.flatnonzero(whole[0] & BIT["flat"]).tolist() == [7]
    first = round(5 * sfreq)
    part = electrode_faults(x[:, first:], sfreq, first_s=first / sfreq, onsets_s=np.arange(5.0, 19.0))
    np.testing.assert_array_equal(part, whole[:, 5:])
    # A block shorter than a second is judged by what it has.
    assert electrode_faults(np.zeros((1, 50)), sfreq, first_s=0.0, onsets_s=np.zeros(1)).tolist() == [[BIT["flat"]]]


def test_bits_and_their_kinds():
    assert BIT == {
        "flat": 1, "clipped": 2, "drift": 4, "muscle": 8, "line": 16, "pop": 32, "blink": 64, "gap": 128,
        "amplitude": 256,
    }  # fmt: skip
    for kind in KINDS:
        assert kinds_of(BIT[kind]) == (kind,)
    assert kinds_of(0) == ()
    assert kinds_of(511) == KINDS
