"""What a command prints for a program: one JSON object on standard output, and nothing else there."""

import argparse
import dataclasses
import json
import math
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from datetime import date
from pathlib import PurePath
from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """Return dataclasses, arrays, paths and tuples as JSON's own kinds; nan and infinity become None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, PurePath | date):
        return str(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def add_json(parser: argparse.ArgumentParser, what: str) -> None:
    """Add `--json` to a command whose result is `what`."""
    parser.add_argument("--json", action="store_true", help=f"one JSON object: {what}")


def print_json(fields: Any) -> None:
    """Print a mapping or a dataclass as one line of JSON."""
    print(json.dumps(plain(fields), ensure_ascii=False, allow_nan=False))  # noqa: T201


def stages_on_stderr(*, as_json: bool) -> AbstractContextManager[Any]:
    """Give a block whose prints go to standard error where standard output is kept for JSON."""
    return redirect_stdout(sys.stderr) if as_json else nullcontext()
