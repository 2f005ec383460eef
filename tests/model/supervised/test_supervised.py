import numpy as np
import pytest
import torch
from scipy import signal

from model.families.trials import SMALL
from model.supervised.eegnet import Decimate
from model.supervised.networks import NetworkShape, SpanPool
from model.supervised.supervised import NETWORKS, SPECTROGRAM_NETWORKS, new_network
from signals.modality import EEG_1020
from signals.shards.normalise import Normaliser
from signals.tasks import SIX_CLASS, TASKS
from signals.window import ABSENT, MEASURED

DEEP = {name: SMALL[name] for name in ("xresnet1d101", "inception1d")}
"""Networks that take seconds here unless they are cut down."""
SHAPE = NetworkShape(n_chans=4, sfreq=256.0, n_classes=3, span_s=(2.0, 3.0))


RAW = sorted(set(NETWORKS) - SPECTROGRAM_NETWORKS)
WINDOWS = Normaliser(kind="window")


@pytest.mark.parametrize("name", RAW)
def test_networks_take_any_length_that_holds_the_span(name):
    network = NETWORKS[name](SHAPE, dropout=0.0, **DEEP.get(name, {})).eval()
    for seconds in (3, 5, 5.3):
        logits, embedding = network(torch.randn(2, 4, int(256 * seconds)))
        assert logits.shape == (2, 3)
        assert embedding.shape[0] == 2
    with pytest.raises(ValueError, match="end before the label's span"):
        network(torch.randn(2, 4, 512))


@pytest.mark.parametrize("name", RAW)
def test_networks_learn_which_channel_rings(name):
    torch.manual_seed(0)
    network = NETWORKS[name](NetworkShape(n_chans=3, sfreq=256.0, n_classes=3), dropout=0.0, **DEEP.get(name, {}))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    times = torch.arange(512) / 256
    target = torch.arange(24) % 3
    x = 0.3 * torch.randn(24, 3, 512)
    x[torch.arange(24), target] += torch.sin(2 * np.pi * 8 * times)
    for _ in range(20):
        loss = torch.nn.functional.cross_entropy(network(x)[0], target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.3  # ln 3 = 1.1 without an opinion


def test_networks_of_ptb_xl_have_the_layers_of_its_benchmark():
    shape = NetworkShape(n_chans=12, sfreq=100.0, n_classes=6)
    deep, wide = (NETWORKS[name](shape) for name in ("xresnet1d101", "inception1d"))
    # 3 in the stem, 3 in each of 3 + 4 + 23 + 3 bottlenecks, which with the linear layer makes 101 + 2; one shortcut
    # that widens 64 to 256 channels.
    assert sum(isinstance(m, torch.nn.Conv1d) for m in deep.modules()) == 3 + 3 * 33 + 1
    # Mixers: 5 convolutions each but the first, whose 12 leads are no more than 32 channels; 2 shortcuts.
    assert sum(isinstance(m, torch.nn.Conv1d) for m in wide.modules()) == 6 * 5 - 1 + 2
    x = torch.randn(2, 12, 1000)
    assert deep.body(x).shape == (2, 256, 32)  # 1000 / (2 * 2 * 8), rounded up
    assert [m.kernel_size for m in wide.mixers[0].branches] == [(39,), (19,), (9,)]


def test_absent_channels_contribute_nothing():
    model = new_network("eegnet", SIX_CLASS, EEG_1020, WINDOWS, dropout=0.0, profile={}, provenance={}).eval()
    x = torch.randn(1, 19, 256 * 50)
    state = torch.full((1, 19), MEASURED)
    state[0, 3] = ABSENT
    other = x.clone()
    other[0, 3] = torch.nan
    torch.testing.assert_close(model(x, state)[0], model(other, state)[0])
    with pytest.raises(ValueError, match=r"unknown network 'vgg'; networks are .*eegnet, .*resnet_gru"):
        new_network("vgg", TASKS["eyes"], EEG_1020, WINDOWS, dropout=0.0, profile={}, provenance={})


def test_decimation_is_a_low_pass_and_every_second_sample():
    x = np.random.default_rng(0).normal(size=400)
    got = Decimate(2)(torch.from_numpy(x[None, None]).float())[0, 0].numpy()
    # firwin(33, 0.4): 16 samples of delay on either side
    expected = np.convolve(x, signal.firwin(33, 0.4), mode="same")[::2]
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_pooling_counts_the_span_apart():
    pool = SpanPool(0.5, (1.0, 2.0))  # steps 2 and 3
    x = torch.tensor([[[0.0, 0.0, 3.0, 5.0, 2.0]]])
    mean, spread, span_mean, span_spread = pool(x)[0].tolist()
    assert (mean, span_mean) == (2.0, 4.0)
    assert spread == pytest.approx((4 + 4 + 1 + 9 + 0) ** 0.5 / 5**0.5, abs=1e-5)
    assert span_spread == pytest.approx(1.0, abs=1e-5)
    assert pool.width(1) == 4
