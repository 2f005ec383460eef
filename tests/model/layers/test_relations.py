"""Relations hold correlations as they are, and mixtures leave out whom nothing is shown of."""

import numpy as np
import torch

from model.encoder_config import EncoderConfig
from model.layers.relations import N_BANDS, N_GEOMETRY, Mixing, Relations, in_bands
from model.layers.stem import Stem
from model.montage import Montage
from signals.modality import EEG_1020
from signals.window import MEASURED

CONFIG = EncoderConfig(dim=16, depth=1, n_heads=2, stem_dim=8)
HERE = Montage.of(EEG_1020, torch.full((1, 19), MEASURED))


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_pairs_begin_with_the_correlations_of_the_window() -> None:
    x = noise(1, 19, 1024)
    x[0, 1] = 0.6 * x[0, 0] + 0.8 * x[0, 1]
    shown = torch.ones(1, 19, dtype=torch.bool)
    shown[0, 4] = False
    pairs = Relations(CONFIG)._covariance(x, shown)[0]
    assert pairs.shape == (19, 19, 3 * N_BANDS)
    # noise has a mean of 0, which correlations about 0 do not take away: the same products by NumPy
    a = x[0].numpy().astype(np.float64)
    expected = a @ a.T / np.sqrt(np.outer((a**2).sum(1), (a**2).sum(1)))
    expected[4], expected[:, 4] = 0, 0
    np.testing.assert_allclose(pairs[..., 0].numpy(), expected, atol=1e-4)
    assert not pairs[4, :, :N_BANDS].any()


def test_bands_add_up_and_causal_ones_do_not_look_ahead() -> None:
    x = noise(1, 2, 600)
    whole, slow, fast = in_bands(x)[0]
    assert torch.equal(whole, x[0])
    t = torch.arange(600) / 256
    for hz, kept in ((0.5, slow), (60.0, fast)):
        wave = torch.sin(2 * torch.pi * hz * t).expand(1, 2, -1)
        band = in_bands(wave)[0, 1 if kept is slow else 2]
        assert (band - wave[0])[:, 100:-100].abs().max() < 0.15
    cut = x.clone()
    cut[..., 300:] = 0
    assert torch.equal(in_bands(x, causal=True)[..., :300], in_bands(cut, causal=True)[..., :300])
    assert not torch.equal(in_bands(x)[..., :300], in_bands(cut)[..., :300])


def test_geometry_is_mirrored_with_the_head() -> None:
    relations = Relations(CONFIG)
    pairs = relations._geometry(HERE)[0]
    assert pairs.shape == (19, 19, N_GEOMETRY)
    torch.testing.assert_close(pairs[..., 0], pairs[..., 0].T)  # cosine
    torch.testing.assert_close(pairs[..., 2:5], -pairs[..., 2:5].transpose(0, 1))  # offsets
    assert torch.equal(pairs[..., -1], torch.eye(19))


def test_a_channel_hears_others_that_are_shown_alone() -> None:
    torch.manual_seed(0)
    mixing, z = Mixing(4, 3), noise(2, 6, 6, 4)
    shown = torch.ones(2, 6, dtype=torch.bool)
    shown[0, 2] = False
    weights = mixing(z, shown)
    assert weights.shape == (2, 3, 6, 6)
    assert not weights[0, :, :, 2].any()
    assert not weights.diagonal(dim1=-2, dim2=-1).any()
    # a linear map of the relation, over the number of channels that are shown
    expected = (z[0, 4, 3] @ mixing.weight.weight.T + mixing.weight.bias) / 5
    torch.testing.assert_close(weights[0, :, 4, 3], expected)


def test_mixtures_are_of_what_others_show_and_reach_a_hidden_channel() -> None:
    torch.manual_seed(0)
    stem, x = Stem(CONFIG), noise(1, 19, 512)
    mask = torch.zeros(1, 19, 512, dtype=torch.bool)
    mask[0, 3] = True
    weights = torch.zeros(1, 4, 19, 19)
    weights[0, 1, 3, 7] = 0.5  # the second mixture of channel 3 is half of channel 7
    louder = x.clone()
    louder[0, 7] *= 2
    with torch.no_grad():
        moved = (stem(louder, mask, weights)[0] - stem(x, mask, weights)[0]).abs().amax((0, 2, 3))
    assert torch.nonzero(moved > 1e-5).flatten().tolist() == [3, 7]
