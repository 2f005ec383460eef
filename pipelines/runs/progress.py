"""What a run has done so far, so that a killed one can go on: what it was begun with, and a note beside each shard.

WORK/_run.json says what decides the result; a run with anything else refuses to go on from there. WORK/_progress/ holds
a note a shard, written after it: a digest of the work that it came from, and all that the manifest takes from it. Both
are removed before `_COMPLETED` is written.
"""

import base64
import hashlib
import hmac
import json
import types
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from pipelines.intake.inputs import FileRef
from pipelines.runs import storage
from signals.version import code_version
from signals.windows.profiles import Profile

BEGUN, PROGRESS = "_run.json", "_progress"
T = TypeVar("T")


def run_facts(files: Sequence[FileRef], profile: Profile, salt: str, shard_mb: float) -> dict[str, str]:
    """Return what decides the bytes of a shard set; names and the salt only as keyed digests."""
    return {
        "code": code_version(),
        "profile": f"{profile.name} ({profile.config_hash})",
        "salt": hmac.new(salt.encode(), b"salt", hashlib.sha256).hexdigest(),
        "inputs": hmac.new(salt.encode(), _json([to_plain(file) for file in files]), hashlib.sha256).hexdigest(),
        "shard size": f"{shard_mb:g} MB",
    }


def other_facts(working: str, facts: dict[str, str]) -> list[str] | None:
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


def work_digest(work: Sequence[Any]) -> str:
    """Return a digest of what a shard is made from: its blocks in order, with plans, onsets and labels."""
    return hashlib.sha256(_json([code_version(), to_plain(work)])).hexdigest()


def keep(working: str, shard_path: str, digest: str, result: Any) -> None:
    """Note that a shard is written whole, and what came of it."""
    note = json.dumps({"work": digest, "result": to_plain(result)})
    storage.write_text(_note_path(working, shard_path), note)


def kept(working: str, shard_path: str, digest: str, kind: type[T]) -> T | None:
    """Return what came of a shard that was written before from the same work; None where there is no such note."""
    try:
        note = json.loads(storage.read_text(_note_path(working, shard_path)))
    except FileNotFoundError:
        return None
    result: T | None = from_plain(kind, note["result"]) if note["work"] == digest else None
    return result


def _note_path(working: str, shard_path: str) -> str:
    return storage.join(working, PROGRESS, f"{shard_path}.json")


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


def to_plain(value: Any) -> Any:
    """Return dataclasses, tuples, dicts and arrays as what JSON knows, nothing lost; `from_plain` undoes it."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, np.ndarray):
        data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
        return {"array": [value.dtype.str, list(value.shape), data]}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {"dict": [[to_plain(key), to_plain(item)] for key, item in value.items()]}
    if isinstance(value, tuple):
        return {"tuple": [to_plain(item) for item in value]}
    if isinstance(value, list):
        return [to_plain(item) for item in value]
    if value is None or isinstance(value, str | int | float):
        return value
    raise TypeError(f"a note cannot hold {type(value).__name__}")


def from_plain(kind: Any, value: Any) -> Any:
    """Return the value that `to_plain` made plain; `kind`, a type or Any, is asked for dataclasses only."""
    args = [arg for arg in get_args(kind) if arg is not type(None)]
    if get_origin(kind) in (Union, types.UnionType):
        return None if value is None else from_plain(args[0], value)
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        return kind(**{field.name: from_plain(hints[field.name], value[field.name]) for field in fields(kind)})  # type: ignore[operator]
    if isinstance(value, list):
        return [from_plain(args[0] if args else Any, item) for item in value]
    if not isinstance(value, dict):
        return value
    ((tag, content),) = value.items()
    if tag == "array":
        dtype, shape, data = content
        return np.frombuffer(base64.b64decode(data), dtype).reshape(shape).copy()
    if tag == "dict":
        of_key, of_item = args or (Any, Any)
        return {from_plain(of_key, key): from_plain(of_item, item) for key, item in content}
    kinds = args if args and ... not in args else [args[0] if args else Any] * len(content)
    return tuple(from_plain(one, item) for one, item in zip(kinds, content, strict=True))
