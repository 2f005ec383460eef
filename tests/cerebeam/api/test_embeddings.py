"""The encoder as a transformer of scikit-learn, held to what the encoder itself gives."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline

import cerebeam
from model.encoder import Encoder
from model.encoder_config import sized
from model.montage import Montage
from signals.modality import EEG_1020
from signals.shards.normalise import Normaliser


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("encoder") / "encoder"
    Encoder(sized("tiny", dim=16, depth=1, stem_dim=8, n_heads=2)).eval().save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def windows():
    """12 windows of 2 s: alpha in the odd ones."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(12, 19, 512)).cumsum(axis=-1)
    x[1::2] += 40 * np.sin(2 * np.pi * 10 * np.arange(512) / 256)
    return x.astype(np.float32)


def test_vectors_are_those_of_the_encoder(folder, windows):
    made = cerebeam.WindowEmbeddings(folder, batch_size=5).fit_transform(windows)
    state = np.full((12, 19), 2, np.uint8)
    scaled = np.stack([Normaliser(kind="window").apply(x, s, "", "") for x, s in zip(windows, state, strict=True)])
    with torch.no_grad():
        encoder = Encoder.from_pretrained(folder).eval()
        wanted = encoder(torch.from_numpy(scaled), Montage.of(EEG_1020, torch.from_numpy(state)))["window_BD"]
    np.testing.assert_allclose(made, wanted.numpy(), atol=1e-5)


def test_the_unit_does_not_matter_and_a_dead_channel_is_absent(folder, windows):
    model = cerebeam.WindowEmbeddings(folder).fit(windows)
    np.testing.assert_allclose(model.transform(windows * 1e3), model.transform(windows), atol=1e-4)
    dead, missing, loud = windows.copy(), windows.copy(), windows.copy()
    dead[:, 3], missing[:, 3] = 0.0, np.nan
    loud[:, 3] *= 1e4
    np.testing.assert_array_equal(model.transform(dead), model.transform(missing))
    assert np.isfinite(model.transform(missing)).all()
    assert np.abs(model.transform(loud) - model.transform(dead)).max() > 1e-4


def test_it_is_an_estimator_like_any_other(folder, windows):
    model = make_pipeline(cerebeam.WindowEmbeddings(folder), LogisticRegression(max_iter=1000))
    assert clone(model).get_params()["windowembeddings__encoder"] == folder
    model.set_params(windowembeddings__batch_size=3)
    labels, people = np.arange(12) % 2, np.arange(12) // 2
    assert cross_val_score(model, windows, labels, groups=people, cv=GroupKFold(3)).shape == (3,)


@pytest.mark.parametrize("x", [np.zeros((2, 18, 512)), np.zeros((0, 19, 512)), np.zeros((19, 512))])
def test_what_are_no_windows_is_refused(folder, x):
    with pytest.raises(ValueError, match=r"is not \(n_windows, 19, n_times\)"):
        cerebeam.WindowEmbeddings(folder).fit(x)


def test_a_folder_without_an_encoder_is_named(tmp_path, windows):
    with pytest.raises(OSError, match=str(tmp_path)):
        cerebeam.WindowEmbeddings(tmp_path).fit(windows)
