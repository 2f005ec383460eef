"""Arrays for a browser: a JSON header with places and types, then little-endian numbers, each array on eight bytes.

Samples are int16 in steps of the row's `scale`, -32768 where there is none; extremes are pairs of them.
"""

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

MAGIC = b"CBV1"
MISSING = -32768
"""The sample that is none."""
MEDIA_TYPE = "application/octet-stream"
_LEAST_STEP_UV = 0.05
_MOST = 32767
_ALIGNED = 8


def pack(fields: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return fields and arrays as bytes."""
    places, parts, offset = {}, [], 0
    for name, array in arrays.items():
        content = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()
        padding = -len(content) % _ALIGNED
        places[name] = {"type": array.dtype.name, "shape": array.shape, "offset": offset}
        parts.append(content + bytes(padding))
        offset += len(parts[-1])
    header = orjson.dumps({**fields, "arrays": places})
    header += b" " * (-(len(header) + len(MAGIC) + 4) % _ALIGNED)
    return b"".join([MAGIC, struct.pack("<I", len(header)), header, *parts])


def quantised(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return int16 of x's shape and the step of each row, float32, shape (n_rows,): nothing is clipped."""
    rows = x.reshape(len(x), -1)
    if rows.shape[1] == 0:
        return np.zeros(x.shape, dtype=np.int16), np.full(len(x), _LEAST_STEP_UV, dtype=np.float32)
    with np.errstate(invalid="ignore"):
        largest = np.nan_to_num(np.fmax.reduce(np.abs(rows), axis=1), nan=0.0)
        step = np.maximum(_LEAST_STEP_UV, largest / _MOST * (1 + 1e-6)).astype(np.float32)
        digits = np.rint(rows / step[:, None])
    return np.where(np.isnan(digits), MISSING, digits).astype(np.int16).reshape(x.shape), step
