"""Models on pattern features as ONNX graphs: one input `patterns` float32 (batch, n_features), outputs `logits` and
`representation`. They are written node by node, so that neither torch nor scikit-learn decides what is in them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from model.bundling.tracing import OPSET
from model.patterns.forest import SHARE_FLOOR, Forest
from model.patterns.logistic import LogisticModel
from model.patterns.perceptron import Perceptron
from signals.bundles.bundle import PATTERNS

Member = LogisticModel | Forest | Perceptron
"""A model on pattern features."""
_ML, _ML_VERSION = "ai.onnx.ml", 3


def write_pattern_graph(model: Member, path: Path) -> None:
    """Write a model as ONNX; raises ValueError for boosted trees, which no bundle holds."""
    import onnx  # only exports need it
    from onnx import TensorProto, helper

    nodes, constants = _forest(model) if isinstance(model, Forest) else _layers(model)
    tensors = [onnx.numpy_helper.from_array(values, name) for name, values in constants.items()]
    row = helper.make_tensor_value_info(PATTERNS, TensorProto.FLOAT, ["batch", len(model.names)])
    outputs = [
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(model.classes)]),
        helper.make_tensor_value_info("representation", TensorProto.FLOAT, ["batch", None]),
    ]
    graph = helper.make_graph(nodes, type(model).__name__, [row], outputs, tensors)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(_ML, _ML_VERSION)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)


def _layers(model: LogisticModel | Perceptron) -> tuple[list[Any], dict[str, np.ndarray]]:
    """Return the nodes of clipped inputs through layers; the representation is what the last layer reads."""
    if isinstance(model, LogisticModel):
        weights: Sequence[np.ndarray] = (model.weight,)
        offsets: Sequence[np.ndarray] = (model.offset,)
    else:
        # Standardising is a part of the first layer: (x - mean) / scale @ W = x @ (W / scale) - mean @ (W / scale).
        first = model.weights[0].astype(np.float64) / model.scale[:, None]
        weights = (first, *model.weights[1:])
        offsets = (model.offsets[0] - model.mean.astype(np.float64) @ first, *model.offsets[1:])
    from onnx import helper

    constants = {"low": model.low, "high": model.high}
    nodes = [helper.make_node("Max", [PATTERNS, "low"], ["above"]), helper.make_node("Min", ["above", "high"], ["x0"])]
    last = len(weights) - 1
    for k, (weight, offset) in enumerate(zip(weights, offsets, strict=True)):
        constants |= {f"weight{k}": weight, f"offset{k}": offset}
        out = "logits" if k == last else f"y{k}"
        nodes.append(helper.make_node("Gemm", [f"x{k}", f"weight{k}", f"offset{k}"], [out]))
        if k != last:
            nodes.append(helper.make_node("Relu", [out], [f"x{k + 1}"]))
    nodes.append(helper.make_node("Identity", [f"x{last}"], ["representation"]))
    return nodes, {name: np.asarray(values, dtype=np.float32) for name, values in constants.items()}


def _forest(model: Forest) -> tuple[list[Any], dict[str, np.ndarray]]:
    """Return the nodes of trees whose leaves hold class shares; the representation is their mean."""
    from onnx import helper

    if model.offset is not None:
        raise ValueError("boosted trees have no graph here: fit a forest")
    tree = np.repeat(np.arange(len(model.roots)), np.diff([*model.roots, len(model.feature)]))
    node, leaf = np.arange(len(tree)) - model.roots[tree], model.feature < 0
    leaves, n_classes = np.flatnonzero(leaf), len(model.classes)
    inner = {"left": model.left - model.roots[tree], "right": model.right - model.roots[tree]}
    trees = helper.make_node(
        "TreeEnsembleRegressor", [PATTERNS], ["representation"], domain=_ML, n_targets=n_classes,
        aggregate_function="SUM", post_transform="NONE",
        nodes_treeids=tree.tolist(), nodes_nodeids=node.tolist(),
        nodes_featureids=np.where(leaf, 0, model.feature).tolist(),
        nodes_values=np.where(leaf, 0, model.threshold).astype(float).tolist(),
        nodes_modes=np.where(leaf, "LEAF", "BRANCH_LEQ").tolist(),
        nodes_truenodeids=np.where(leaf, 0, inner["left"]).tolist(),
        nodes_falsenodeids=np.where(leaf, 0, inner["right"]).tolist(),
        target_treeids=np.repeat(tree[leaves], n_classes).tolist(),
        target_nodeids=np.repeat(node[leaves], n_classes).tolist(),
        target_ids=np.tile(np.arange(n_classes), len(leaves)).tolist(),
        target_weights=(model.value[leaves] / len(model.roots)).ravel().astype(float).tolist(),
    )  # fmt: skip
    floored = helper.make_node("Max", ["representation", "floor"], ["floored"])
    logits = helper.make_node("Log", ["floored"], ["logits"])
    return [trees, floored, logits], {"floor": np.array([SHARE_FLOOR], dtype=np.float32)}
