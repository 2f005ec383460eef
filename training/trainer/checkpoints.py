"""Checkpoints that are whole or not there, in a local folder or at any URI of an object store.

A file is written beside, fsynced and renamed (an object store takes it whole or not at all); its digest is part of its
name. A state is a mapping of tensors, numbers, text and containers of them; the training loop puts in:
"schema_version", "step", "model", "optimizer", "scheduler", "scaler", "average", "halvings", "rng", "loader", "config",
"manifest_digest", "code_version". Of a model that processes share (`training.parallel.sharding`), each writes a file of
its slices, and the main process names all of them in its own: a checkpoint is whole where all are.
"""

import hashlib
import io
import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from training.corpus import storage
from training.corpus.storage import URI
from training.parallel.sharding import joined

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 2
BEST = "best.json"
SUFFIX, SLICES = ".pt", ".slices"


class CheckpointError(ValueError):
    """A checkpoint that cannot be used: damaged, incomplete, or of another schema version."""


class VersionError(CheckpointError):
    """A checkpoint of another schema version, which is whole: nothing older is taken in its place."""


def packed(state: Mapping[str, Any], *, step: int) -> tuple[bytes, str]:
    """Return a state as the bytes of a file, and their digest."""
    buffer = io.BytesIO()
    torch.save({"schema_version": SCHEMA_VERSION, "step": step, **state}, buffer)
    raw = buffer.getvalue()
    return raw, hashlib.sha256(raw).hexdigest()[:16]


def slices_name(step: int, rank: int, digest: str) -> str:
    """Return the name of a process's file of slices."""
    return f"step-{step:08d}.{rank:05d}.{digest}{SLICES}"


def save_checkpoint(folder: URI, state: Mapping[str, Any], *, step: int, keep: int, score: float | None = None) -> str:
    """Write a checkpoint atomically, delete all but the newest `keep` and the best, and return its URI.

    `score` is better where it is smaller; best.json names the file that had the best one so far. On any error nothing
    but earlier checkpoints is left. Raises ValueError for `keep` below 1.
    """
    if keep < 1:
        raise ValueError(f"keep={keep} must be at least 1")
    raw, digest = packed(state, step=step)
    uri = storage.join(folder, f"step-{step:08d}.{digest}{SUFFIX}")
    write(uri, raw)
    best = best_checkpoint(folder)
    if score is not None and (best is None or score < best[1]):
        best = (uri, score)
        fields = {"file": name_of(uri), "score": score}
        storage.write_bytes(storage.join(folder, BEST), (json.dumps(fields) + "\n").encode())
    _prune(folder, keep, None if best is None else best[0])
    return uri


def write(uri: str, raw: bytes) -> None:
    """Write a file that is there whole or not at all, also after a power cut."""
    storage.write_bytes(uri, raw)
    if not storage.is_remote(uri):
        _fsync_folder(storage.local_path(uri).parent)


def _prune(folder: URI, keep: int, best: str | None) -> None:
    """Delete what is neither among the newest nor the best, and slices that belong to nothing that stays."""
    files = checkpoints(folder)
    stay = {step_of(uri) for uri in (*files[-keep:], *([best] if best else []))}
    newest = max(stay)
    for uri in storage.list_files(folder):
        if uri.endswith((SUFFIX, SLICES)) and step_of(uri) not in stay and step_of(uri) < newest:
            storage.remove(uri)


def best_checkpoint(folder: URI) -> tuple[str, float] | None:
    """Return the checkpoint of the best score and that score; None where no score was given or its file is gone."""
    try:
        fields = json.loads(storage.read_bytes(storage.join(folder, BEST)))
        uri, score = storage.join(folder, str(fields["file"])), float(fields["score"])
    except (OSError, ValueError, KeyError):
        return None
    return (uri, score) if storage.exists(uri) else None


def checkpoints(folder: URI) -> list[str]:
    """Return the finished checkpoints of a folder, oldest step first."""
    return [uri for uri in storage.list_files(folder) if name_of(uri).startswith("step-") and uri.endswith(SUFFIX)]


def name_of(uri: str) -> str:
    """Return the name of a file without its folder."""
    return uri.rpartition("/")[2]


def step_of(uri: str) -> int:
    """Return the step that a checkpoint's name gives; -1 where it gives none."""
    first = name_of(uri).split(".")[0].removeprefix("step-")
    return int(first) if first.isdigit() else -1


def load_checkpoint(uri: URI) -> dict[str, Any]:
    """Return a checkpoint's state, whole; raises CheckpointError where a digest or the schema version does not hold."""
    state = _read(str(uri))
    names: Sequence[str] = state.pop("slices", ())
    if not names:
        return state
    folder = str(uri).rpartition("/")[0]
    try:
        parts = [_read(storage.join(folder, name)) for name in names]
    except FileNotFoundError as error:
        raise CheckpointError(f"{uri} is not complete: {error.filename or error} is missing") from error
    return {**state, **joined(parts)}


def _read(uri: str) -> dict[str, Any]:
    raw = storage.read_bytes(uri)
    expected, actual = name_of(uri).split(".")[-2], hashlib.sha256(raw).hexdigest()[:16]
    if actual != expected:
        raise CheckpointError(f"{uri} is damaged: its sha256 starts with {actual}, its name says {expected}")
    state: dict[str, Any] = torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)
    if state["schema_version"] != SCHEMA_VERSION:
        raise VersionError(
            f"{uri} has schema version {state['schema_version']}, this code reads {SCHEMA_VERSION}: go on with the "
            "code that wrote it, or choose another --output"
        )
    return state


def load_newest(folder: URI) -> dict[str, Any] | None:
    """Return the newest checkpoint that is whole, saying which ones were not; None where there is none.

    Raises VersionError for one of another schema version.
    """
    for uri in reversed(checkpoints(folder)):
        try:
            return load_checkpoint(uri)
        except VersionError:
            raise
        except CheckpointError as error:
            logger.warning("%s; falling back to the one before", error)
    return None


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
