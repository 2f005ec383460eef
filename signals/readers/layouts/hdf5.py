"""MATLAB 7.3 files and other HDF5 through h5py: what is in them, small values, ranges of large ones.

HDF5's library is compiled code that can crash on a damaged file: call it through `signals.readers.isolated`. MATLAB
writes an array's axes in reverse order; here they are as in MATLAB.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from signals.readers.isolated import require
from signals.recording.recording import UnreadableError

_MAGIC = b"\x89HDF\r\n\x1a\n"
_USER_BLOCK = 512
"""Bytes of MATLAB's own header before HDF5 begins."""
_LARGEST_VALUE = 1_000_000
"""Elements of a dataset beyond which it is no parameter but a signal, and is not read as a value."""


@dataclass(frozen=True)
class Array:
    """A dataset of numbers: its name with its groups ("rec/x"), its shape and whether MATLAB wrote it."""

    name: str
    shape: tuple[int, ...]
    is_reversed: bool
    dtype: str


def is_hdf5(path: Path) -> bool:
    """Return whether a file is HDF5, with or without the header of MATLAB 7.3."""
    with path.open("rb") as file:
        head = file.read(_USER_BLOCK + len(_MAGIC))
    return head.startswith((_MAGIC, b"MATLAB 7.3")) or head[_USER_BLOCK:] == _MAGIC


def open_hdf5(path: Path) -> Any:
    """Return h5py's file, to be closed by the caller. Raises UnreadableError "missing_library", "corrupt_header"."""
    require("h5py", "h5py", "a MATLAB 7.3 or HDF5 file")
    import h5py

    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise UnreadableError("corrupt_header", "no readable HDF5 file: it is cut or damaged") from error


def arrays(file: Any) -> Iterator[Array]:
    """Yield all datasets of numbers, references left out, in order of their names."""
    found: list[Array] = []

    def visit(name: str, node: Any) -> None:
        numeric = getattr(getattr(node, "dtype", None), "kind", "") in ("i", "u", "f")
        if numeric and node.shape is not None and not name.startswith("#"):
            reverse = "MATLAB_class" in node.attrs
            found.append(Array(name, node.shape[::-1] if reverse else node.shape, reverse, node.dtype.str))

    file.visititems(visit)
    yield from sorted(found, key=lambda array: array.name)


def read_range(file: Any, name: str, time_axis: int, start: int, stop: int) -> np.ndarray:
    """Return samples [start, stop) of all channels of a two-dimensional array, shape (n_chans, stop - start)."""
    dataset = file[name]
    is_reversed = "MATLAB_class" in dataset.attrs
    stored_axis = 1 - time_axis if is_reversed else time_axis
    return dataset[:, start:stop] if stored_axis == 1 else dataset[start:stop].T


def value(file: Any, node: Any) -> Any:
    """Return a value as MATLAB has it: text, a number, an array, a list of a cell's values, a struct's first fields.

    What is empty, or too large to be a parameter, is None.
    """
    if hasattr(node, "keys"):
        return {str(key): value(file, node[key]) for key in node}
    if node.attrs.get("MATLAB_empty", 0) or node.size > _LARGEST_VALUE:
        return None
    if node.dtype.kind == "O":
        return [value(file, file[reference]) for reference in np.ravel(node[()])]
    if node.attrs.get("MATLAB_class", b"") == b"char":
        return "".join(map(chr, np.ravel(node[()])))
    content = np.asarray(node[()]).T
    return content.item() if content.size == 1 else content


def entries(file: Any, node: Any) -> list[dict[str, Any]]:
    """Return the entries of a struct array: MATLAB keeps one list of references per field."""
    if not hasattr(node, "keys"):
        return []
    fields = {str(key): node[key] for key in node}
    columns: dict[str, Sequence[Any]] = {
        key: value(file, field) if _is_list(field) else [value(file, field)] for key, field in fields.items()
    }
    n_entries = max(map(len, columns.values()), default=0)
    return [{key: column[i] for key, column in columns.items() if len(column) == n_entries} for i in range(n_entries)]


def _is_list(node: Any) -> bool:
    """Return whether a field of a struct array holds a reference per entry, and not a single entry's own value."""
    return getattr(getattr(node, "dtype", None), "kind", "") == "O" and "MATLAB_class" not in node.attrs
