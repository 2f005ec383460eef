"""What a run has done so far, so that a killed one can go on: what it was begun with, and a note beside each shard.

WORK/_run.json holds what decides the result; a run with anything else refuses to go on from there. WORK/_progress/
holds a note per shard, written after it: a digest of the work that it came from, and all that the manifest takes from
it; and the rows of its rejected windows. Both are removed before `_COMPLETED` is written.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from pipelines.intake.inputs import FileRef
from pipelines.runs import storage
from signals.version import code_version
from signals.windows.blocks import Block
from signals.windows.profiles import Profile

BEGUN, PROGRESS = "_run.json", "_progress"


def run_facts(
    files: Sequence[FileRef], profile: Profile, salt: str, shard_mb: float, keep: Sequence[str] = ()
) -> dict[str, str]:
    """Return what decides the bytes of a shard set; names and the salt only as keyed digests."""
    return {
        "code": code_version(),
        "profile": f"{profile.name} ({profile.config_hash})",
        "salt": hmac.new(salt.encode(), b"salt", hashlib.sha256).hexdigest(),
        "inputs": hmac.new(salt.encode(), _json([asdict(file) for file in files]), hashlib.sha256).hexdigest(),
        "shard size": f"{shard_mb:g} MB",
        "--keep": ",".join(keep),
    }


def different_facts(working: str, facts: dict[str, str]) -> list[str] | None:
    """Return the names of the facts in which a run begun there differs, or None where no run was begun."""
    try:
        begun = json.loads(storage.read_text(storage.join(working, BEGUN)))
    except FileNotFoundError:
        return None
    return [name for name, value in facts.items() if begun.get(name) != value]


def begin(working: str, facts: dict[str, str]) -> None:
    """Write down what a run is begun with."""
    storage.write_text(storage.join(working, BEGUN), json.dumps(facts, indent=1) + "\n")


def forget(working: str) -> None:
    """Remove all that only a killed run needs, and the half-written files that it left."""
    storage.delete_folder(storage.join(working, PROGRESS))
    for path in storage.list_files(working):
        if path.endswith(storage.PARTIAL):
            storage.delete(path)
    storage.delete(storage.join(working, BEGUN))


def work_digest(work: Sequence[Block]) -> str:
    """Return a digest of what a shard is made from: its blocks in order, with plans, onsets and labels."""
    return hashlib.sha256(_json([code_version(), *(asdict(block) for block in work)])).hexdigest()


def keep(working: str, shard_path: str, digest: str, result: Mapping[str, Any]) -> None:
    """Note that a shard is written whole, and what came of it."""
    storage.write_text(_note_path(working, shard_path), json.dumps({"work": digest, "result": result}))


def kept(working: str, shard_path: str, digest: str) -> dict[str, Any] | None:
    """Return what came of a shard that was written before from the same work; None where there is no such note."""
    try:
        note = json.loads(storage.read_text(_note_path(working, shard_path)))
    except FileNotFoundError:
        return None
    result: dict[str, Any] | None = note["result"] if note["work"] == digest else None
    return result


def rejected_path(working: str, shard_path: str) -> str:
    """Return where the rows of a shard's rejected windows lie until the run ends."""
    return storage.join(working, PROGRESS, f"{shard_path}.rejected.jsonl")


def faults_path(working: str, shard_path: str) -> str:
    """Return where the private rows of a shard's faults lie until the run ends."""
    return storage.join(working, PROGRESS, f"{shard_path}.faults.jsonl")


def _note_path(working: str, shard_path: str) -> str:
    return storage.join(working, PROGRESS, f"{shard_path}.json")


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, default=_plain).encode()


def _plain(value: Any) -> Any:
    """Return an array as its type, shape and digest, a number of NumPy's as Python's."""
    if isinstance(value, np.ndarray):
        return [value.dtype.str, value.shape, hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()]
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a digest cannot be taken of {type(value).__name__}")
