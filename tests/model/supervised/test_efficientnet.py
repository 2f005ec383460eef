import numpy as np
import pytest
import torch
from transformers import EfficientNetConfig, EfficientNetModel

from model.saved import load_task_model, model_name
from model.supervised.efficientnet import SpectrogramNet
from model.supervised.networks import NetworkShape
from model.supervised.supervised import SPECTROGRAM_NETWORKS, new_network
from signals.modality import EEG_1020
from signals.shards.normalise import Normaliser
from signals.tasks import SIX_CLASS

SHAPE = NetworkShape(n_chans=19, sfreq=256.0, n_classes=3, span_s=(20.0, 30.0), window_s=50.0)
TINY = {"width": 0.25, "depth": 0.25, "image_size": (32, 32), "drop_connect": 0.0}


def network(name: str, **options: object):
    return new_network(
        name, SIX_CLASS, EEG_1020, Normaliser(kind="window"), dropout=0.0, profile={}, provenance={}, **options
    )


@pytest.mark.slow
def test_b3_is_the_published_size():
    # Tan & Le 2019, table 2: 12 million parameters, of which 1000 x 1536 + 1000 are the last layer of ImageNet's
    net = SpectrogramNet(SHAPE, layout="tiled")
    n_parameters = sum(p.numel() for p in net.features.parameters())
    assert n_parameters == pytest.approx(12.2e6 - 1000 * 1536, rel=0.01)


def test_stages_hold_every_block_once():
    net = SpectrogramNet(SHAPE, **TINY | {"depth": 1.4})
    stages = net.stages()
    # B3: ceil(1.4 x (1, 2, 2, 3, 3, 4, 1))
    assert [len(stage) for stage in stages] == [1, 2, 3, 3, 5, 5, 6, 2, 2]
    held = {id(p) for stage in stages for module in stage for p in module.parameters()}
    assert held == {id(p) for p in net.features.parameters()}


def test_any_number_of_columns_and_absent_regions_are_read():
    net = SpectrogramNet(SHAPE, **TINY).eval()
    for n_columns in (25, 300):
        x = torch.randn(2, 4, 100, n_columns)
        x[1, 2] = torch.nan
        logits, embedding = net(x)
        assert logits.shape == (2, 3)
        assert torch.isfinite(embedding).all()
    nothing, _ = net(torch.full((1, 4, 100, 25), torch.nan))
    assert torch.isfinite(nothing).all()


def test_an_absent_region_is_neither_silence_nor_a_part_of_the_scale():
    net = SpectrogramNet(SHAPE, **TINY | {"image_size": (100, 25)})
    net.fresh = False  # its averages need a larger image than this one, in which every pixel is a bin
    x = torch.linspace(2, 0, 100)[:, None] + 0.3 * torch.randn(6, 4, 100, 25)
    x[:, 3] = torch.nan
    net.standardise(x)
    image = net.image(x[:1])
    assert not image[0, 3].any()
    known = x[:, :3].transpose(1, 2).flatten(2)  # every frequency by itself
    usual, spread = known.mean((0, 2)), known.std((0, 2), correction=0)
    scaled = (x[0, :3] - usual[:, None]) / spread[:, None]
    np.testing.assert_allclose(image[0, :3], scaled - scaled.mean(), atol=1e-4)


def test_the_label_s_span_is_marked_in_50_s_and_in_ten_minutes():
    net = SpectrogramNet(SHAPE, **TINY | {"image_size": (100, 25)})
    marks = net.image(torch.randn(1, 4, 100, 25))[0, 4, 0]
    assert np.flatnonzero(marks).tolist() == [10, 11, 12, 13, 14]  # 20 to 30 s, 2 s each
    wide = SpectrogramNet(SHAPE, **TINY | {"image_size": (100, 300)})
    marks = wide.image(torch.randn(1, 4, 100, 300))[0, 4, 0]
    # the middle 10 s of 600: 295 to 305; centres 295, 297, ..., 303
    assert np.flatnonzero(marks).tolist() == [147, 148, 149, 150, 151]


def test_it_learns_from_fresh_weights_and_predicts_as_it_was_trained():
    torch.manual_seed(0)
    net = SpectrogramNet(SHAPE, dropout=0.0, **TINY)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    target = torch.arange(24) % 3
    x = 0.3 * torch.randn(24, 4, 100, 25)
    for row, cls in enumerate(target):
        x[row, :, 10 + 30 * cls : 20 + 30 * cls] += 1.0
    net.standardise(x)
    for _ in range(25):
        loss = torch.nn.functional.cross_entropy(net(x)[0], target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        logits = net.eval()(x)[0]
    assert (logits.argmax(1) == target).all()


def test_averages_are_those_of_many_batches():
    # transformers' own momentum is 0.99 in TensorFlow's sense; torch's 0.99 would keep the last batch and little else
    net = SpectrogramNet(SHAPE, **TINY)
    net.standardise(torch.randn(6, 4, 100, 25))
    norms = [module for module in net.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert norms
    assert {norm.momentum for norm in norms} == {0.1}
    before = norms[0].running_mean.clone()
    net.train()(10 + torch.randn(6, 4, 100, 25))
    moved = (norms[0].running_mean - before).abs()
    net.features.embeddings.batchnorm.momentum = 1.0
    net(10 + torch.randn(6, 4, 100, 25))
    assert moved.mean() < 0.2 * (norms[0].running_mean - before).abs().mean()


def test_pretrained_weights_come_from_a_local_folder(tmp_path):
    torch.manual_seed(0)
    config = EfficientNetConfig(num_channels=3, width_coefficient=0.25, depth_coefficient=0.25, hidden_dim=320)
    saved = EfficientNetModel(config)
    saved.save_pretrained(tmp_path)
    options = {name: value for name, value in TINY.items() if name != "drop_connect"}
    model = network("efficientnet_b3", weights=tmp_path, **options)
    assert model.network.layout == "tiled"
    for key, value in saved.state_dict().items():
        assert torch.equal(model.network.features.state_dict()[key], value)
    with pytest.raises(ValueError, match=r"has width_coefficient=0\.25, the network 1\.2"):
        network("efficientnet_b3", weights=tmp_path)
    with pytest.raises(ValueError, match="holds no EfficientNet"):
        network("efficientnet_small", weights=tmp_path / "nothing")
    with pytest.raises(ValueError, match="'resnet_gru' reads none"):
        network("resnet_gru", weights=tmp_path)


def test_networks_are_saved_and_loaded_whole(tmp_path):
    model = network("efficientnet_small").eval()
    assert model.reads_spectrogram == ("efficientnet_small" in SPECTROGRAM_NETWORKS)
    model.save_pretrained(tmp_path)
    again = load_task_model(tmp_path)
    assert model_name(again) == "efficientnet_small"
    x = torch.randn(1, 4, 100, 25)
    with torch.no_grad():
        torch.testing.assert_close(again(None, None, x)[0], model(None, None, x)[0])
    with pytest.raises(ValueError, match="reads spectrograms, and none was given"):
        model(torch.zeros(1, 19, 12800), torch.full((1, 19), 2))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ValueError, match=r"type 'bert'; task models are cerebeam-classifier, cerebeam-network"):
        load_task_model(tmp_path)
