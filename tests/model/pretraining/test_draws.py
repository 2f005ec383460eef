import numpy as np
import pytest
import torch
from scipy import stats

from model.pretraining.draws import Draws

# The first three outputs of splitmix64 from state 1234567, as published with Vigna's reference implementation.
SPLITMIX = (6457827717110365317, 3203168211198807973, 9817491932198370423)


def test_mixing_is_splitmix64() -> None:
    from model.pretraining.draws import _STEP, _mixed

    states = 1234567 + _STEP * torch.arange(3)  # wraps around
    assert tuple(int(z) % 2**64 for z in _mixed(states)) == SPLITMIX


def test_draws_are_uniform_and_independent_between_samples_and_purposes() -> None:
    draws = Draws(3, torch.arange(500))
    one, two = draws.uniform("one", 100), draws.uniform("two", 100)
    assert stats.kstest(one.flatten().numpy(), "uniform").pvalue > 1e-3
    for a, b in ((one[:-1], one[1:]), (one[:, :-1], one[:, 1:]), (one, two)):
        # The correlation of n independent pairs has a spread of 1 / sqrt(n).
        r = np.corrcoef(a.flatten().numpy(), b.flatten().numpy())[0, 1]
        assert abs(r) < 4 / a.numel() ** 0.5
    assert torch.equal(draws.uniform("one", 7), one[:, :7])


def test_a_sample_s_draws_do_not_depend_on_its_company() -> None:
    many, few = Draws((1, 2), torch.tensor([8, 2**40, 5])), Draws((1, 2), torch.tensor([5, 8]))
    assert torch.equal(many.uniform("x", 4)[[2, 0]], few.uniform("x", 4))
    assert not torch.equal(many.uniform("x", 4), Draws((2, 1), torch.tensor([8, 2**40, 5])).uniform("x", 4))


def test_whole_numbers_reach_both_ends_evenly() -> None:
    draws = Draws(0, torch.arange(6000))
    found = draws.integers("n", torch.full((6000,), 2), torch.full((6000,), 4))
    counts = torch.bincount(found, minlength=6)
    assert counts[:2].sum() == counts[5] == 0
    assert stats.chisquare(counts[2:5].numpy()).pvalue > 1e-3


def test_normal_numbers_are_normal() -> None:
    found = Draws(0, torch.arange(200)).normal("n", 50).flatten().numpy()
    assert stats.kstest(found, "norm").pvalue > 1e-3
    assert np.isfinite(found).all()
    assert found.std() == pytest.approx(1, abs=0.03)
