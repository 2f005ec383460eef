"""Networks of pictures as ONNX files, for inputs of one size."""

from pathlib import Path

import torch
from torch import Tensor, nn

OPSET = 17


def export_network(network: nn.Module, example: Tensor, path: Path) -> None:
    """Write a network of `model.images.backbones` as an ONNX file with input "x", of the example's size.

    What tracing leaves in double precision (the grid of deformable attention) becomes single, as all else is: ONNX
    Runtime samples grids of one precision alone. Raises what the exporter raises where it fails.
    """
    import onnx

    torch.onnx.export(network.eval(), (example,), str(path), dynamo=False, input_names=["x"], opset_version=OPSET)
    model = onnx.load(path)
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.i == onnx.TensorProto.DOUBLE:
                attribute.i = onnx.TensorProto.FLOAT
            if attribute.HasField("t") and attribute.t.data_type == onnx.TensorProto.DOUBLE:
                single = onnx.numpy_helper.to_array(attribute.t).astype("float32")
                attribute.t.CopyFrom(onnx.numpy_helper.from_array(single))
    onnx.save(model, path)
