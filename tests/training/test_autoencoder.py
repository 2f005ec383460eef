import json

import numpy as np
import onnxruntime
import pytest

from signals.bundles.anomaly import model_input
from training.autoencoder import _spoil, main
from training.corpus.corpus import Corpus


@pytest.fixture(scope="module")
def trained(toy_shards, tmp_path_factory):
    path = tmp_path_factory.mktemp("autoencoder") / "model.onnx"
    main(["--shards", str(toy_shards), "--output", str(path), "--tiny"])
    return path


def test_one_file_comes_out_and_states_what_it_was_made_of(trained, toy_shards):
    assert [path.name for path in trained.parent.iterdir()] == ["model.onnx"]
    session = onnxruntime.InferenceSession(trained, providers=["CPUExecutionProvider"])
    about = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
    shards = Corpus.open(toy_shards)
    assert about["manifest_digest"] == shards.manifest.digest
    assert about["modality"]["name"] == "eeg_1020"
    assert about["loss"][1] < about["loss"][0]
    window = shards.window(0)
    (scores,) = session.run(["anomaly"], {"signal": model_input(window.data, window.ch_state)[None]})
    assert scores.shape == (1, 19, 10)
    np.testing.assert_array_equal(np.isnan(scores[0]).all(axis=1), window.ch_state != 2)


def test_training_is_a_function_of_its_seed(trained, toy_shards, tmp_path, capsys):
    main(["--shards", str(toy_shards), "--output", str(tmp_path / "again.onnx"), "--tiny", "--json"])
    printed = json.loads(capsys.readouterr().out)
    assert printed["output"] == str(tmp_path / "again.onnx")
    assert printed["loss"][1] < printed["loss"][0]
    x = np.random.default_rng(0).standard_normal((1, 19, 512)).astype(np.float32)
    a, b = (
        onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(["anomaly"], {"signal": x})[0]
        for path in (trained, tmp_path / "again.onnx")
    )
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--shards", "nowhere"], "nowhere is no shard set"),
        (["--recipe", "none"], "unknown recipe 'none'"),
        (["--output", f"{__file__}/m.onnx"], "is no folder that may be written to"),
        (["--output", f"{__file__}/below/m.onnx"], "is no folder that may be written to"),
    ],
)
def test_bad_input_is_one_line_and_code_2(toy_shards, tmp_path, capsys, args, says):
    base = {"--shards": str(toy_shards), "--output": str(tmp_path / "m.onnx")} | dict([args])
    with pytest.raises(SystemExit) as ended:
        main([part for pair in base.items() for part in pair])
    assert ended.value.code == 2
    assert says in capsys.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.iterdir())


def test_an_existing_output_is_kept(trained, toy_shards):
    before = trained.read_bytes()
    with pytest.raises(SystemExit):
        main(["--shards", str(toy_shards), "--output", str(trained), "--tiny"])
    assert trained.read_bytes() == before


def test_only_seen_channels_are_spoilt():
    rng = np.random.default_rng(3)
    x = rng.standard_normal((19, 512)).astype(np.float32)
    for _ in range(20):
        out = _spoil(rng, x, np.array([1, 4, 9]))
        changed = np.flatnonzero((out != x).any(axis=1))
        assert 0 < changed.size <= 3
        assert set(changed) <= {1, 4, 9}


def test_a_weight_average_is_what_is_written(trained, toy_shards, tmp_path):
    main(["--shards", str(toy_shards), "--output", str(tmp_path / "m.onnx"), "--tiny", "--regularise.ema-decay", "0.9"])
    x = np.random.default_rng(0).standard_normal((1, 19, 512)).astype(np.float32)
    a, b = (
        onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(["anomaly"], {"signal": x})[0]
        for path in (trained, tmp_path / "m.onnx")
    )
    assert not np.array_equal(a, b)
