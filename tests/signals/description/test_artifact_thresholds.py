"""Where each artifact detector begins: amplitudes, durations and shares just below and just above."""

import numpy as np
import pytest

from signals.description.artifacts import BIT, KINDS, detect, electrode_faults, kinds_of
from tests.signals.description.planted_artifacts import CH_NAMES, SFREQ, background, band_limited, flags


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
