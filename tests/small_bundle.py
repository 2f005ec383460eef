"""A bundle of a network that is written by hand, so that nothing is trained or exported."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from signals.bundles.bundle import Graph, graph_fields, write_bundle
from signals.shards.normalise import Normaliser
from signals.tasks import TASKS
from signals.windows.profiles import SIX_CLASS

CALIBRATION = {
    "temperature": 1.5, "abstain_below": 0.2, "split_digest": "d",
    "conformal": {"method": "class-conditional", "alpha": 0.1, "thresholds": [0.1] * 5 + [0.0]},
}  # fmt: skip


def write_network(path, *, seed, spectrogram=False, n_chans=19):
    """Logits are a linear map of each channel's mean square, and of the mean spectrogram where there is one."""
    rng = np.random.default_rng(seed)
    arrays = {"w": rng.normal(size=(n_chans, 6)).astype(np.float32), "axes": np.array([2], dtype=np.int64)}
    nodes = [
        helper.make_node("Mul", ["signal", "signal"], ["square"]),
        helper.make_node("ReduceMean", ["square", "axes"], ["power"], keepdims=0),
        helper.make_node("MatMul", ["power", "w"], ["logits0" if spectrogram else "logits"]),
        helper.make_node("Cast", ["ch_state"], ["states"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["power", "states"], ["representation"]),
    ]
    inputs = [
        helper.make_tensor_value_info("signal", TensorProto.FLOAT, ["batch", n_chans, "time"]),
        helper.make_tensor_value_info("ch_state", TensorProto.INT64, ["batch", n_chans]),
    ]
    if spectrogram:
        inputs.append(helper.make_tensor_value_info("spectrogram", TensorProto.FLOAT, ["batch", 4, 100, 300]))
        arrays["all"] = np.array([1, 2, 3], dtype=np.int64)
        arrays["v"] = rng.normal(size=(1, 6)).astype(np.float32)
        nodes += [
            helper.make_node("ReduceMean", ["spectrogram", "all"], ["mean"], keepdims=0),
            helper.make_node("Unsqueeze", ["mean", "one"], ["column"]),
            helper.make_node("MatMul", ["column", "v"], ["of_spectrogram"]),
            helper.make_node("Add", ["logits0", "of_spectrogram"], ["logits"]),
        ]
        arrays["one"] = np.array([1], dtype=np.int64)
    outputs = [
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 6]),
        helper.make_tensor_value_info("representation", TensorProto.FLOAT, ["batch", n_chans]),
    ]
    values = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "small", inputs, outputs, values)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 10
    onnx.checker.check_model(model)
    onnx.save(model, path)


def write_small_bundle(
    folder, *, seed=0, spectrogram=False, precision="fp32", profile=SIX_CLASS, task="six-class", calibration=CALIBRATION
):
    """Write the bundle and return its folder."""
    n_chans, sfreq = profile.signal.n_chans, profile.signal.sfreq
    inputs = ("signal", "ch_state") + (("spectrogram",) if spectrogram else ())
    graph = Graph(
        file="model.onnx", name="small", normaliser=Normaliser(kind="window"), step_times=round(sfreq),
        min_times=round(10 * sfreq), weights_sha256="0" * 64, inputs=inputs,
    )  # fmt: skip
    parity = {"n_windows": 8, "max_probability_difference": 1e-7, "decisions_differ": 0}

    def fill(partial):
        write_network(partial / "model.onnx", seed=seed, spectrogram=spectrogram, n_chans=n_chans)
        return {
            "kind": "classifier", "precision": precision, "task": {"name": task, "classes": list(TASKS[task].classes)},
            "modality": profile.signal.to_dict(), "profile": profile.to_dict(), "graphs": graph_fields((graph,)),
            "combiner": None, "calibration": calibration, "parity": parity, "provenance": {"seed": seed},
        }  # fmt: skip

    write_bundle(folder, fill)
    return folder
