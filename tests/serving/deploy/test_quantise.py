import json
import shutil
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest

import serving.deploy.quantise
import signals.bundles.int8_gate
from serving.deploy.int8 import Layer, calibrate, layers_of, write_static
from serving.deploy.quantise import main
from serving.deploy.sensitivity import Sensitivity, sensitivities, worth_leaving, write_switched
from serving.runtime import answer_batch, onnx_session, probabilities
from signals.bundles.bundle import BundleError, load_bundle, mark
from signals.bundles.inputs import feed, windows_of_shards
from signals.bundles.int8_gate import REACH, Gate, balanced_accuracy, check_not_trained_on


def quantise(served, output, *more):
    shards = ["--ranges", str(served.shards), "--evaluate", str(served.shards)]
    return main([str(served.bundle), *shards, "--output", str(output), "--ranges-windows", "4", *more])


@pytest.mark.parametrize("method", ["static", "dynamic"])
def test_int8_passes_the_gate_and_answers_nearly_as_float(learnt, tmp_path, capsys, method):
    shards = ["--ranges", str(learnt.shards), "--evaluate", str(learnt.root / "evaluate")]
    command = [str(learnt.bundle), *shards, "--output", str(tmp_path / "q"), "--ranges-windows", "4"]
    as_json = ["--json"] if method == "dynamic" else []
    assert main([*command, "--method", method, *as_json]) == 0, capsys.readouterr().err
    if as_json:
        (printed,) = map(json.loads, capsys.readouterr().out.splitlines())
        assert (printed["method"], printed["shipped"], printed["refused"]) == ("dynamic", True, [])
        assert printed["output"] == str(tmp_path / "q")
    small, large = load_bundle(tmp_path / "q"), load_bundle(learnt.bundle)
    windows = list(windows_of_shards([learnt.root / "evaluate"], n_windows=6))
    ours, theirs = probabilities(large, windows), probabilities(small, windows)
    assert 0 < np.abs(ours - theirs).max() < 0.2
    assert (ours.argmax(axis=1) == theirs.argmax(axis=1)).all()
    # The answer of a window is its own: no range is that of its neighbours.
    assert (run_sizes(large, windows), run_sizes(small, windows)) == ([6], [1] * 6)
    assert small.precision == f"int8-{method}"
    # Weights are few in so small a network: what the gate asks of it is a share of one byte per weight.
    assert large.n_bytes / small.n_bytes >= REACH * small.about["quantisation"]["size_allowed"] > 2
    assert small.calibration == large.calibration
    about = json.loads((tmp_path / "q" / "bundle.json").read_text())["quantisation"]
    assert about["made_from"] == large.about["digest"]
    assert (about["n_windows"], about["balanced_accuracy_fp32"]) == (24, 1.0)
    assert about["balanced_accuracy_int8"] >= 0.99
    assert about["agreement"] >= 0.95
    assert about["size_ratio"] == pytest.approx(large.n_bytes / small.n_bytes)
    assert about["exempt"].startswith("exempt from 3.9x: weights are")  # a small network: its nodes count
    assert "smaller" in (tmp_path / "q" / "README.md").read_text()
    assert main([str(tmp_path / "q"), "--ranges", "x", "--evaluate", "x", "--output", str(tmp_path / "r")]) == 2
    assert "is int8" in capsys.readouterr().err


def run_sizes(bundle, windows):
    """Return how many windows each run of a bundle's only graph had."""
    sizes = []

    class Counted:
        def run(self, outputs, feed):
            sizes.append(len(feed["signal"]))
            return onnx_session(bundle, bundle.graphs[0].file).run(outputs, feed)

    answer_batch(bundle, windows, sessions=lambda name: Counted())
    return sizes


def test_people_that_the_model_was_trained_on_do_not_judge_it(learnt, tmp_path, capsys):
    shards = ["--ranges", str(learnt.shards), "--evaluate", str(learnt.shards)]
    assert main([str(learnt.bundle), *shards, "--output", str(tmp_path / "q")]) == 2
    err = capsys.readouterr().err
    assert "trained on 4 of the 4 subjects" in err
    assert "first known-0: give --evaluate shards of people that it does not know" in err
    assert list(tmp_path.iterdir()) == []


def test_training_is_recognised_by_recordings_under_another_salt_and_an_older_bundle_is_refused(learnt):
    bundle, evaluate = load_bundle(learnt.bundle), learnt.root / "evaluate"

    def check(one):
        check_not_trained_on(one.trained_on, evaluate, model=one.path)

    check(bundle)

    def trained_on(*names):
        return replace(bundle, about={"provenance": {"members": [{"trained_on": [mark(name) for name in names]}]}})

    with pytest.raises(BundleError, match="trained on 1 of the 4 subjects .* first new-2"):
        check(trained_on("somebody", "rec-new-2"))  # by the digest of the file
    with pytest.raises(BundleError, match="trained on 1 of the 4 subjects"):
        check(trained_on("new-0"))
    check(trained_on())
    older = replace(bundle, about={"provenance": {"members": [{"n_train_subjects": 4}]}})
    with pytest.raises(BundleError, match="does not list who it was trained on: export it again"):
        check(older)


