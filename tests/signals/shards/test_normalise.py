import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from signals.modality import EEG_PSG
from signals.shards.moments import Moments
from signals.shards.normalise import (
    MIN_SCALE_MV,
    MIN_SCALE_UV,
    Normaliser,
    normalise,
    robust_window_scale,
    scale_of,
    window_scale,
)
from signals.window import ABSENT, INTERPOLATED, MEASURED

STATE = np.full(4, MEASURED, dtype=np.uint8)


def signal_of(scale, seed=0):
    return np.random.default_rng(seed).normal(scale=scale, size=(4, 20_000)).astype(np.float32)


@pytest.fixture(scope="module")
def corpus():
    """Four subjects of two sites, with deviations of 10, 20, 40 and 80 µV."""
    scales = {"a": 10.0, "b": 20.0, "c": 40.0, "d": 80.0}
    moments = {s: Moments.of(signal_of(v, i)) for i, (s, v) in enumerate(scales.items())}
    return moments, {"a": "x", "b": "x", "c": "y", "d": "y"}


def test_robust_scale_equals_scipy_and_shrugs_off_a_bad_channel():
    x = signal_of(25)
    x[2] *= 1000
    mads = stats.median_abs_deviation(x, axis=-1, scale="normal")
    assert robust_window_scale(x, STATE) == pytest.approx(np.median(mads), rel=1e-4)
    assert window_scale(x, STATE) == pytest.approx(np.median(x.std(axis=-1)), rel=1e-5)


def test_only_measured_channels_set_the_scale():
    x = signal_of(10)
    x[2:] *= 7
    x[1, :500] = np.nan
    state = np.array([MEASURED, MEASURED, INTERPOLATED, ABSENT], dtype=np.uint8)
    assert robust_window_scale(x, state) == pytest.approx(10, rel=0.03)
    # Nothing measured: the interpolated channel has to do; nothing at all: the floor.
    state[:2] = ABSENT
    assert robust_window_scale(x, state) == pytest.approx(70, rel=0.03)
    state[:] = ABSENT
    assert robust_window_scale(x, state) == window_scale(x, state) == 1.0
    assert robust_window_scale(np.full((4, 10), np.nan), STATE) == 1.0
    assert robust_window_scale(np.zeros((4, 10)), STATE) == window_scale(np.zeros((4, 10)), STATE) == 1.0


def test_a_channel_with_one_missing_sample_still_sets_the_scale():
    x = signal_of(10)
    x[1:] *= 9
    x[0, 7] = np.nan
    state = np.array([MEASURED, INTERPOLATED, INTERPOLATED, INTERPOLATED], dtype=np.uint8)
    assert robust_window_scale(x, state) == pytest.approx(10, rel=0.03)
    assert window_scale(x, state) == pytest.approx(10, rel=0.03)
    x[0] = np.nan  # measured, but nothing of it is there
    assert robust_window_scale(x, state) == pytest.approx(90, rel=0.03)


def test_normalise_keeps_shape_inside_of_the_clip():
    x = np.array([[0.0, 30.0, -450.0, 5000.0, -5000.0, np.nan]])
    out = normalise(x, 30.0)
    np.testing.assert_allclose(out, [[0, 1, -15, 20, -20, np.nan]], rtol=1e-6)
    assert out.dtype == np.float32
    np.testing.assert_array_equal(x, [[0.0, 30.0, -450.0, 5000.0, -5000.0, np.nan]])
    with pytest.raises(ValueError, match="scale=0"):
        normalise(x, 0.0)


def test_scale_of_moments(corpus):
    # Median |x| of a normal distribution is 0.6745 of its deviation; 1.4826 undoes it.
    for subject, expected in {"a": 10, "b": 20, "c": 40, "d": 80}.items():
        assert scale_of(corpus[0][subject]) == pytest.approx(expected, rel=0.03)
    assert scale_of(Moments.of(np.zeros((4, 100)))) == 1.0
    with pytest.raises(ValueError, match="every channel's count is 0"):
        scale_of(Moments.of(np.zeros((4, 0))))


def test_kinds(corpus):
    x = signal_of(30)
    for kind, subject, expected in [
        ("subject", "a", 10), ("subject", "c", 40), ("window", "a", 30), ("robust", "a", 30),
    ]:  # fmt: skip
        normaliser = Normaliser.fit(kind, *corpus, ["a", "b", "c", "d"])
        out = normaliser.apply(x, STATE, subject, corpus[1][subject])
        assert out.std() == pytest.approx(30 / expected, rel=0.03)
    # Half of the samples with 10 µV, half with 20 µV: the median m of |x| solves erf-wise F(m/10) + F(m/20) = 1.
    m = np.quantile(np.abs(np.concatenate([signal_of(10), signal_of(20, 1)])), 0.5)
    site = Normaliser.fit("site", *corpus, ["a", "b"])
    assert site.scale(x, STATE, "unseen subject", "x") == pytest.approx(1.4826 * m, rel=0.02)
    assert Normaliser.fit("global", *corpus, ["a", "b"]).scale(x, STATE, "?", "?") == pytest.approx(
        1.4826 * m, rel=0.02
    )


@pytest.mark.parametrize("kind", ["window", "subject", "site", "global", "robust"])
def test_held_out_subjects_leave_no_trace(corpus, kind):
    moments, sites = corpus
    fitted = Normaliser.fit(kind, moments, sites, ["a", "b"])
    changed = moments | {"c": Moments.of(signal_of(999)), "d": Moments.of(signal_of(0.1))}
    assert Normaliser.fit(kind, changed, sites, ["b", "a", "a"]) == fitted
    assert Normaliser.fit(kind, {s: moments[s] for s in "ab"}, sites, ["a", "b"]) == fitted
    if kind in ("subject", "site"):
        x = signal_of(33)
        assert fitted.scale(x, STATE, "c", "y") == robust_window_scale(x, STATE)


