import numpy as np
import pytest
import torch

from evaluation.schemas.embeddings import read_embeddings
from model.encoder import Encoder
from model.encoder_config import sized
from model.montage import Montage
from studies import embed
from training.corpus.corpus import Corpus
from training.fitting.fit import start_encoder


def run(shards, output, *more):
    embed.main(["--shards", str(shards), "--output", str(output), *more])
    return read_embeddings(output)


def test_every_window_has_the_encoders_mean_token(toy_shards, tmp_path):
    torch.manual_seed(1)
    Encoder(sized("tiny", dim=16, depth=1, n_heads=2, stem_dim=16)).save_pretrained(tmp_path / "encoder")
    made = run(toy_shards, tmp_path / "e.parquet", "--encoder", str(tmp_path / "encoder"))
    shards = Corpus.open(toy_shards)
    assert made.values.shape == (36, 16)
    assert list(made.frame["window_key"]) == [entry.key for entry in shards.entries]
    assert (made.meta["encoder"], made.model) == ("pretrained", "pretrained encoder")
    assert made.meta["manifest_digest"] == shards.manifest.digest
    window = shards.window(20)
    # scaled by its own size: the median over channels of the standard deviation
    used = window.data[window.ch_state == 2]
    x = torch.from_numpy(np.clip(window.data / np.median(used.std(axis=1)), -20, 20))[None]
    encoder, _ = start_encoder(tmp_path / "encoder", seed=0)
    modality = shards.manifest.modality
    with torch.no_grad():
        out = encoder.eval()(x, Montage.of(modality, torch.from_numpy(window.ch_state.astype(np.int64))[None]))
    np.testing.assert_allclose(made.values[20], out["window_BD"][0].numpy(), atol=1e-4)


def test_random_weights_depend_on_the_seed_alone(make_toy_shards, tmp_path):
    shards = make_toy_shards(n_sites=1, n_subjects=2, n_windows=1)
    same = [run(shards, tmp_path / f"{i}.parquet", "--no-encoder", "--seed", "4").values for i in range(2)]
    other = run(shards, tmp_path / "o.parquet", "--no-encoder", "--seed", "5")
    np.testing.assert_array_equal(*same)
    assert np.abs(same[0] - other.values).max() > 1e-3
    assert other.meta["encoder"] == "random"


def test_features_are_the_shards_own(toy_shards, tmp_path):
    made = run(toy_shards, tmp_path / "f.parquet", "--features")
    np.testing.assert_array_equal(made.values[7], Corpus.open(toy_shards).window(7).features.ravel())
    assert made.model == made.meta["encoder"] == "features"


@pytest.mark.parametrize(
    ("wrong", "match"),
    [([], "one of the arguments"), (["--encoder", "/nowhere"], "/nowhere is no model")],
)
def test_mistakes_are_reported_in_one_line(wrong, match, toy_shards, tmp_path, capfd):
    with pytest.raises(SystemExit) as raised:
        run(toy_shards, tmp_path / "none.parquet", *wrong)
    assert raised.value.code == 2
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert match in line
    assert not (tmp_path / "none.parquet").exists()
