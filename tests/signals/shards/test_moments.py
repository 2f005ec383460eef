import json
from functools import reduce
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signals.shards.moments import EDGES_UV, Moments


def make(seed, n_times, offset=0.0, scale=30.0):
    rng = np.random.default_rng(seed)
    return rng.normal(offset, scale, size=(4, n_times)), rng.random((4, n_times)) < 0.8


def assert_same(a, b):
    np.testing.assert_array_equal(a.count, b.count)
    np.testing.assert_array_equal(a.sizes, b.sizes)
    # Means near zero: relative to the deviation that they carry.
    size = np.abs(b.mean) + np.sqrt(b.m2 / np.maximum(b.count, 1))
    assert (np.abs(a.mean - b.mean) <= 1e-9 * size).all()
    np.testing.assert_allclose(a.m2, b.m2, rtol=1e-9, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    cuts=st.lists(st.integers(0, 300), max_size=6).map(sorted),
    offset=st.floats(-1e3, 1e3),
    scale=st.floats(1e-2, 1e4),
)
def test_merge_of_parts_equals_the_whole(seed, cuts, offset, scale):
    x, valid = make(seed, 300, offset, scale)
    bounds = [0, *cuts, 300]
    parts = [Moments.of(x[:, a:b], valid[:, a:b]) for a, b in pairwise(bounds)]
    assert_same(reduce(Moments.merge, parts), Moments.of(x, valid))


@settings(max_examples=60, deadline=None)
@given(seeds=st.tuples(*[st.integers(0, 2**32 - 1)] * 3), lengths=st.tuples(*[st.integers(0, 100)] * 3))
def test_merge_is_associative_and_commutative(seeds, lengths):
    a, b, c = (Moments.of(*make(seed, n)) for seed, n in zip(seeds, lengths, strict=True))
    assert_same(a.merge(b).merge(c), a.merge(b.merge(c)))
    assert_same(a.merge(b), b.merge(a))


def test_values_equal_numpy():
    x, valid = make(0, 50_000, offset=3.0)
    x[0, :100] = np.nan
    valid[3] = False
    moments = Moments.of(x.astype(np.float32), valid)
    for i in range(3):
        kept = x[i][valid[i] & np.isfinite(x[i])].astype(np.float32).astype(np.float64)
        assert moments.count[i] == len(kept)
        np.testing.assert_allclose([moments.mean[i], moments.std[i]], [kept.mean(), kept.std()], rtol=1e-9)
        for q in (0.05, 0.5, 0.9, 0.99):
            assert moments.quantile_abs(q)[i] == pytest.approx(np.quantile(np.abs(kept), q), rel=0.02)
    assert moments.count[3] == 0
    assert np.isnan(moments.std[3])
    assert np.isnan(moments.quantile_abs(0.5)[3])


def test_one_lost_sample_changes_nothing_but_itself():
    # A window without gaps takes a shorter way: with one sample left out, it must give the same but for that sample.
    x, _ = make(1, 1000)
    x[0, 500] = 123.0
    whole, part = Moments.of(x), Moments.of(np.where(np.arange(1000) == 500, np.float32(np.nan), x))
    alone = Moments.of(x[:, 500:501])
    np.testing.assert_array_equal(whole.count - part.count, 1)
    np.testing.assert_array_equal(whole.sizes - part.sizes, alone.sizes)
    both = part.merge(alone)
    np.testing.assert_allclose([both.mean, both.m2], [whole.mean, whole.m2], rtol=1e-12)


def test_a_mask_of_channels_broadcasts():
    x, _ = make(1, 100)
    moments = Moments.of(x, np.array([True, False, True, False])[:, None])
    np.testing.assert_array_equal(moments.count, [100, 0, 100, 0])


def test_sizes_beyond_the_histogram():
    moments = Moments.of(np.array([[0.0, 0.0, 1e-5], [1e6, -1e6, 1e6], [0.0, 100.0, 1e6]]))
    low, high, mixed = moments.quantile_abs(0.5)
    assert 0 <= low <= 0.01
    assert high == 1e4
    assert mixed == pytest.approx(100, rel=0.13)
    np.testing.assert_array_equal(moments.sizes.sum(axis=1), [3, 3, 3])


def test_bins_are_a_twentieth_of_a_decade():
    # 0.01 µV ... 10 mV in steps of 10 ** 0.05, with a bin below and one above.
    assert len(EDGES_UV) == 121
    np.testing.assert_allclose(EDGES_UV[[0, 20, 120]], [0.01, 0.1, 1e4])
    inside = np.sqrt(EDGES_UV[:-1] * EDGES_UV[1:])
    for sign in (-1, 1):
        sizes = Moments.of(sign * inside[None]).sizes
        np.testing.assert_array_equal(sizes, [[0, *[1] * 120, 0]])
    np.testing.assert_array_equal(np.flatnonzero(Moments.of(np.array([[0.0, 0.0099, 1.01e4, 1e9]])).sizes), [0, 121])


def test_quantiles_spread_evenly_within_a_bin():
    # Three samples in the bin that begins at 1 µV, one in the bin that begins at 10 µV; a bin is 12.2% wide.
    moments = Moments.of(np.array([[1.05, -1.05, 1.05, 10.5]]))
    wide = 10**0.05 - 1
    expected_uv = {0: 0.0, 0.25: 1 + wide / 3, 0.5: 1 + 2 * wide / 3, 0.75: 1 + wide, 0.875: 10 * (1 + wide / 2)}
    for q, expected in (expected_uv | {1: 10 * (1 + wide)}).items():
        assert moments.quantile_abs(q)[0] == pytest.approx(expected)


def test_dictionaries_hold_the_filled_bins_alone():
    fields = Moments.of(np.array([[1.05, 1.05, 1.3], [0.0, 0.0, 0.0]])).to_dict()
    # 1.05 lies in bin 41 (1 µV is edge 40), 1.3 three bins above: log10(1.3) = 0.114 = 2.28 bins.
    assert fields["sizes"] == [{"first_bin": 41, "counts": [2, 0, 1]}, {"first_bin": 0, "counts": [3]}]
    assert fields["count"] == [3, 3]


def test_json_round_trip():
    moments = Moments.of(*make(2, 500)).merge(Moments.of(np.full((4, 2), np.nan)))
    again = Moments.from_dict(json.loads(json.dumps(moments.to_dict())))
    for name in ("count", "mean", "m2", "sizes"):
        np.testing.assert_array_equal(getattr(again, name), getattr(moments, name))
    assert again.sizes.dtype == np.int64
    # A program that writes 0 for 0.0 gives the same.
    whole = Moments.from_dict({"count": [2], "mean": [0], "m2": [3], "sizes": [{"first_bin": 0, "counts": [2]}]})
    assert (whole.mean.dtype, whole.m2.dtype, whole.count.dtype) == (np.float64, np.float64, np.int64)
    empty = Moments.of(np.zeros((2, 0)))
    np.testing.assert_array_equal(Moments.from_dict(empty.to_dict()).sizes, empty.sizes)


def test_refusals():
    with pytest.raises(ValueError, match="4 and 2 channels"):
        Moments.of(np.zeros((4, 3))).merge(Moments.of(np.zeros((2, 3))))
    with pytest.raises(ValueError, match=r"q=1\.5"):
        Moments.of(np.zeros((4, 3))).quantile_abs(1.5)
    with pytest.raises(ValueError, match=r"q=-0\.1"):
        Moments.of(np.zeros((4, 3))).quantile_abs(-0.1)
