"""Explanations on disk: one file of arrays and facts, which whoever scores or draws them reads without torch.

An .npz without pickles: "values_0", "values_1", ... of shape (n_chans, n_steps, n_bands), and "facts", JSON, with one
entry per explanation in order.
"""

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from explain.explanation import STEP_S, Explanation
from signals.files import atomic_file

SCHEMA_VERSION = 1
_FIELDS = ("method", "target", "score", "base", "has_channels", "sums")


@dataclass(frozen=True, kw_only=True)
class Explained:
    """One explanation of one window, with what is known of that window."""

    explanation: Explanation
    window: str
    """The window's key."""
    facts: Mapping[str, str | float | int] = field(default_factory=dict)
    """Label, predicted class, probability, onset and whatever else a reader needs."""


def write_explanations(path: Path, rows: Sequence[Explained], *, ch_names: Sequence[str]) -> None:
    """Write explanations, whole or not at all; raises ValueError for other channels and what is not finite."""
    arrays: dict[str, np.ndarray] = {}
    entries = []
    for number, row in enumerate(rows):
        values = row.explanation.values
        if values.ndim != 3 or len(values) != len(ch_names) or not np.isfinite(values).all():
            raise ValueError(
                f"explanation {number} ({row.explanation.method}) has shape {values.shape}, or is not finite; "
                f"{len(ch_names)} channels are named"
            )
        arrays[f"values_{number}"] = values.astype(np.float32)
        of_explanation = {name: getattr(row.explanation, name) for name in _FIELDS}
        entries.append(
            {**of_explanation, "bands": row.explanation.bands, "window": row.window, "facts": dict(row.facts)}
        )
    about = {"schema_version": SCHEMA_VERSION, "step_s": STEP_S, "ch_names": list(ch_names), "rows": entries}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, facts=np.array(json.dumps(about)), **arrays)
    with atomic_file(path) as file:
        file.write(buffer.getvalue())


def read_explanations(path: Path) -> tuple[tuple[str, ...], list[Explained]]:
    """Return names of channels and explanations; raises ValueError, in one line, for a file that is none."""
    try:
        with np.load(path, allow_pickle=False) as held:
            about = json.loads(str(held["facts"]))
            if about["schema_version"] != SCHEMA_VERSION or about["step_s"] != STEP_S:
                raise ValueError(f"schema version {about['schema_version']}, this code reads {SCHEMA_VERSION}")
            rows = [_row(entry, held[f"values_{i}"], len(about["ch_names"])) for i, entry in enumerate(about["rows"])]
            return tuple(about["ch_names"]), rows
    except (OSError, KeyError, TypeError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} holds no explanations: {error}") from None


def _row(entry: Mapping[str, Any], values: np.ndarray, n_chans: int) -> Explained:
    if values.ndim != 3 or len(values) != n_chans or not np.isfinite(values).all():
        raise ValueError(f"values of shape {values.shape}, or not finite, for {n_chans} channels")
    explanation = Explanation(
        **{name: entry[name] for name in _FIELDS},
        bands=tuple((float(low), float(high)) for low, high in entry["bands"]),
        values=values.astype(np.float64),
    )
    return Explained(explanation=explanation, window=entry["window"], facts=entry["facts"])
