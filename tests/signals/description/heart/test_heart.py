import numpy as np
import pytest

from signals.description.artifacts import BIT
from signals.description.heart.arms import arms_swapped
from signals.description.heart.beats import r_peaks, typical_beat
from signals.description.heart.features import HEART_FEATURES, heart_features
from signals.description.heart.flags import heart_flags, lead_faults
from signals.modality import ECG_12
from synthetic.heart.leads import NoiseLevels, generate
from synthetic.heart.truth import QRS

NAMES, QUIET = ECG_12.ch_names, NoiseLevels(wander=0.0, mains=0.0, muscle=0.0)
SECONDS = np.arange(10.0)


def record(condition="normal", *, seed=0, sfreq=500.0, noise=QUIET):
    return generate(np.random.default_rng(seed), condition, sfreq=sfreq, noise=noise)


def flagged(x, sfreq=500.0, **options):
    return heart_flags(1000 * x, sfreq, ch_names=NAMES, mains_hz=50.0, h_freq=150.0, **options)


@pytest.mark.parametrize("sfreq", [100.0, 257.0, 500.0])
@pytest.mark.parametrize("condition", ["normal", "fibrillation", "left bundle", "ventricular ectopy", "tachycardia"])
def test_beats_are_where_they_were_put(condition, sfreq):
    made = record(condition, seed=3, sfreq=sfreq, noise=NoiseLevels())
    true = np.array([(wave.onset_s, wave.offset_s) for wave in made.waves if wave.kind == QRS])
    found = r_peaks(1000 * made.x_mv, sfreq) / sfreq
    found = found[(found > true[0, 0] - 0.1) & (found < true[-1, 1] + 0.1)]
    assert len(found) == len(true)
    assert ((true[:, 0] <= found) & (found <= true[:, 1])).all()  # each within its own complex


def test_noise_and_silence_hold_no_beats():
    assert not r_peaks(np.zeros((12, 5000)), 500.0).size
    assert not r_peaks(50 * np.random.default_rng(0).normal(size=(12, 5000)), 500.0).size
    assert not r_peaks(np.ones((1, 20)), 500.0).size
    assert typical_beat(np.zeros((1, 5000)), 500.0, np.array([2500])) is None


def test_rate_and_intervals_are_those_of_the_generator():
    made = record(seed=5)
    values = dict(zip(HEART_FEATURES, heart_features(1000 * made.x_mv, 500.0)[1], strict=True))
    qrs = [wave for wave in made.waves if wave.kind == QRS]
    true_rr = np.diff([wave.peak_s for wave in qrs]).mean()
    assert values["rate_bpm"] == pytest.approx(60 / true_rr, rel=0.02)
    assert values["qrs_s"] == pytest.approx(qrs[0].offset_s - qrs[0].onset_s, abs=0.025)
    p = next(wave for wave in made.waves if wave.kind == "P")
    after = next(wave for wave in qrs if wave.onset_s > p.onset_s)
    assert values["pr_s"] == pytest.approx(after.onset_s - p.onset_s, abs=0.035)
    assert values["r_uv"] == pytest.approx(1000 * made.x_mv[1].max(), rel=0.1)


def test_amplitudes_follow_the_voltage_and_intervals_do_not():
    made = record(seed=6)
    once, twice = (heart_features(k * 1000 * made.x_mv, 500.0) for k in (1, 2))
    column = HEART_FEATURES.index
    for name in ("r_uv", "s_uv", "t_uv", "p_uv", "std_uv"):
        np.testing.assert_allclose(twice[:, column(name)], 2 * once[:, column(name)], rtol=1e-4)
    for name in ("rate_bpm", "pr_s", "qrs_s", "qt_s"):
        np.testing.assert_array_equal(twice[:, column(name)], once[:, column(name)])


def test_a_clean_record_has_no_flag_and_each_fault_has_its_own():
    made = record("bradycardia", seed=1)  # pauses of more than a second, flat in a noiseless record
    assert not flagged(made.x_mv).any()
    t = np.arange(5000) / 500.0
    x = made.x_mv.copy()
    x[6] = 0.0
    x[7] += 1.5 * np.sin(2 * np.pi * 0.3 * t)
    x[8] += 0.1 * np.sin(2 * np.pi * 50 * t)
    x[9] += np.where((t > 4) & (t < 6), np.random.default_rng(0).normal(0, 0.25, 5000), 0.0)
    x[10, 2000:2200] = 9.0
    bits = flagged(x)
    assert not bits[:6].any()
    assert (bits[6] == BIT["flat"]).all()
    assert (bits[7] & BIT["drift"]).any()
    assert (bits[8] & BIT["line"]).all()
    assert ((bits[9] & BIT["muscle"]) > 0).tolist() == [False] * 4 + [True] * 2 + [False] * 4
    assert ((bits[10] & BIT["amplitude"]) > 0).tolist() == [False] * 4 + [True] + [False] * 5
    missing = np.zeros(x.shape, dtype=bool)
    missing[0, 500:600] = True
    assert flagged(x, missing=missing)[0].tolist() == [0, BIT["gap"]] + [0] * 8


def test_raw_samples_show_rails_and_dead_leads_but_no_rail_at_the_baseline():
    x = np.round(1000 * record(seed=2).x_mv / 5) * 5  # steps of 5 µV: the baseline is a plateau at an extreme value
    assert not lead_faults(x, 500.0, first_s=0.0, onsets_s=SECONDS).any()
    x[3] = np.clip(3 * x[3], -1400, None)
    x[4] = -7.0
    x[3, 600:640] = -1400  # held at the rail
    bits = lead_faults(x, 500.0, first_s=0.0, onsets_s=SECONDS)
    assert bits[3, 1] & BIT["clipped"]
    assert (bits[4] == BIT["flat"]).all()
    assert not bits[[0, 1, 2, *range(5, 12)]].any()


def swapped(x):
    """Return what exchanged arm electrodes record: -I, III, II, aVL, aVR, aVF."""
    return np.vstack([-x[0], x[2], x[1], x[4], x[3], x[5:]])


@pytest.mark.parametrize("seed", range(4))
def test_swapped_arms_are_seen_and_right_ones_are_not(seed):
    made = record(seed=seed, noise=NoiseLevels())
    assert arms_swapped(1000 * swapped(made.x_mv), 500.0, NAMES)
    assert not arms_swapped(1000 * made.x_mv, 500.0, NAMES)
    assert not arms_swapped(1000 * swapped(made.x_mv)[:6], 500.0, NAMES[:6])  # without V6 nobody can tell
    mirrored = swapped(made.x_mv)
    mirrored[6:] *= -1  # dextrocardia turns V6 too
    assert not arms_swapped(1000 * mirrored, 500.0, NAMES)
