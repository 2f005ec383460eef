import hashlib
import json
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest

from serving.deploy import tensorrt
from serving.deploy.engines import Agreement, Shapes, graph_of, load_tensorrt
from serving.deploy.gpu import MissingError, find_gpu
from serving.deploy.tensorrt import Built, main
from signals.bundles.bundle import load_bundle
from signals.bundles.calibration import softmax
from signals.bundles.inputs import feed, windows_of_shards


def test_engines_are_built_ahead_of_time(served, tmp_path, capsys):
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed: pip install 'cerebeam[tensorrt]'")
    args = ["--library", "tensorrt_rtx", "--compute-capability", "8.6", "--precision", "fp16", "int8"]
    more = ["--ranges", str(served.shards), "--ranges-windows", "2", "--output", str(tmp_path / "e")]
    assert main([str(served.bundle), *args, *more]) == 0, capsys.readouterr().err
    about = json.loads((tmp_path / "e" / "engines.json").read_text())
    assert [one["precision"] for one in about["engines"]] == ["fp16", "int8"]
    for one in about["engines"]:
        raw = (tmp_path / "e" / one["file"]).read_bytes()
        assert len(raw) > 50_000
        assert hashlib.sha256(raw).hexdigest() == one["sha256"]
        assert one["parity"] is None
        assert one["shapes"]["n_times"] == [7680, 12800, 25600]
    assert about["bundle_digest"] == load_bundle(served.bundle).about["digest"]
    assert "built, never run" in capsys.readouterr().out


def test_json_lists_each_engine(served, tmp_path, capsys, monkeypatch):
    shapes = Shapes(n_times=(7680, 12800, 25600))
    engine = Built(
        file="a.engine", graph="a.onnx", precision="fp16", built_for="8.6", library="tensorrt_rtx", version="1",
        shapes=shapes, sha256="0" * 64,
    )  # fmt: skip
    monkeypatch.setattr(tensorrt, "write_engines", lambda bundle, args: [engine])  # no library builds without its GPU
    assert main([str(served.bundle), "--output", str(tmp_path / "e"), "--json"]) == 0
    (printed,) = json.loads(capsys.readouterr().out)["engines"]
    assert (printed["file"], printed["parity"]) == ("a.engine", None)


@pytest.mark.parametrize(("precision", "within"), [("fp16", 2e-2), ("int8", 1e-1)])
def test_graphs_for_the_builder_answer_nearly_as_float(served, tmp_path, precision, within):
    bundle = load_bundle(served.bundle)
    graph = bundle.graphs[0]
    feeds = [feed([window], graph) for window in windows_of_shards([served.shards], n_windows=4)]
    path = graph_of(bundle, graph, precision, feeds, tmp_path / "g.onnx")
    ours, theirs = (onnxruntime.InferenceSession(p) for p in (bundle.path / graph.file, path))
    for one in feeds:
        a, b = (softmax(session.run(["logits"], one)[0]) for session in (ours, theirs))
        assert 0 < np.abs(a - b).max() < within


def test_without_tensorrt_it_names_what_to_install(served, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    assert main([str(served.bundle), "--output", str(tmp_path / "e")]) == 3
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "pip install 'cerebeam[tensorrt]'" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(find_gpu() is not None, reason="there is a GPU here")
def test_running_an_engine_without_a_gpu_is_refused(served, tmp_path, capsys):
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed: pip install 'cerebeam[tensorrt]'")
    args = [str(served.bundle), "--output", str(tmp_path / "e"), "--check", str(served.shards)]
    assert main(args) == 3
    assert "no GPU with a driver" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "says"), [(["--precision", "int8"], "int8 needs --ranges"), (["--max-batch", "x"], "invalid int")]
)
def test_bad_input_is_one_line(served, tmp_path, capsys, more, says):
    try:
        code = main([str(served.bundle), "--output", str(tmp_path / "e"), *more])
    except SystemExit as ended:
        code = ended.code
    err = capsys.readouterr().err
    assert (code, err.count("\n")) == (2, 1)
    assert says in err


def test_the_tolerance_is_a_gate():
    good = {"n_windows": 200, "tolerance": 2e-2}
    assert Agreement(max_probability_difference=1e-2, same_decisions=1.0, **good).ok
    assert not Agreement(max_probability_difference=3e-2, same_decisions=1.0, **good).ok
    assert not Agreement(max_probability_difference=1e-2, same_decisions=0.98, **good).ok
    assert not Agreement(max_probability_difference=float("nan"), same_decisions=1.0, **good).ok


def test_a_stub_of_tensorrt_is_no_tensorrt(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", type(sys)("tensorrt"))
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    with pytest.raises(MissingError, match="holds no builder"):
        load_tensorrt(None)


def test_the_recorded_script_is_sound():
    from pathlib import Path

    script = Path(__file__).parents[3] / "infra" / "tensorrt" / "run.sh"
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0
    text = script.read_text()
    for command in ("cerebeam tensorrt", "cerebeam bench"):
        assert command in text
