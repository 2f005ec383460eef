"""tf.train.Example without TensorFlow, by protobuf's own compiled parser.

An Example is a map from names to features; a feature holds one of bytes_list, float_list, int64_list. Source:
tensorflow/core/example/{example,feature}.proto. The messages live in a descriptor pool of their own, so that TensorFlow
may be loaded in the same process. Map entries are written in order of their names: equal contents give equal bytes.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

Value = bytes | Sequence[bytes] | Sequence[float] | Sequence[int] | np.ndarray
Features = dict[str, list[bytes] | np.ndarray]


def encode_example(features: Mapping[str, Value]) -> bytes:
    """Return a serialised tf.train.Example.

    bytes or sequences of bytes become a bytes_list, floating numbers a float_list (float32), whole numbers an
    int64_list. Raises TypeError for any other value.
    """
    example = _example_class()()
    example.features.SetInParent()
    for name, value in features.items():
        _fill(example.features.feature[name], name, value)
    raw: bytes = example.SerializeToString(deterministic=True)
    return raw


def decode_example(record: bytes) -> Features:
    """Return the features of a serialised tf.train.Example: lists of bytes, float32 arrays or int64 arrays.

    Raises ValueError if the bytes are not an Example.
    """
    try:
        example = _example_class().FromString(record)
    except DecodeError as error:
        raise ValueError(f"not a tf.train.Example: {error}") from error
    if not example.HasField("features"):
        raise ValueError("not a tf.train.Example: it has no features")
    return {name: _value(feature) for name, feature in example.features.feature.items()}


def _fill(feature: Any, name: str, value: Value) -> None:
    if isinstance(value, bytes):
        feature.bytes_list.value.append(value)
        return
    if len(value) and all(isinstance(item, bytes) for item in value):
        feature.bytes_list.value.extend(value)
        return
    numbers = np.asarray(value)
    if numbers.dtype.kind == "f":
        feature.float_list.value.extend(numbers.ravel().tolist())
    elif numbers.dtype.kind in "iub":
        feature.int64_list.value.extend(numbers.ravel().tolist())
    else:
        raise TypeError(f"feature {name!r} holds {numbers.dtype}, not bytes, floats or whole numbers")


def _value(feature: Any) -> list[bytes] | np.ndarray:
    kind = feature.WhichOneof("kind")
    if kind == "float_list":
        return np.array(feature.float_list.value[:], dtype=np.float32)
    if kind == "int64_list":
        return np.array(feature.int64_list.value[:], dtype=np.int64)
    return list(feature.bytes_list.value)


@cache
def _example_class() -> Any:
    """Return the message class of tensorflow.Example."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="tensorflow/core/example/example.proto", package="tensorflow", syntax="proto3"
    )
    kinds = (
        ("bytes_list", "BytesList", field.TYPE_BYTES),
        ("float_list", "FloatList", field.TYPE_FLOAT),
        ("int64_list", "Int64List", field.TYPE_INT64),
    )
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, (name, message, kind) in enumerate(kinds, start=1):
        file.message_type.add(name=message).field.add(name="value", number=1, type=kind, label=field.LABEL_REPEATED)
        _message(feature, name, number, message).oneof_index = 0
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    _message(entry, "value", 2, "Feature")
    _message(features, "feature", 1, "Features.FeatureEntry").label = field.LABEL_REPEATED
    _message(file.message_type.add(name="Example"), "features", 1, "Features")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.Example"))


def _message(parent: Any, name: str, number: int, of: str) -> Any:
    field = descriptor_pb2.FieldDescriptorProto
    return parent.field.add(
        name=name, number=number, type=field.TYPE_MESSAGE, label=field.LABEL_OPTIONAL, type_name=f".tensorflow.{of}"
    )
