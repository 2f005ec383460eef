"""Which layers of an INT8 graph are better left in float: what each one's rounding does to the answer.

A graph is quantised once. Behind every pair of nodes that rounds a value of one layer alone stands a switch, so that a
session answers with any layer in float; a graph per layer took most of a quantisation (Wu et al. 2020, sensitivity by
layer).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from serving.deploy.int8 import Calibrated, Feed, Layer, write_static
from signals.progress import progress

_SWITCH = "in_float:"


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """What leaving one layer in float is worth."""

    layer: Layer
    gain: float
    """Share of the all-INT8 graph's error in the output that goes away; it may be below 0."""


def sensitivities(calibrated: Calibrated, feeds: Sequence[Feed], output: str) -> list[Sensitivity]:
    """Return the layers, those first that are most worth leaving in float: each is left out once.

    The error is the root mean square difference of the named output from the float graph's.
    """
    import onnxruntime

    with TemporaryDirectory() as folder:
        switched = Path(folder) / "switched.onnx"
        switches = write_switched(calibrated, switched)
        exact, trial = (
            onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
            for path in (calibrated.path, switched)
        )
        answers = [np.asarray(exact.run([output], feed)[0]) for feed in feeds]

        def error(left: str | None) -> float:
            given = {switch: np.array(node == left) for node, switch in switches.items()}
            pairs = ((a, trial.run([output], feed | given)[0]) for a, feed in zip(answers, feeds, strict=True))
            return float(np.sqrt(np.mean([np.square(a - b).mean() for a, b in pairs])))

        whole = error(None)
        if whole == 0:
            return []
        trials = progress(calibrated.layers, "layers in float", unit="layers")
        layers = [Sensitivity(layer=layer, gain=1 - error(layer.node) / whole) for layer in trials]
    return sorted(layers, key=lambda one: -one.gain)


def worth_leaving(layers: Sequence[Sensitivity], *, least_gain: float, float_share: float) -> tuple[Sensitivity, ...]:
    """Return the layers to leave in float: each takes away `least_gain` of the error or more, best first.

    Together they hold no more than `float_share` of the weights, so that the file still shrinks.
    """
    budget = float_share * sum(one.layer.n_bytes for one in layers)
    left: list[Sensitivity] = []
    for one in layers:
        if one.gain >= least_gain and sum(layer.layer.n_bytes for layer in left) + one.layer.n_bytes <= budget:
            left.append(one)
    return tuple(left)


def write_switched(calibrated: Calibrated, output: Path) -> dict[str, str]:
    """Write the graph with all layers in INT8, and return by node the input that puts its layer back to float.

    An input is a bool, and all of them must be given. Values that several layers share stay rounded, as they are where
    the others remain in INT8.
    """
    import onnx

    write_static(calibrated, output)
    model, exact = onnx.load(output), onnx.load(calibrated.path).graph
    constants = {tensor.name: tensor for tensor in exact.initializer}
    of_one_layer = _of_one_layer(model.graph, exact, {one.node for one in calibrated.layers})
    nodes, switches = [], {}
    for node in model.graph.node:
        nodes.append(node)
        rounded = of_one_layer.get(node.output[0])
        if rounded is None:
            continue
        switch, source, result = _SWITCH + rounded.layer, rounded.source, node.output[0]
        if source in constants:  # of which the graph kept the rounded form alone
            constants[source].name = source = f"{source}:exact"
            model.graph.initializer.append(constants[rounded.source])
        node.output[0] = f"{result}:rounded"
        nodes.append(onnx.helper.make_node("Where", [switch, source, node.output[0]], [result]))
        if rounded.layer not in switches:
            model.graph.input.append(onnx.helper.make_tensor_value_info(switch, onnx.TensorProto.BOOL, []))
            switches[rounded.layer] = switch
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, output)
    return switches


@dataclass(frozen=True, kw_only=True)
class _Rounded:
    """A value that is rounded for one layer alone."""

    layer: str
    source: str
    """Name of the value before it is rounded; of a constant, in the float graph."""


def _of_one_layer(graph: Any, exact: Any, layers: set[str]) -> dict[str, _Rounded]:
    """Return the rounded values of a quantised graph that one layer alone takes or gives, by name after rounding."""
    made = {name: node for node in graph.node for name in node.output}
    before = {node.name: node.input for node in exact.node if node.name in layers}
    activations = {
        name: made[node.input[0]].input[0]
        for name, node in made.items()
        if node.op_type == "DequantizeLinear" and node.input[0] in made
    }
    after = {source: result for result, source in activations.items()}
    found: dict[str, set[tuple[str, str]]] = {}
    for node in graph.node:
        if node.name not in layers:
            continue
        for name, plain in zip(node.input, before[node.name], strict=True):
            if name in made and made[name].op_type == "DequantizeLinear":
                found.setdefault(name, set()).add((node.name, activations.get(name, plain)))
        for name in set(node.output) & after.keys():
            found.setdefault(after[name], set()).add((node.name, name))
    return {
        name: _Rounded(layer=layer, source=source)
        for name, owners in found.items()
        if len(owners) == 1
        for layer, source in owners
    }
