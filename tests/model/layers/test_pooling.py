"""Pooled tokens: place on the head is kept, for any montage, and left and right look alike."""

import numpy as np
import torch
from scipy.special import sph_harm_y
from torch import Tensor

from model.layers.pooling import N_HARMONICS, Pool, Scalp, SequencePool, harmonics, pooled_statistics
from signals.modality import EEG_1020
from training.objectives.augment import mirror_order

POSITION_C3 = torch.tensor(EEG_1020.positions)


def _tokens(seed: int = 0) -> Tensor:
    return torch.randn(2, 19, 5, 4, generator=torch.Generator().manual_seed(seed))


def test_harmonics_are_those_of_the_sphere() -> None:
    rng = np.random.default_rng(0)
    place = rng.normal(size=(50, 3))
    place /= np.linalg.norm(place, axis=1, keepdims=True)
    polar, azimuth = np.arccos(place[:, 2]), np.arctan2(place[:, 1], place[:, 0])
    orders = [(0, 0), (1, -1), (1, 0), (2, -1), (2, 2), (2, 0), (1, 1), (2, -2), (2, 1)]
    for k, (degree, order) in enumerate(orders):
        value = sph_harm_y(degree, abs(order), polar, azimuth)
        part = value.real if order >= 0 else value.imag
        expected = part * (-1) ** order * (2**0.5 if order else 1) * (4 * np.pi) ** 0.5
        np.testing.assert_allclose(harmonics(torch.tensor(place))[:, k], expected, atol=1e-12)


def test_front_and_back_are_distinguished_where_the_mean_is_the_same() -> None:
    here = torch.ones(1, 19, dtype=torch.bool)
    front = (POSITION_C3[:, 1] > 0.5).float()[None, :, None, None].expand(1, 19, 5, 4)
    back = front[:, mirrored_front_to_back()]
    one, other = (pooled_statistics(x, here, POSITION_C3).reshape(2, N_HARMONICS, 4)[0] for x in (front, back))
    torch.testing.assert_close(one[0], other[0])
    assert one[1].min() > 0.3
    assert other[1].max() < -0.3


def mirrored_front_to_back() -> list[int]:
    """Return for each electrode the number of the one that lies at its place on a head turned round."""
    turned = POSITION_C3 * torch.tensor([1.0, -1.0, 1.0])
    return (turned @ POSITION_C3.T).argmax(1).tolist()


def test_a_window_and_its_mirror_image_look_alike_and_absent_channels_weigh_nothing() -> None:
    tokens, order = _tokens(), mirror_order(EEG_1020)
    here = torch.ones(2, 19, dtype=torch.bool)
    here[0, 3] = False
    pooled = pooled_statistics(tokens, here, POSITION_C3)
    assert pooled.shape == (2, 2 * N_HARMONICS * 4)
    torch.testing.assert_close(pooled_statistics(tokens[:, order], here[:, order], POSITION_C3), pooled)
    changed = tokens.clone()
    changed[0, 3] += 100
    assert torch.equal(pooled_statistics(changed, here, POSITION_C3), pooled)


def test_channels_without_a_place_count_in_the_mean_alone() -> None:
    tokens = _tokens()
    here = torch.ones(2, 20, dtype=torch.bool)
    sensor = torch.full((2, 1, 5, 4), 7.0)
    place = torch.cat([POSITION_C3, torch.zeros(1, 3)])
    alone = pooled_statistics(tokens, here[:, :19], POSITION_C3).reshape(2, 2, N_HARMONICS, 4)
    both = pooled_statistics(torch.cat([tokens, sensor], 1), here, place).reshape(2, 2, N_HARMONICS, 4)
    torch.testing.assert_close(both[:, :, 1:6] * 20, alone[:, :, 1:6] * 19)
    torch.testing.assert_close(both[:, 0, 0] * 20, alone[:, 0, 0] * 19 + 7)


def test_pool_is_as_wide_as_it_states() -> None:
    pool = Pool(4, n_queries=3)
    assert pool(_tokens(), torch.ones(2, 19, dtype=torch.bool), POSITION_C3).shape == (2, pool.width)


def test_a_sequence_hears_the_order_of_seconds_and_absent_channels_weigh_nothing() -> None:
    torch.manual_seed(0)
    pool, tokens = SequencePool(8, 2).eval(), torch.randn(1, 19, 6, 8)
    here = torch.ones(1, 19, dtype=torch.bool)
    here[0, 5] = False
    order = torch.tensor([0, 3, 1, 4, 2, 5])
    with torch.no_grad():
        steps = pool(tokens, here, POSITION_C3)
        shuffled = pool(tokens[:, :, order], here, POSITION_C3)
        louder = tokens.clone()
        louder[0, 5] += 100
        assert torch.equal(pool(louder, here, POSITION_C3), steps)
    assert steps.shape == (1, 6, 8)
    # A mean over seconds without their order would be the same.
    assert (steps.mean(1) - shuffled.mean(1)).abs().max() > 1e-4


def test_a_second_knows_where_on_the_head_something_was() -> None:
    torch.manual_seed(0)
    scalp, tokens = Scalp(8, 2), torch.zeros(2, 19, 1, 8)
    tokens[0, 0], tokens[1, 11] = 1.0, 1.0  # Fp1 and Fp2: as many channels, as far from the vertex
    with torch.no_grad():
        left, right = scalp(tokens, torch.ones(2, 19, dtype=torch.bool), POSITION_C3)
    assert (left - right).abs().max() > 1e-3
