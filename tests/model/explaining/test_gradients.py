import itertools

import numpy as np
import pytest
import torch
from torch import nn

from explain.asking.ask import scores
from explain.asking.parts import BANDS
from explain.explanation import in_steps
from model.explaining.gradients import Centred, ask_of, deeplift, integrated_gradients, mean_gradient
from model.supervised.networks import NetworkShape
from model.supervised.resnet_gru import ResNetGRU
from model.supervised.scalogram import ScalogramNet
from signals.modality import EEG_1020

SFREQ, N = 256.0, 512
SHAPE = NetworkShape(n_chans=19, sfreq=SFREQ, n_classes=3, window_s=2.0, ch_names=EEG_1020.ch_names)
EDGES = [0.0, *(high for _, high in BANDS.values()), SFREQ]
ALL_BANDS = list(itertools.pairwise(EDGES))


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return ResNetGRU(SHAPE, widths=(8, 8, 8), dropout=0.0).eval()


def windows(n, seed=0):
    return np.random.default_rng(seed).normal(size=(n, 19, N)).astype(np.float32)


class Linear(nn.Module):
    """Logits that are linear in the samples."""

    def __init__(self):
        super().__init__()
        self.weights = nn.Parameter(torch.randn(3, 19, N, generator=torch.Generator().manual_seed(0)))

    def forward(self, x_BCT):
        return torch.einsum("bct,kct->bk", x_BCT, self.weights)


def test_of_a_linear_model_every_method_gives_weight_times_change():
    model, (x, start) = Linear(), windows(2)
    weights = (model.weights - model.weights.mean(0)).detach().numpy()[1]
    wanted = in_steps(weights * (x - start), SFREQ)
    for found in (
        integrated_gradients(model, x, 1, sfreq=SFREQ, backgrounds=start[None], n_steps=2),
        integrated_gradients(model, x, 1, sfreq=SFREQ, backgrounds=start[None], n_steps=2, bands=ALL_BANDS),
        deeplift(model, x, 1, sfreq=SFREQ, backgrounds=start[None]),
    ):
        np.testing.assert_allclose(found.channels_steps, wanted, atol=2e-3)
        assert found.sum_error < 1e-3


def test_integrated_gradients_are_captums(network):
    from captum.attr import IntegratedGradients

    x, start = windows(2)
    ours = mean_gradient(network, x, start, 2) * (x.astype(np.float64) - start)
    theirs = IntegratedGradients(Centred(network)).attribute(
        torch.from_numpy(x)[None], torch.from_numpy(start)[None], target=2, n_steps=32
    )
    np.testing.assert_allclose(ours, theirs[0].detach().numpy(), atol=2e-6)


def test_bands_add_up_to_the_map_and_the_map_to_the_logits_change(network):
    x, *starts = windows(3)
    x, starts = 4 * x, 0.1 * np.stack(starts)  # far apart, so that there is a change to attribute
    whole = integrated_gradients(network, x, 0, sfreq=SFREQ, backgrounds=starts)
    parts = integrated_gradients(network, x, 0, sfreq=SFREQ, backgrounds=starts, bands=ALL_BANDS)
    np.testing.assert_allclose(parts.channels_steps, whole.channels_steps, atol=1e-5)
    assert parts.values.shape == (19, 8, 6)
    assert abs(whole.values.sum() - (whole.score - whole.base)) < 0.01 * max(abs(whole.score - whole.base), 0.05)
    ask = ask_of(network)
    change = scores(ask, [x], 0)[0] - scores(ask, starts, 0).mean()
    assert whole.score - whole.base == pytest.approx(change, rel=1e-4)


def test_power_in_a_band_is_attributed_to_that_band():
    class Power(nn.Module):
        def forward(self, x_BCT):
            power_BF = torch.fft.rfft(x_BCT[:, 3]).abs().square()[:, 18:24].sum(1)  # 9 to 12 Hz at 0.5 Hz a line
            return torch.stack([-power_BF, power_BF], 1) / 1e4

    x, start = windows(2)
    found = integrated_gradients(Power(), x, 1, sfreq=SFREQ, backgrounds=0 * start[None], bands=ALL_BANDS)
    assert int(np.abs(found.per_channel).argmax()) == 3
    share = np.abs(found.values).sum(axis=(0, 1))
    assert found.bands[int(share.argmax())] == (8.0, 13.0)
    assert found.per_band[2] == pytest.approx(found.values.sum(), rel=1e-4)


def test_deeplift_states_where_it_has_no_rule(network):
    x, start = windows(2)
    found = deeplift(network, x, 0, sfreq=SFREQ, backgrounds=start[None])
    assert found.values.shape == (19, 8, 1)
    assert np.isfinite(found.values).all()
    assert found.sums
    assert np.isfinite(found.sum_error)


def test_a_scalogram_network_has_finite_gradients():
    torch.manual_seed(0)
    net = ScalogramNet(SHAPE, width=0.1, depth=0.1, dropout=0.0).eval()
    x, start = windows(2)
    found = integrated_gradients(net, x, 1, sfreq=SFREQ, backgrounds=start[None], n_steps=4)
    assert np.isfinite(found.values).all()
    assert np.abs(found.values).sum() > 0
