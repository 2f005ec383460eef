"""A small model for live benches: band powers of the middle ten seconds to six classes, fitted on synthetic days.

What a bench of alarms measures is the chain from samples to alarms; its model must read the synthetic patterns and
cost little. The whole reading is one ONNX graph: a filter bank, log power and peakedness by band, sorted over channels,
and a linear layer. Days that it is fitted on have seeds of their own.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from scipy.signal import firwin
from sklearn.linear_model import LogisticRegression

from serving.runtime import new_session
from signals.bundles.bundle import Graph, graph_fields, write_bundle
from signals.bundles.inputs import model_input, windows_of_file
from signals.modality import EEG_1020
from signals.shards.normalise import Normaliser
from signals.tasks import SIX_CLASS as TASK
from signals.windows.profiles import SIX_CLASS
from synthetic.recordings.monitoring import Day, monitoring_day

FITTED_SEEDS = tuple(range(9000, 9024))
"""Of the half hours that it is fitted on; benches use others."""
BANDS_HZ = ((0.7, 2.0), (2.0, 4.0), (4.0, 7.0), (7.0, 12.0), (12.0, 25.0))
_N_TAPS = 257
_STATUS_S = (300, 900)


def class_at(day: Day, start_s: float, stop_s: float) -> str | None:
    """Return the planted class of a stretch: "Other" outside of every episode, None where it is partly inside one."""
    for one in (*day.episodes, *([day.status] if day.status else [])):
        episode_stop = one.onset_s + one.duration_s
        if one.onset_s <= start_s and stop_s <= episode_stop:
            return one.label
        if one.onset_s < stop_s and start_s < episode_stop:
            return None
    return "Other"


def write_reader(folder: Path, *, seeds: Sequence[int] = FITTED_SEEDS) -> Path:
    """Fit the reader and write its bundle; returns its folder."""
    normaliser = Normaliser(kind="window")
    with tempfile.TemporaryDirectory() as place:
        plain = Path(place) / "features.onnx"
        write_graph(plain)
        session = new_session(plain.read_bytes(), threads=1)
        rows, labels = [], []
        for seed in seeds:
            file = Path(place) / f"{seed}.edf"
            day = monitoring_day(file, hours=0.5, seed=seed, status_s=_STATUS_S)
            for window in windows_of_file(SIX_CLASS, str(file), hop_s=10.0, want=()):
                label = class_at(day, window.start_s + 20, window.start_s + 30)
                if label is None:
                    continue
                signal, state = model_input([window], normaliser)
                rows.append(session.run(["representation"], {"signal": signal, "ch_state": state})[0][0])
                labels.append(TASK.classes.index(label))
            file.unlink()
    x, y = np.array(rows), np.array(labels)
    mean, std = x.mean(axis=0), x.std(axis=0) + 1e-6
    fitted = LogisticRegression(C=0.05, max_iter=2000, class_weight="balanced").fit((x - mean) / std, y)
    weights = np.zeros((x.shape[1], 6), dtype=np.float32)
    bias = np.full(6, -20.0, dtype=np.float32)
    for column, cls in enumerate(fitted.classes_):
        weights[:, cls] = fitted.coef_[column] / std
        bias[cls] = fitted.intercept_[column] - (fitted.coef_[column] * mean / std).sum()
    return _bundle(folder, weights, bias, normaliser, n_windows=len(y))


def _bundle(folder: Path, weights: np.ndarray, bias: np.ndarray, normaliser: Normaliser, *, n_windows: int) -> Path:
    graph = Graph(
        file="model.onnx", name="reader", normaliser=normaliser, step_times=256, min_times=7680,
        weights_sha256="0" * 64, inputs=("signal", "ch_state"),
    )  # fmt: skip

    def fill(partial: Path) -> dict[str, object]:
        write_graph(partial / "model.onnx", weights, bias)
        return {
            "kind": "classifier", "precision": "fp32", "task": {"name": TASK.name, "classes": list(TASK.classes)},
            "modality": EEG_1020.to_dict(), "profile": SIX_CLASS.to_dict(), "graphs": graph_fields((graph,)),
            "combiner": None, "provenance": {"fitted_on": n_windows},
            "calibration": {"temperature": 1.0, "abstain_below": None, "split_digest": "", "conformal": None},
            "parity": {"n_windows": 0, "max_probability_difference": 0.0, "decisions_differ": 0},
        }  # fmt: skip

    write_bundle(folder, fill)
    return folder


def write_graph(path: Path, weights: np.ndarray | None = None, bias: np.ndarray | None = None) -> None:
    """Write the graph; without weights only the features."""
    rate = int(SIX_CLASS.signal.sfreq)
    taps = np.stack([firwin(_N_TAPS, band, pass_zero=False, fs=rate) for band in BANDS_HZ])[:, None, :]
    n_bands, n_features = len(BANDS_HZ), 2 * 19 * len(BANDS_HZ)
    arrays = {
        "from": np.array([20 * rate]), "to": np.array([30 * rate]), "axis": np.array([2]),
        "rows": np.array([-1, 1, 10 * rate]), "taps": taps.astype(np.float32), "tiny": np.float32(1e-6),
        "wide": np.array([-1, 19, n_bands]), "k": np.array([19]), "flat": np.array([-1, 19 * n_bands]),
        "w": np.zeros((n_features, 6), np.float32) if weights is None else weights,
        "b": np.zeros(6, np.float32) if bias is None else bias,
    }  # fmt: skip
    node = helper.make_node
    nodes = [
        node("Slice", ["signal", "from", "to", "axis"], ["middle"]), node("Reshape", ["middle", "rows"], ["each"]),
        node("Conv", ["each", "taps"], ["bands"]), node("Mul", ["bands", "bands"], ["square"]),
        node("Mul", ["square", "square"], ["fourth"]), node("ReduceMean", ["square", "axis"], ["power"], keepdims=0),
        node("ReduceMean", ["fourth", "axis"], ["power4"], keepdims=0), node("Add", ["power", "tiny"], ["power1"]),
        node("Log", ["power1"], ["log"]), node("Mul", ["power1", "power1"], ["power2"]),
        node("Div", ["power4", "power2"], ["ratio"]), node("Add", ["ratio", "tiny"], ["ratio1"]),
        node("Log", ["ratio1"], ["peaked"]),
    ]  # fmt: skip
    for name in ("log", "peaked"):
        nodes += [
            node("Reshape", [name, "wide"], [f"{name}_bcf"]),
            node("TopK", [f"{name}_bcf", "k"], [f"{name}_sorted", f"{name}_order"], axis=1),
            node("Reshape", [f"{name}_sorted", "flat"], [f"{name}_flat"]),
        ]
    nodes += [
        node("Concat", ["log_flat", "peaked_flat"], ["features"], axis=1),
        node("Cast", ["ch_state"], ["states"], to=TensorProto.FLOAT),
        node("ReduceSum", ["states"], ["sum"], keepdims=0),
        node("Mul", ["sum", "zero"], ["nothing"]), node("Add", ["features", "nothing"], ["representation"]),
        node("MatMul", ["representation", "w"], ["product"]), node("Add", ["product", "b"], ["logits"]),
    ]  # fmt: skip
    arrays["zero"] = np.float32(0.0)
    inputs = [helper.make_tensor_value_info("signal", TensorProto.FLOAT, ["batch", 19, "time"]),
              helper.make_tensor_value_info("ch_state", TensorProto.INT64, ["batch", 19])]  # fmt: skip
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 6]),
               helper.make_tensor_value_info("representation", TensorProto.FLOAT, ["batch", n_features])]  # fmt: skip
    values = [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "reader", inputs, outputs, values), opset_imports=[helper.make_opsetid("", 18)]
    )
    model.ir_version = 10
    onnx.checker.check_model(model)
    onnx.save(model, path)
