"""MATLAB files older than 7.3, through SciPy, whose native code crashes on some damaged ones."""

from pathlib import Path
from typing import Any

from signals.readers.isolated import check_loadable


def check_matlab(path: Path) -> None:
    """Decode a file once in a process of its own; raises UnreadableError where that fails, "reader_crashed" mostly."""
    check_loadable(load_matlab, path)


def load_matlab(path: str) -> dict[str, Any]:
    """Return the variables of a file that `check_matlab` has accepted, structs and cells as Python's own."""
    from scipy.io import loadmat

    content: dict[str, Any] = loadmat(path, simplify_cells=True)
    return content
