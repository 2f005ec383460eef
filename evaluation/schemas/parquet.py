"""Parquet files that name their kind: a table, and one JSON entry in its metadata with kind and schema version."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from signals.files import atomic_file

SCHEMA_VERSION = 1
_META_KEY = b"cerebeam"


def write_parquet(path: Path, table: pa.Table, *, kind: str, meta: dict[str, Any]) -> None:
    """Write a table and its metadata, beside the place first and then renamed: a reader never sees half a file."""
    entry = {"schema_version": SCHEMA_VERSION, "kind": kind, **meta}
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), _META_KEY: json.dumps(entry).encode()})
    with atomic_file(path) as file:
        pq.write_table(table, file)


def read_parquet(path: Path, *, kind: str) -> tuple[pa.Table, dict[str, Any]]:
    """Return a table and its metadata; raises ValueError for a file of another kind or schema version."""
    table = pq.read_table(path)
    raw = (table.schema.metadata or {}).get(_META_KEY)
    if raw is None:
        raise ValueError(f"{path} is not a {kind} file: its metadata has no {_META_KEY.decode()!r} entry")
    meta = json.loads(raw)
    stated = meta.get("kind", "predictions")  # the first predictions files had no kind
    if stated != kind:
        raise ValueError(f"{path} holds {stated}, not {kind}")
    if meta["schema_version"] != SCHEMA_VERSION:
        raise ValueError(f"{path} has schema version {meta['schema_version']}, this code reads {SCHEMA_VERSION}")
    return table, meta
