"""Checkpoints that are whole or not there: written beside, fsynced, renamed; the digest is part of the name.

A state is a mapping of tensors, numbers, text and containers of them. The training loop puts in: "schema_version",
"step", "model", "optimizer", "scheduler", "scaler", "average", "halvings", "rng", "loader", "config",
"manifest_digest", "code_version".
"""

import hashlib
import io
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from signals.files import atomic_file

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 2
BEST = "best.json"


class CheckpointError(ValueError):
    """A checkpoint that cannot be used: damaged, or of another schema version."""


def save_checkpoint(
    folder: Path, state: Mapping[str, Any], *, step: int, keep: int, score: float | None = None
) -> Path:
    """Write a checkpoint atomically, delete all but the newest `keep` and the best, and return its path.

    `score` is better where it is smaller; best.json names the file that had the best one so far. On any error nothing
    but earlier checkpoints is left. Raises ValueError for `keep` below 1.
    """
    if keep < 1:
        raise ValueError(f"keep={keep} must be at least 1")
    folder.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    torch.save({"schema_version": SCHEMA_VERSION, "step": step, **state}, buffer)
    digest = hashlib.sha256(buffer.getbuffer()).hexdigest()[:16]
    path = folder / f"step-{step:08d}.{digest}.pt"
    with atomic_file(path) as file:
        file.write(buffer.getbuffer())
    _fsync_folder(folder)
    best = best_checkpoint(folder)
    if score is not None and (best is None or score < best[1]):
        best = (path, score)
        _write_best(folder, path, score)
    for old in checkpoints(folder)[:-keep]:
        if best is None or old != best[0]:
            old.unlink()
    return path


def best_checkpoint(folder: Path) -> tuple[Path, float] | None:
    """Return the checkpoint of the best score and that score; None where no score was given or its file is gone."""
    try:
        fields = json.loads((folder / BEST).read_text(encoding="utf-8"))
        path, score = folder / str(fields["file"]), float(fields["score"])
    except (OSError, ValueError, KeyError):
        return None
    return (path, score) if path.is_file() else None


def _write_best(folder: Path, path: Path, score: float) -> None:
    with atomic_file(folder / BEST) as file:
        file.write((json.dumps({"file": path.name, "score": score}) + "\n").encode())


def checkpoints(folder: Path) -> list[Path]:
    """Return the finished checkpoints of a folder, oldest step first."""
    return sorted(folder.glob("step-*.pt"))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Return a checkpoint's state; raises CheckpointError where the digest or the schema version does not hold."""
    raw = path.read_bytes()
    expected = path.name.split(".")[1]
    actual = hashlib.sha256(raw).hexdigest()[:16]
    if actual != expected:
        raise CheckpointError(f"{path} is damaged: its sha256 starts with {actual}, its name says {expected}")
    state = torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)
    if state["schema_version"] != SCHEMA_VERSION:
        raise CheckpointError(f"{path} has schema version {state['schema_version']}, this code reads {SCHEMA_VERSION}")
    return state


def load_newest(folder: Path) -> dict[str, Any] | None:
    """Return the newest checkpoint that is whole, saying which ones were not; None where there is none."""
    for path in reversed(checkpoints(folder)):
        try:
            return load_checkpoint(path)
        except CheckpointError as error:
            logger.warning("%s; falling back to the one before", error)
    return None


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