def test_a_refusing_gate_writes_nothing(served, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(signals.bundles.int8_gate, "KEPT_AIM", 1.5)  # more than there can be
    assert quantise(served, tmp_path / "q", "--method", "dynamic") == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "not shipped" in err
    assert "kept (required 150%)" in err
    assert list(tmp_path.iterdir()) == []


def write_opposite(calibrated, output, *, leave=()):
    """Write the float graph with its logits negated: nothing is decided as before."""
    graph = onnx.load(calibrated.path)
    names = {"logits"}
    names |= {node.input[k] for node in graph.graph.node if "logits" in node.output for k in (1, 2)}
    for tensor in graph.graph.initializer:
        if tensor.name in names:
            tensor.CopyFrom(onnx.numpy_helper.from_array(-onnx.numpy_helper.to_array(tensor), tensor.name))
    onnx.save(graph, output)


@pytest.fixture
def lenient(monkeypatch):
    """A gate that requires equal decisions alone: random weights have no accuracy, toy sizes are all nodes."""
    monkeypatch.setattr(signals.bundles.int8_gate, "KEPT_AIM", 0.0)
    monkeypatch.setattr(signals.bundles.int8_gate, "REACH", 0.0)
    monkeypatch.setattr(serving.deploy.quantise, "write_static", write_opposite)


def test_a_form_that_changes_decisions_is_refused_and_the_next_one_taken(
    served, tmp_path, capsys, monkeypatch, lenient
):
    monkeypatch.setattr(serving.deploy.quantise, "write_dynamic", shutil.copy)
    assert quantise(served, tmp_path / "q") == 0
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1
    assert "int8-static not shipped: 100.0% of decisions changed, more than 2.0%; in all" in printed.err
    assert "int8-dynamic" in printed.out
    made = load_bundle(tmp_path / "q")
    assert made.precision == "int8-dynamic"
    assert made.about["quantisation"]["agreement"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["q"]


def test_where_every_form_changes_decisions_nothing_is_written(served, tmp_path, capsys, lenient):
    assert quantise(served, tmp_path / "q", "--most-changed", "-1") == 2  # less than none
    err = capsys.readouterr().err.splitlines()
    assert [line.split()[2] for line in err] == ["int8-static", "int8-dynamic"]
    assert all("decisions changed" in line for line in err)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("ratio", "allowed", "kept", "same", "refused"),
    [(4.1, 9.0, 1.0, 1.0, ()), (3.0, 9.0, 1.0, 1.0, ("smaller",)), (3.0, 3.5, 0.995, 0.98, ()),
     (3.89, 9.0, 1.0, 1.0, ("not 3.90x",)), (3.89, 3.95, 1.0, 1.0, ("not 3.90x",)),
     (2.5, 3.0, 1.0, 1.0, ("not 2.55x",)),  # 0.85 of 3
     (3.0, 3.5, 0.98, 1.0, ("accuracy",)), (3.0, 3.5, float("nan"), 1.0, ("accuracy",)),
     (4.1, 9.0, 1.01, 0.818, ("decisions changed, more than 2.0%",)),
     (4.1, 9.0, 1.0, 0.979, ("decisions changed, more than 2.0%",)),
     (1.0, 9.0, 0.5, float("nan"), ("smaller", "accuracy", "decisions"))],
)  # fmt: skip
def test_gate(ratio, allowed, kept, same, refused):
    gate = Gate(
        size_ratio=ratio, size_allowed=allowed, balanced_accuracy_fp32=1.0, balanced_accuracy_int8=kept, agreement=same,
        weights_share=min(1.0, (1 - 1 / allowed) / 0.75), n_windows=10,
    )  # fmt: skip
    assert gate.ok is (not refused)
    assert len(gate.refused) == len(refused)
    assert all(word in words for word, words in zip(refused, gate.refused, strict=True))


def test_layers_left_in_float_exempt_nobody_from_the_size():
    gate = Gate(  # 99.5% of the file are weights, of which a tenth stayed in float: 1 / (1 - 0.75 * 0.8955) = 3.05
        size_ratio=3.0, size_allowed=3.05, weights_share=0.995, balanced_accuracy_fp32=1.0, balanced_accuracy_int8=1.0,
        agreement=1.0, n_windows=10,
    )  # fmt: skip
    assert (gate.exempt, gate.refused) == ("", ("3.00x smaller, not 3.90x",))
    small = replace(gate, weights_share=0.9)  # 1 / (1 - 0.75 * 0.9) = 3.08, below 3.9 whatever the form
    assert small.ok
    assert "exempt from 3.9x: weights are 90.0% of the file, one byte each gives 3.08x" in small.summary()


def test_layers_have_constant_weights_and_the_most_sensitive_come_first(served):
    bundle = load_bundle(served.bundle)
    path = bundle.path / bundle.graphs[0].file
    layers = layers_of(path)
    assert {layer.n_bytes for layer in layers} >= {4 * 256 * 102}  # the stem's spectrum: 256 samples, 51 lines
    feeds = [feed([window], bundle.graphs[0]) for window in windows_of_shards([served.shards], n_windows=1)]
    found = sensitivities(calibrate(path, feeds), feeds, "logits")
    assert len(found) == len(layers)
    assert [one.gain for one in found] == sorted((one.gain for one in found), reverse=True)
    assert found[0].gain > 0


def test_a_layer_switched_to_float_answers_as_a_graph_written_without_it(served, tmp_path):
    bundle = load_bundle(served.bundle)
    path = bundle.path / bundle.graphs[0].file
    (window,) = windows_of_shards([served.shards], n_windows=1)
    given = feed([window], bundle.graphs[0])
    calibrated = calibrate(path, [given], percentile=99.99)
    switches = write_switched(calibrated, tmp_path / "switched.onnx")

    def logits(name, more):
        options = onnxruntime.SessionOptions()  # kernels that add up in integers differ in the last bits
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        return onnxruntime.InferenceSession(tmp_path / name, options).run(["logits"], given | more)[0]

    layers = {one.node for one in calibrated.layers}
    nodes = [node for node in onnx.load(path).graph.node if node.name in layers]
    by_op = [[node.name for node in nodes if node.op_type == op] for op in ("Conv", "MatMul", "Gemm")]
    shared = [node.name for node in nodes if sum(node.input[0] == other.input[0] for other in nodes) > 1]
    assert all((*by_op, shared))
    seen = set()
    for left in {None, *(names[k] for names in by_op for k in (0, -1)), *shared[:2]}:
        write_static(calibrated, tmp_path / "static.onnx", leave=[left] if left else [])
        switched = logits("switched.onnx", {switch: np.array(node == left) for node, switch in switches.items()})
        np.testing.assert_allclose(switched, logits("static.onnx", {}), rtol=1e-5, atol=1e-6)
        seen.add(switched.tobytes())
    assert len(seen) >= 5  # a layer that scores steps of time hardly moves the answer


def test_float_layers_keep_within_their_budget():
    def one(name, n_bytes, gain):
        return Sensitivity(layer=Layer(node=name, weight=name, n_bytes=n_bytes), gain=gain)

    found = [one("big", 80, 0.5), one("small", 4, 0.3), one("tiny", 2, 0.2), one("calm", 14, 0.01)]
    left = worth_leaving(found, least_gain=0.05, float_share=0.07)
    assert [kept.layer.node for kept in left] == ["small", "tiny"]  # 6 of 100 bytes; "big" does not fit


def test_balanced_accuracy_is_scikit_learns():
    from sklearn.metrics import balanced_accuracy_score

    rng = np.random.default_rng(0)
    true, predicted = rng.integers(0, 4, 50).tolist(), rng.integers(0, 6, 50).tolist()
    assert balanced_accuracy(true, predicted) == pytest.approx(
        np.mean([np.mean(np.array(predicted)[np.array(true) == k] == k) for k in range(4)])
    )
    same = [min(k, 3) for k in predicted]
    assert balanced_accuracy(true, same) == pytest.approx(balanced_accuracy_score(true, same))


def test_a_single_outlier_does_not_widen_a_range(served):
    bundle = load_bundle(served.bundle)
    path = bundle.path / bundle.graphs[0].file
    feeds = [feed([window], bundle.graphs[0]) for window in windows_of_shards([served.shards], n_windows=2)]
    feeds[0]["signal"][0, 3, 1000] = 1e4  # one sample of half a million, in units of a window's spread

    def widths(percentile):
        ranges = calibrate(path, feeds, percentile=percentile).ranges
        return {name: float(np.ptp(ranges[name].range_value)) for name in ranges.keys()}  # noqa: SIM118

    whole, most = widths(None), widths(99.99)
    assert whole.keys() == most.keys()
    assert all(most[name] <= 1.01 * whole[name] for name in whole)
    assert min(most[name] / whole[name] for name in whole if whole[name] > 0) < 0.1
