"""The files that an earlier run left out, as inputs of another: with their sites, persons and labels."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from pipelines.intake.inputs import FileRef, InputError, Inputs
from pipelines.runs import storage
from pipelines.runs.publish import PRIVATE, private_folder
from signals.shards.manifest import FILES
from signals.windows.labels import Label, LabelTable


def private_rows(shards_dir: str) -> list[dict[str, Any]]:
    """Return the private rows that belong to a shard set; empty where it has none."""
    path = storage.join(private_folder(shards_dir), PRIVATE)
    return _rows(path) if storage.exists(path) else []


def replayed_inputs(given: str, table: LabelTable | None, *, reasons: Sequence[str] = ()) -> Inputs:
    """Return the quarantined files of a run as inputs.

    `given` is the run's output (or OUTPUT.failed), its quarantine/files.jsonl, or the private list itself. Labels come
    from `table` where there is one, for a wrong label may be why a file was left out; else they are those of the run.
    Raises InputError where there is nothing to replay.
    """
    rows = _rows(_private_list(given))
    at_hand = Counter(row["reason"] for row in rows)
    if unknown := sorted(set(reasons) - set(at_hand)):
        raise InputError(f"no file was left out for {unknown[0]!r}, only for {', '.join(sorted(at_hand))}")
    chosen = [row for row in rows if not reasons or row["reason"] in reasons]
    files = sorted((_ref(row, table) for row in chosen), key=lambda ref: ref.uri)
    return Inputs(files=tuple(files), side_files=())


def _private_list(given: str) -> str:
    given = given.rstrip("/") if storage.is_remote(given) else str(Path(given).resolve())
    root = given.removesuffix(f"/{FILES}")
    is_list = root == given and storage.exists(given)
    path = given if is_list else storage.join(private_folder(root), PRIVATE)
    if not storage.exists(path):
        raise InputError(f"nothing to replay: {path} does not exist, it is written where files were quarantined")
    return path


def _rows(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in storage.read_text(path).splitlines()]


def _ref(row: dict[str, Any], table: LabelTable | None) -> FileRef:
    named = {field.name: row[field.name] for field in fields(FileRef) if field.name in row}
    labels = tuple(Label(**{**label, "votes": tuple(label["votes"])}) for label in row["labels"])
    ref = FileRef(**{**named, "uri": row["file"], "labels": labels})
    entry = table.of(ref.uri, ref.site_id) if table else None
    if entry is None:
        return ref
    return replace(ref, site_id=entry.site or ref.site_id, subject=entry.subject, labels=entry.labels)
