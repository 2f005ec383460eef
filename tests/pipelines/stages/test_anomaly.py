import json
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pipelines.preprocess import main
from pipelines.stages.anomaly import AutoencoderError, check_autoencoder
from signals.modality import EEG_1020
from signals.shards.manifest import read_manifest
from signals.shards.records import decode_window
from signals.shards.tfrecord import read_shard
from signals.window import MEASURED
from signals.windows.profiles import PRETRAIN, SIX_CLASS

SALT = ("--salt", "secret", "--site-from", "folder")


def write_model(path, *, profile=PRETRAIN, version=1):
    """An ONNX file of the right form without torch: the anomaly is the mean of |x| over each second."""
    nodes = [
        helper.make_node("Abs", ["signal"], ["size"]),
        helper.make_node("Reshape", ["size", "by_second"], ["seconds"]),
        helper.make_node("ReduceMean", ["seconds", "last"], ["anomaly"], keepdims=0),
    ]
    constants = [
        helper.make_tensor("by_second", TensorProto.INT64, [4], [0, 0, -1, 256]),
        helper.make_tensor("last", TensorProto.INT64, [1], [3]),
    ]
    graph = helper.make_graph(
        nodes, "toy",
        [helper.make_tensor_value_info("signal", TensorProto.FLOAT, ["b", 19, "t"])],
        [helper.make_tensor_value_info("anomaly", TensorProto.FLOAT, ["b", 19, "s"])],
        constants,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    about = {"schema_version": version, "profile": profile.to_dict(), "modality": EEG_1020.to_dict()}
    helper.set_model_props(model, {key: json.dumps(value) for key, value in about.items()})
    onnx.save(model, path)
    return path


def windows_of(output):
    manifest = read_manifest(output)
    windows = [decode_window(record) for shard in manifest.shards for record in read_shard(output / shard.path)]
    return {window.key: window for window in windows}


# torch cannot be imported in this process: a worker has none.
WITHOUT_TORCH = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch":
            raise ImportError("torch is blocked")
sys.meta_path.insert(0, Blocked())
from pipelines.preprocess import main
sys.exit(main(sys.argv[1:]))
"""


def test_every_window_is_scored_through_run_inference_without_torch(clinics, tmp_path):
    args = ["--input", str(clinics), "--labels", str(clinics / "labels.csv"), *SALT]
    assert main([*args, "--output", str(tmp_path / "plain")]) == 0
    model = write_model(tmp_path / "toy.onnx")
    scored_args = [*args, "--output", str(tmp_path / "scored"), "--autoencoder", str(model)]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *scored_args], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    plain, scored = windows_of(tmp_path / "plain"), windows_of(tmp_path / "scored")
    assert len(scored) == 24
    assert scored.keys() == plain.keys()
    for key, window in scored.items():
        assert plain[key].anomaly is None
        np.testing.assert_array_equal(window.data, plain[key].data)
        assert window.anomaly.shape == window.artifact_mask.shape
        measured = window.ch_state == MEASURED
        assert np.isnan(window.anomaly[~measured]).all()
        # The toy's answer, from the stored samples: one number scales all of them.
        mean = np.abs(window.data[measured]).reshape(measured.sum(), 10, 256).mean(axis=2)
        ratio = window.anomaly[measured] / mean
        np.testing.assert_allclose(ratio, ratio.mean(), rtol=0.02)
    # The stored field is the only difference: the manifest's counts agree.
    assert read_manifest(tmp_path / "scored").counts["windows"] == read_manifest(tmp_path / "plain").counts["windows"]


def test_autoencoders_that_cannot_serve_are_refused_in_one_line(clinics, tmp_path, capsys):
    model = write_model(tmp_path / "toy.onnx")
    check_autoencoder(str(model), PRETRAIN)
    with pytest.raises(AutoencoderError, match=r"h_freq=128.0, profile six-class has 50.0"):
        check_autoencoder(str(model), SIX_CLASS)
    with pytest.raises(AutoencoderError, match="schema version 7"):
        check_autoencoder(str(write_model(tmp_path / "old.onnx", version=7)), PRETRAIN)
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(AutoencoderError, match="is no autoencoder"):
        check_autoencoder(str(tmp_path / "text.onnx"), PRETRAIN)
    with pytest.raises(SystemExit) as ended:
        main(["--input", str(clinics), "--output", str(tmp_path / "out"), "--autoencoder", str(tmp_path / "none.onnx")])
    assert ended.value.code == 2
    assert "none.onnx does not exist" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_a_model_in_a_bucket_scores_as_one_on_this_machine(clinics, bucket, tmp_path):
    (tmp_path / "models").mkdir()
    model = write_model(tmp_path / "models" / "toy.onnx")
    uri = bucket.upload(tmp_path / "models", "models") + "/toy.onnx"
    args = ["--input", str(clinics), "--labels", str(clinics / "labels.csv"), *SALT]
    for name, path, options in (("here", model, ()), ("there", uri, ()), ("two", model, ("--direct_num_workers=2",))):
        assert main([*args, "--output", str(tmp_path / name), "--autoencoder", str(path), *options]) == 0
    digests = [[shard.sha256 for shard in read_manifest(tmp_path / name).shards] for name in ("here", "there", "two")]
    assert digests[0] == digests[1] == digests[2]


def test_a_model_that_no_worker_can_reach_is_refused(bucket, clinics, tmp_path, capsys):
    uri = bucket.upload(clinics, "clinics")
    model = write_model(tmp_path / "toy.onnx")
    with pytest.raises(SystemExit) as ended:
        main(["--input", uri, "--output", "gs://cerebeam/out", *SALT, "--runner=DataflowRunner",
              "--autoencoder", str(model)])  # fmt: skip
    assert ended.value.code == 2
    assert f"{model} lies on this machine" in capsys.readouterr().err.splitlines()[-1]
    with pytest.raises(SystemExit):
        main(["--input", uri, "--output", "gs://cerebeam/out", *SALT, "--autoencoder", "gs://cerebeam/none.onnx"])
    assert "gs://cerebeam/none.onnx does not exist" in capsys.readouterr().err.splitlines()[-1]
