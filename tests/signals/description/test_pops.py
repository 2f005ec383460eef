import numpy as np
import pytest

from signals.description.pops import pops

LIMITS = {"least_uv": 70.0, "usual": 3.0, "ratio": 4.0}


def pops_one_by_one(x, n_second, *, least_uv, usual, ratio):
    """The definition in float64, sample by sample: no filter of candidates, no rounding."""
    n_side, n_gap = max(2, round(0.1 * n_second)), max(1, round(0.008 * n_second))
    reach = n_side + 2 * n_gap
    x = x.astype(np.float64)
    found = np.zeros(x.shape, dtype=bool)
    seconds = x.reshape(len(x), -1, n_second)
    deviations = np.median(np.abs(seconds - np.median(seconds, axis=-1, keepdims=True)), axis=-1)
    deviation = 1.4826 * np.median(deviations, axis=-1)
    for at in range(x.shape[-1] + 1 - n_side - reach):
        before, after = x[:, at : at + n_side], x[:, at + reach : at + reach + n_side]
        jumps = np.abs(after.mean(axis=1) - before.mean(axis=1))
        for row, jump in enumerate(jumps):
            found[row, at + n_side + n_gap] = (
                jump > least_uv
                and abs(x[row, at + reach] - x[row, at + n_side - 1]) > 0.5 * jump
                and jump**2 > ratio**2 * (before[row].var() + after[row].var())
                and jump > usual * deviation[row]
                and np.count_nonzero(jumps > 0.5 * jump) <= 2
            )
    return found


def steps(seed, n_chans, n_times, *, offset=0.0):
    """Noise, and on it steps of one to three channels, some under a limit and some over it."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 5, (n_chans, n_times)).cumsum(axis=1) * 0.2 + rng.normal(0, 8, (n_chans, n_times)) + offset
    for _ in range(12):
        start, size = rng.integers(0, n_times), rng.choice([-1, 1]) * rng.uniform(50, 250)
        x[rng.permutation(n_chans)[: rng.integers(1, 4)], start:] += size
    return x.astype(np.float32)


@pytest.mark.parametrize("n_second", [20, 100, 128, 256, 333])
@pytest.mark.parametrize("offset", [0.0, -400.0])
def test_pops_are_those_of_the_definition(n_second, offset):
    x = steps(n_second, 6, 4 * n_second, offset=offset)
    wanted = pops_one_by_one(x, n_second, **LIMITS)
    assert wanted.any()
    assert np.array_equal(pops(x, n_second, **LIMITS), wanted)


def test_limits_are_those_that_are_given():
    x = steps(3, 6, 4 * 128)
    counts = [
        np.count_nonzero(pops(x, 128, **{**LIMITS, **limit}))
        for limit in ({}, {"least_uv": 30.0}, {"least_uv": 150.0}, {"usual": 12.0}, {"ratio": 9.0})
    ]
    wanted = [
        np.count_nonzero(pops_one_by_one(x, 128, **{**LIMITS, **limit}))
        for limit in ({}, {"least_uv": 30.0}, {"least_uv": 150.0}, {"usual": 12.0}, {"ratio": 9.0})
    ]
    assert counts == wanted
    assert len(set(counts)) > 3


def test_each_window_of_a_batch_has_its_own_channels():
    # The same step in three channels is none; in one channel of each of three windows it is one.
    x = np.zeros((3, 4, 512), dtype=np.float32)
    x[:, 2, 300:] = 100
    assert pops(x, 256, **LIMITS).any(axis=-1).tolist() == [[False, False, True, False]] * 3
    assert not pops(x.swapaxes(0, 1), 256, **LIMITS).any()


@pytest.mark.parametrize("uv", [1e-3, 1e3, 1e6])
def test_a_large_offset_hides_no_pop(uv):
    x = np.full((3, 512), uv, dtype=np.float32)
    x[1, 300:] += 100
    found = pops(x, 256, **LIMITS)
    # The stretches lie 2 samples before and after the jump's middle, so they are level for 5 places.
    assert np.argwhere(found).tolist() == [[1, at] for at in range(298, 303)]


def test_too_few_samples_hold_no_pop():
    assert not pops(np.eye(4, dtype=np.float32) * 1000, 4, **LIMITS).any()
