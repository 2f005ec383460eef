"""A fitted model as named arrays in one .npz file, written whole or not at all: nothing in it can be executed."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from signals.files import atomic_file

M = TypeVar("M")


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays, or what NumPy makes one of, by name."""
    fields: dict[str, Any] = {name: np.asarray(values) for name, values in arrays.items()}
    with atomic_file(path) as file:
        np.savez_compressed(file, **fields)


def read_model(kind: Callable[..., M], path: Path, *, what: str) -> M:
    """Return `kind(**arrays)`, "names" and "classes" as tuples.

    Raises FileNotFoundError where there is no file, ValueError where it is no such model, which `what` names.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays: dict[str, Any] = {name: file[name] for name in file.files}
        return kind(**arrays | {key: tuple(arrays[key].tolist()) for key in ("names", "classes")})
    except FileNotFoundError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError, EOFError, OSError) as error:
        raise ValueError(f"{path} is no {what}: {error}") from None
