import json

import numpy as np
import onnxruntime
import pytest
import torch

from model.pretraining.autoencoder import (
    N_ERRORS,
    Autoencoder,
    AutoencoderConfig,
    export_autoencoder,
    hidden_groups,
    parity,
)
from signals.modality import EEG_1020

SMALL = AutoencoderConfig(width=8, depth=1)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    model = Autoencoder(SMALL, EEG_1020).eval()
    with torch.inference_mode():
        errors, _ = model.errors(torch.randn(20, 19, 1024))
    model.calibrate(np.moveaxis(errors.numpy(), 1, 0).reshape(N_ERRORS, -1))
    return model


def test_every_channel_is_hidden_once_and_together_with_its_mirror_image():
    groups = hidden_groups(EEG_1020, 5)
    np.testing.assert_array_equal(groups.sum(axis=0), np.ones(19))
    assert groups.sum(axis=1).max() <= 5
    names = EEG_1020.ch_names
    for left, right in (("Fp1", "Fp2"), ("T3", "T4"), ("O1", "O2")):
        np.testing.assert_array_equal(groups[:, names.index(left)], groups[:, names.index(right)])


def test_what_is_not_seen_is_not_looked_at(network):
    x = torch.randn(1, 19, 512)
    seen = torch.ones(1, 19)
    seen[0, 3] = 0
    other = x.clone()
    other[0, 3] = 99.0
    assert torch.equal(network.guess(x, seen), network.guess(other, seen))
    # So no channel's own samples take part in its guess.
    assert not torch.equal(network.guess(x, torch.ones(1, 19)), network.guess(other, torch.ones(1, 19)))


def test_absent_channels_are_nan_and_change_nothing_for_a_channel_alone(network):
    x = torch.randn(2, 19, 512)
    x[0, [2, 7]] = torch.nan
    with torch.inference_mode():
        scores = network(x)
    assert scores.shape == (2, 19, 2)
    assert torch.isnan(scores[0, [2, 7]]).all()
    assert torch.isfinite(scores[1]).all()
    assert torch.isfinite(scores[0, 0]).all()


def test_scores_are_the_share_of_training_that_is_odder(network):
    with torch.inference_mode():
        errors, _ = network.errors(torch.randn(20, 19, 1024, generator=torch.Generator().manual_seed(5)))
        tail = network._tail(errors[:, 0], network.quantiles[0]).numpy()
    # The same noise again: a tenth of it scores above 1 = -log10(0.1). Sampling error of 1520 values is 0.8%.
    assert (tail > 1).mean() == pytest.approx(0.1, abs=0.03)
    assert tail.min() >= 0


def test_onnx_equals_torch_and_carries_its_metadata(network, tmp_path):
    path = tmp_path / "a.onnx"
    export_autoencoder(network, path, about={"schema_version": 1, "thresholds": {"0.05": 2.5}})
    rng = np.random.default_rng(1)
    windows = [rng.standard_normal((19, n)).astype(np.float32) for n in (256, 2560, 12800)]
    windows[1][4] = np.nan
    # Noise has nearly one error everywhere: its quantiles are steep, which makes 1e-6 of an error 1e-3 of a score.
    assert parity(network, path, windows) < 3e-3
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert json.loads(session.get_modelmeta().custom_metadata_map["thresholds"]) == {"0.05": 2.5}
    assert [p.name for p in tmp_path.iterdir()] == ["a.onnx"]
