"""The files that an earlier run left out, as inputs of another: with their sites, subjects, labels and cards."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from pipelines.intake.inputs import FileRef, InputError, Inputs
from pipelines.runs import storage
from pipelines.runs.publish import PRIVATE, private_folder
from signals.readers.declaration import declaration_of
from signals.shards.manifest import FILES
from signals.windows.labels import UNKNOWN_SOURCE, Entry, Label, LabelTable, Origin, slug


def private_rows(shards_dir: str) -> list[dict[str, Any]]:
    """Return the private rows that belong to a shard set; empty where it has none."""
    path = storage.join(private_folder(shards_dir), PRIVATE)
    return _rows(path) if storage.exists(path) else []


def replayed_inputs(source: str, table: LabelTable | None, *, reasons: Sequence[str] = ()) -> Inputs:
    """Return the quarantined files of a run as inputs.

    `source` is the run's output (or OUTPUT.failed), its quarantine/files.jsonl, or the private list itself. Labels come
    from `table` where there is one, for a wrong label may be why a file was left out; else they are those of the run.
    Raises InputError where there is nothing to replay.
    """
    rows = _rows(_private_list(source))
    at_hand = Counter(row["reason"] for row in rows)
    if unknown := sorted(set(reasons) - set(at_hand)):
        raise InputError(f"no file was left out for {unknown[0]!r}, only for {', '.join(sorted(at_hand))}")
    chosen = [row for row in rows if not reasons or row["reason"] in reasons]
    files = sorted(map(_ref, chosen), key=lambda ref: ref.uri)
    if table:
        sites = {ref.uri: Origin((ref.site_id, slug(PurePosixPath(ref.uri).parent.name))) for ref in files}
        entries = table.match(sites)
        files = [_relabelled(ref, entries.get(ref.uri)) for ref in files]
    return Inputs(files=tuple(files), side_files=())


def _private_list(source: str) -> str:
    source = source.rstrip("/") if storage.is_remote(source) else str(Path(source).resolve())
    root = source.removesuffix(f"/{FILES}")
    is_list = root == source and storage.exists(source)
    path = source if is_list else storage.join(private_folder(root), PRIVATE)
    if not storage.exists(path):
        raise InputError(f"nothing to replay: {path} does not exist, it is written where files were quarantined")
    return path


def _rows(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in storage.read_text(path).splitlines()]


def _ref(row: dict[str, Any]) -> FileRef:
    labels = tuple(Label(**{**label, "votes": tuple(label["votes"])}) for label in row["labels"])
    return FileRef(
        uri=row["file"], site_id=row["site_id"], subject=row["subject"], mains_hz=row["mains_hz"], labels=labels,
        declared=declaration_of(row.get("declared")),
        label_source=row.get("label_source", UNKNOWN_SOURCE), file_order=row.get("file_order"),
    )  # fmt: skip


def _relabelled(ref: FileRef, entry: Entry | None) -> FileRef:
    return (
        ref
        if entry is None
        else replace(ref, subject=entry.subject, labels=entry.labels, label_source=entry.label_source)
    )
