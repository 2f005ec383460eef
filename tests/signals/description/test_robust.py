import numpy as np
import pytest
from scipy.stats import median_abs_deviation

from signals.description.robust import median, robust_z


@pytest.mark.parametrize("shape", [(19, 1000), (20, 999), (1, 5), (2, 2), (7, 1), (3, 2, 8)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_median_is_numpys_to_the_bit(shape, dtype):
    # One decimal, so that values repeat; an infinite one, as after an overflow.
    x = np.random.default_rng(0).normal(size=shape).round(1).astype(dtype)
    x.flat[0] = np.inf
    for axis in range(-1, x.ndim):
        found, expected = median(x, axis=axis), np.median(x, axis=axis)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("n", [1, 2, 5, 6])
def test_z_equals_scipy(n):
    x = np.random.default_rng(n).normal(size=(4, n))
    spread = np.maximum(1.4826 * median_abs_deviation(x, axis=-1), 0.01)
    expected = (x - np.median(x, axis=-1)[:, None]) / spread[:, None]
    np.testing.assert_allclose(robust_z(x, least=0.01), expected, rtol=1e-6)


def test_only_some_channels_set_the_scale():
    x = np.array([0.0, 2.0, 4.0, 1000.0, -1000.0])
    among = np.array([True, True, True, False, False])
    # Median 2, deviations 2, 0, 2: MAD 2.
    np.testing.assert_allclose(robust_z(x, least=0.1, among=among), (x - 2) / (1.4826 * 2))


def test_a_small_spread_counts_as_the_least():
    np.testing.assert_allclose(robust_z(np.array([1.0, 1.0, 1.0, 2.0]), least=0.5), [0, 0, 0, 2])
    assert robust_z(np.array([3.0, 5.0]), least=2.0, among=np.zeros(2, dtype=bool)).tolist() == [1.5, 2.5]
