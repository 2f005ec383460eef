import numpy as np
import pytest
import torch
from torch import nn

from model.classifier import new_classifier
from model.encoder import Encoder
from model.encoder_config import sized
from model.explaining.cams import GRAD_CAM, GRAD_CAM_PP, attentions_of, class_activation, plus_weights, rollout
from model.explaining.layers import activation_map, cam_layer
from model.supervised.networks import NetworkShape
from model.supervised.resnet_gru import ResNetGRU
from signals.modality import EEG_1020
from signals.shards.normalise import Normaliser
from signals.tasks import Task
from signals.window import MEASURED

SHAPE = NetworkShape(n_chans=19, sfreq=256.0, n_classes=3, window_s=2.0, ch_names=EEG_1020.ch_names)
X = np.random.default_rng(0).normal(size=(19, 1024)).astype(np.float32)


class MeanHead(nn.Module):
    """Feature maps, their mean over time, one linear layer: what CAM was defined for."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(nn.Conv1d(19, 6, 7, 4), nn.ReLU())
        self.classes = nn.Linear(6, 3)

    def forward(self, x_BCT):
        return self.classes(self.features(x_BCT).mean(-1))


def test_grad_cam_is_cam_for_a_linear_head_over_a_mean():
    net = MeanHead().eval()
    found = class_activation(net, net.features, X, 1)
    with torch.no_grad():
        maps_DN = net.features(torch.from_numpy(X)[None])[0].double()
        weights_KD = net.classes.weight.double()
        cam_N = torch.relu((weights_KD[1] - weights_KD.mean(0)) @ maps_DN) / maps_DN.shape[1]
    np.testing.assert_allclose(found, cam_N.numpy(), atol=1e-6)


def test_plus_weights_are_equation_19():
    rng = np.random.default_rng(0)
    a, g = rng.random((4, 9)), rng.normal(size=(4, 9))
    wanted = []
    for k in range(4):
        total = 0.0
        for i in range(9):
            below = 2 * g[k, i] ** 2 + (a[k] * g[k] ** 3).sum()
            total += g[k, i] ** 2 / below * max(g[k, i], 0.0)
        wanted.append(total)
    np.testing.assert_allclose(plus_weights(torch.from_numpy(a), torch.from_numpy(g)).numpy(), wanted)


def test_rows_of_rollout_add_up_to_1_and_one_layer_is_half_itself():
    rng = np.random.default_rng(0)
    layers = [rng.dirichlet(np.ones(5), size=(2, 5)) for _ in range(3)]
    np.testing.assert_allclose(rollout(layers).sum(axis=1), 1)
    np.testing.assert_allclose(rollout(layers[:1]), np.eye(5) / 2 + layers[0].mean(axis=0) / 2)
    with pytest.raises(ValueError, match="add up to 1"):
        rollout([layers[0] * 1.1])


def test_attention_weights_are_torchs_own():
    torch.manual_seed(0)
    net = ResNetGRU(SHAPE, widths=(8, 8, 8), dropout=0.0).eval()
    (found,) = attentions_of(net, X)
    with torch.no_grad():
        steps, _ = net.gru(net.blocks(net.stem(torch.from_numpy(X)[None])).transpose(1, 2))
        wanted = net.attention(steps, steps, steps, average_attn_weights=False)[1][0]
    np.testing.assert_allclose(found, wanted.numpy(), atol=1e-6)


def test_maps_of_a_network_and_of_an_encoder_have_its_places():
    net = ResNetGRU(SHAPE, widths=(8, 8, 8), dropout=0.0).eval()
    for plus, name in ((False, GRAD_CAM), (True, GRAD_CAM_PP)):
        found = activation_map(net, X, 1, sfreq=256.0, plus=plus)
        assert (found.method, found.has_channels, found.sums) == (name, False, False)
        assert found.values.shape == (19, 16, 1)
        assert (found.values >= 0).all()
        np.testing.assert_allclose(found.values, found.values[:1].repeat(19, 0))
    task = Task(name="planted", classes=("a", "b"), window_s=4.0)
    classifier = new_classifier(
        Encoder(sized("tiny", dim=16, depth=1, stem_dim=16, n_heads=2)), task, EEG_1020, Normaliser(kind="window"),
        dropout=0.0, profile={}, provenance={},
    ).eval()  # fmt: skip

    class Full(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = classifier

        def forward(self, x_BCT):
            return self.inner(x_BCT, torch.full(x_BCT.shape[:2], MEASURED))[0]

    found = activation_map(Full(), X, 0, sfreq=256.0)
    assert found.has_channels
    assert found.values.shape == (19, 16, 1)
    with pytest.raises(ValueError, match="MeanHead"):
        cam_layer(MeanHead())