def test_travels_through_json(corpus):
    for kind in ("subject", "site", "global", "robust", "window"):
        normaliser = Normaliser.fit(kind, *corpus, ["a", "c"])
        assert Normaliser.from_dict(json.loads(json.dumps(normaliser.to_dict()))) == normaliser


def test_subjects_without_samples_fall_back(corpus):
    moments = corpus[0] | {"e": Moments.of(np.full((4, 5), np.nan))}
    normaliser = Normaliser.fit("subject", moments, corpus[1] | {"e": "x"}, ["a", "e"])
    assert set(normaliser.scales) == {"a"}


def test_refusals(corpus):
    with pytest.raises(ValueError, match="first 'nobody'"):
        Normaliser.fit("subject", *corpus, ["a", "nobody"])
    with pytest.raises(ValueError, match="at least one training subject"):
        Normaliser.fit("global", *corpus, [])
    with pytest.raises(ValueError, match="kind='zscore'"):
        Normaliser(kind="zscore")
    with pytest.raises(ValueError, match="does not go with"):
        Normaliser(kind="site", global_scale=3.0)


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.floats(2, 200), min_size=2, max_size=5),
    lengths=st.lists(st.integers(50, 400), min_size=5, max_size=5),
    n_train=st.integers(1, 5),
)
def test_a_scale_of_many_subjects_is_the_scale_of_their_signal_joined(sizes, lengths, n_train):
    signals = {f"s{i}": signal_of(size, i)[:, :n] for i, (size, n) in enumerate(zip(sizes, lengths, strict=False))}
    moments = {name: Moments.of(x) for name, x in signals.items()}
    train = sorted(signals)[:n_train]
    joined = scale_of(Moments.of(np.concatenate([signals[name] for name in train], axis=1)))
    site = Normaliser.fit("site", moments, dict.fromkeys(signals, "x"), train)
    assert site.scales == {"x": pytest.approx(joined)}
    assert Normaliser.fit("global", moments, dict.fromkeys(signals, "x"), train).global_scale == pytest.approx(joined)
    each = Normaliser.fit("subject", moments, dict.fromkeys(signals, "x"), train)
    assert each.scales == {name: pytest.approx(scale_of(Moments.of(signals[name]))) for name in train}


def test_further_sensors_do_not_change_the_scale_of_eeg():
    rng = np.random.default_rng(4)
    eeg, types = rng.normal(size=(19, 2560)) * 15, EEG_PSG.sensor_types
    heart = np.zeros(2560)
    heart[100::250] = 1.2  # mV
    x = np.concatenate([eeg, rng.normal(size=(3, 2560)) * [[300], [80], [4]], heart[None]]).astype(np.float32)
    state = np.full(23, MEASURED, dtype=np.uint8)
    subjects = {"a": "north"}
    moments = {"a": Moments.of(x)}
    alone = {"a": Moments.of(x[:19])}
    for kind in ("window", "subject", "site", "global", "robust"):
        normaliser = Normaliser.fit(kind, moments, subjects, ["a"], sensor_types=types)
        assert normaliser == Normaliser.fit(kind, alone, subjects, ["a"])
        out = normaliser.apply(x, state, "a", "north", types)
        np.testing.assert_array_equal(out[:19], normaliser.apply(x[:19], state[:19], "a", "north"))
        # EOG and EMG keep their size beside the EEG; the ECG, in mV, has an RMS of 1.
        assert out[21].std() / out[0].std() == pytest.approx(4 / 15, rel=0.1)
        assert np.sqrt(np.square(out[22]).mean()) == pytest.approx(1.0, rel=1e-3)
        assert out[22].argmax() % 250 == 100
        np.testing.assert_array_equal(normaliser.apply(x[:19], state[:19], "a", "north", types[:19]), out[:19])
    with pytest.raises(ValueError, match="19 channels, but 23 sensor_types"):
        normaliser.apply(x[:19], state[:19], "a", "north", types)


def test_a_dead_heart_lead_is_not_blown_up():
    x = np.concatenate([np.ones((19, 256)), np.zeros((3, 256)), np.full((1, 256), 0.002)]).astype(np.float32)
    out = Normaliser(kind="robust").apply(x, np.full(23, MEASURED), "a", "b", EEG_PSG.sensor_types)
    np.testing.assert_allclose(out[22], 0.002 / MIN_SCALE_MV)
    x[22] = np.nan
    out = Normaliser(kind="robust").apply(x, np.full(23, MEASURED), "a", "b", EEG_PSG.sensor_types)
    assert np.isnan(out[22]).all()


@settings(max_examples=40, deadline=None)
@given(n_chans=st.integers(1, 6), n_times=st.integers(1, 700), size=st.floats(1e-3, 1e3), seed=st.integers(0, 2**31))
def test_a_window_without_gaps_has_the_bits_that_the_sum_over_known_samples_gives(n_chans, n_times, size, seed):
    x = (size * np.random.default_rng(seed).standard_normal((n_chans, n_times))).astype(np.float32)
    state = np.full(n_chans, MEASURED)
    expected = max(MIN_SCALE_UV, float(np.median(np.nanstd(x, axis=-1))))
    assert window_scale(x, state) == expected
