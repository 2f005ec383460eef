"""ONNX graphs in INT8: which layers, and with what ranges.

Static: weights and activations, ranges from calibration windows (QDQ, one scale per column of a weight). Dynamic:
activations get their range when they are there. Only products and convolutions with constant weights are touched:
with everything quantised, answers are far off. Method: Jacob et al. 2018; Wu et al. 2020 (percentiles).
"""

import io
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from signals.bundles.bundle import BundleError

OP_TYPES = ("MatMul", "Gemm", "Conv")
Feed = dict[str, np.ndarray]
"""Inputs of a graph by name."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A product or convolution with constant weights."""

    node: str
    """Name in the graph."""
    weight: str
    """Name of the constant."""
    n_bytes: int
    """Of the constant, in float."""


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """A float graph with the ranges of its activations."""

    path: Path
    layers: tuple[Layer, ...]
    ranges: Any = field(repr=False)


def needs_onnx() -> None:
    """Raise BundleError where the package onnx, which only this command needs, is not there."""
    try:
        import onnx  # noqa: F401
    except ImportError:
        raise BundleError("quantisation needs the package onnx: pip install onnx") from None


def layers_of(path: Path) -> tuple[Layer, ...]:
    """Return the layers that can be quantised, in the graph's order."""
    import onnx

    graph = onnx.load(path).graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    layers = []
    for node in graph.node:
        if node.op_type in OP_TYPES and node.input[1] in constants:
            weight = constants[node.input[1]]
            layers.append(Layer(node=node.name, weight=weight.name, n_bytes=4 * int(np.prod(weight.dims))))
    return tuple(layers)


def calibrate(
    path: Path, feeds: Sequence[Feed], *, percentile: float | None = None, symmetric: bool = False
) -> Calibrated:
    """Return the graph with the ranges of its activations over calibration inputs.

    percentile: values beyond it, on either side, do not widen a range: one artifact among some million values would
    take most of the 256 steps. None: from the smallest to the largest. symmetric: around 0.
    """
    from onnxruntime.quantization.calibrate import CalibrationDataReader, CalibrationMethod, create_calibrator

    class Reader(CalibrationDataReader):
        def __init__(self, feed: Feed) -> None:
            self.left: Iterator[Feed] = iter([feed])

        def get_next(self) -> Feed | None:
            return next(self.left, None)

    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):  # the calibrators print
        calibrator = create_calibrator(
            str(path),
            list(OP_TYPES),
            str(Path(folder) / "augmented.onnx"),
            calibrate_method=CalibrationMethod.MinMax if percentile is None else CalibrationMethod.Percentile,
            extra_options={"symmetric": symmetric} | ({} if percentile is None else {"percentile": percentile}),
        )
        for feed in feeds:  # one by one: what is read at once is kept, with all activations
            calibrator.collect_data(Reader(feed))
        return Calibrated(path=path, layers=layers_of(path), ranges=calibrator.compute_data())


def write_static(calibrated: Calibrated, output: Path, *, leave: Sequence[str] = (), symmetric: bool = False) -> None:
    """Write the graph with all layers in INT8 but those whose nodes are named in `leave`.

    symmetric: zero points are 0 and biases stay in float, as TensorRT wants them.
    """
    import onnx
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    quantizer = QDQQuantizer(
        onnx.load(calibrated.path),
        True,  # one scale per column of a weight
        False,  # the full range of 8 bits
        QuantType.QInt8,
        QuantType.QInt8 if symmetric else QuantType.QUInt8,
        calibrated.ranges,
        [layer.node for layer in calibrated.layers if layer.node not in leave],
        [],
        list(OP_TYPES),
        {"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False} if symmetric else {},
    )
    quantizer.quantize_model()
    _save(quantizer.model.model, output)


def write_dynamic(path: Path, output: Path) -> None:
    """Write the graph with the weights of all layers in INT8."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    names = [layer.node for layer in layers_of(path)]
    quantize_dynamic(
        path,
        output,
        op_types_to_quantize=list(OP_TYPES),
        per_channel=True,
        weight_type=QuantType.QInt8,
        # A Gemm becomes a product and a sum before it is looked at, under a name of its own.
        nodes_to_quantize=[*names, *(f"{name}_MatMul" for name in names)],
    )
    _save(onnx.load(output), output)


def _save(graph: Any, output: Path) -> None:
    """Save a graph without the shapes that the quantiser has noted: the runtime finds them by itself."""
    import onnx

    del graph.graph.value_info[:]
    onnx.save(graph, output)
