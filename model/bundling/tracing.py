"""A network written as ONNX by tracing it, without what a runtime does not need."""

import warnings
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

OPSET = 18


def trace(
    network: nn.Module, example: tuple[Tensor, ...], path: Path, *, inputs: Sequence[str], outputs: Sequence[str],
    free: Mapping[str, Mapping[int, str]],
) -> None:  # fmt: skip
    """Write a network's ONNX by tracing it with an example; `free` names the dimensions that may have any size."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing warns of comparisons of shapes that hold for every length we allow
        torch.onnx.export(
            network,
            example,
            path,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes=free,
            opset_version=OPSET,
            dynamo=False,
        )
    fold(path)
    strip(path)


def fold(path: Path) -> None:
    """Compute what is constant in a graph once and for all, and name values by their number.

    A trace holds a node for every constant and every size, under the names of the modules they come from: a tenth of a
    small file in INT8. Nodes keep their names, by which layers are left in float.
    """
    import onnx  # only exports need both
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC  # plain ONNX comes out
    options.optimized_model_filepath = str(path)
    options.intra_op_num_threads = 1
    onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    model = onnx.load(path)
    used = {node.domain for node in model.graph.node}
    opsets = [opset for opset in model.opset_import if opset.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(opsets)
    if not any(attribute.HasField("g") for node in model.graph.node for attribute in node.attribute):
        _number_values(model.graph)
    onnx.save(model, path)


def _number_values(graph: Any) -> None:
    """Name what nodes pass on "v0", "v1", ...; inputs, outputs and constants of the graph keep their names."""
    kept = {value.name for value in (*graph.input, *graph.output, *graph.initializer)}
    passed = [name for node in graph.node for name in node.output if name and name not in kept]
    names = dict(zip(passed, (name for name in map("v{}".format, count()) if name not in kept), strict=False))
    for node in graph.node:
        for values in (node.input, node.output):
            values[:] = [names.get(name, name) for name in values]


def strip(path: Path) -> None:
    """Take out of a graph what a runtime does not need: shapes it can infer, and the exporter's notes.

    They are a third of a small file, name paths of the machine that wrote it, and noted shapes get in the way of
    whoever changes the graph.
    """
    import onnx  # only exports need it

    model = onnx.load(path)
    graph = model.graph
    del graph.value_info[:]
    for part in (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output, *model.functions):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    onnx.save(model, path)
