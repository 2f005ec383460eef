"""tf.train.Example without TensorFlow: the three feature kinds, in protobuf's wire format.

An Example is `{1: {1: map<string, Feature>}}`; a Feature holds one of bytes_list (1), float_list (2), int64_list (3),
each with one repeated field 1 (floats and integers packed). Entries are written in order of their names, so that
equal contents give equal bytes. Source:
tensorflow/core/example/{example,feature}.proto and the protobuf encoding guide.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

Value = bytes | Sequence[bytes] | Sequence[float] | Sequence[int] | np.ndarray
Features = dict[str, list[bytes] | np.ndarray]

_BYTES, _FLOAT, _INT64 = 1, 2, 3
_LENGTH_DELIMITED = 2
_ONE_BYTE = tuple(bytes([number]) for number in range(0x80))


def encode_example(features: Mapping[str, Value]) -> bytes:
    """Return a serialised tf.train.Example.

    bytes or sequences of bytes become a bytes_list, floating numbers a float_list (float32), whole numbers an
    int64_list. Raises TypeError for any other value.
    """
    entries = b"".join(
        _field(1, _field(1, name.encode()) + _field(2, _feature(name, features[name]))) for name in sorted(features)
    )
    return _field(1, entries)


def decode_example(record: bytes) -> Features:
    """Return the features of a serialised tf.train.Example: lists of bytes, float32 arrays or int64 arrays.

    Raises ValueError if the bytes are not an Example.
    """
    features: Features = {}
    try:
        for _, body in _fields(memoryview(record)):
            for _, entry in _fields(body):
                parts = dict(_fields(entry))
                features[bytes(parts[1]).decode()] = _value(parts[2])
    except (IndexError, KeyError, struct.error, UnicodeDecodeError) as error:
        raise ValueError(f"not a tf.train.Example: {error!r}") from error
    return features


def _feature(name: str, value: Value) -> bytes:
    if isinstance(value, bytes):
        return _field(_BYTES, _field(1, value))
    if len(value) and all(isinstance(item, bytes) for item in value):
        return _field(_BYTES, b"".join(_field(1, item) for item in value))  # type: ignore[arg-type]
    numbers = np.asarray(value)
    if numbers.dtype.kind == "f":
        return _field(_FLOAT, _field(1, numbers.astype("<f4").tobytes()))
    if numbers.dtype.kind in "iub":
        return _field(_INT64, _field(1, b"".join(_varint(int(n) & 0xFFFFFFFFFFFFFFFF) for n in numbers.ravel())))
    raise TypeError(f"feature {name!r} holds {numbers.dtype}, not bytes, floats or whole numbers")


def _value(feature: memoryview) -> list[bytes] | np.ndarray:
    for kind, body in _fields(feature):
        items = [item for _, item in _fields(body)]
        if kind == _BYTES:
            return [bytes(item) for item in items]
        packed = b"".join(bytes(item) for item in items)
        if kind == _FLOAT:
            return np.frombuffer(packed, dtype="<f4")
        return np.array(list(_varints(memoryview(packed))), dtype=np.uint64).astype(np.int64)
    return []


def _field(number: int, body: bytes) -> bytes:
    return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(len(body)) + body


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    position, n_bytes = 0, len(message)
    while position < n_bytes:
        tag, position = _read_varint(message, position)
        if tag & 7 != _LENGTH_DELIMITED:
            raise ValueError(f"not a tf.train.Example: wire type {tag & 7} of field {tag >> 3}")
        length, position = _read_varint(message, position)
        if position + length > n_bytes:
            raise ValueError(f"not a tf.train.Example: field {tag >> 3} promises {length} bytes beyond the end")
        yield tag >> 3, message[position : position + length]
        position += length


def _varint(number: int) -> bytes:
    if number <= 0x7F:  # tags and most lengths
        return _ONE_BYTE[number]
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _read_varint(message: memoryview, position: int) -> tuple[int, int]:
    number = message[position]
    if number < 0x80:
        return number, position + 1
    number = shift = 0
    while True:
        byte = message[position]
        number |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            return number, position
        shift += 7


def _varints(packed: memoryview) -> Iterator[int]:
    position = 0
    while position < len(packed):
        number, position = _read_varint(packed, position)
        yield number
