"""Two shard sets of one profile and salt as one: shards copied and renumbered, books and statistics joined."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipelines.intake.replay import private_rows
from pipelines.report.report import merged_facts, write_report
from pipelines.runs import storage
from pipelines.runs.publish import PRIVATE, private_folder
from pipelines.shard_sets.problem import Problem
from pipelines.shard_sets.verify import read_rows
from pipelines.stages.finish import merge_into, write_books, write_rows
from signals.shards.manifest import (
    COMPLETED,
    FILES,
    RECORDINGS,
    RUN,
    WINDOWS,
    Manifest,
    Shard,
    SubjectEntry,
    read_manifest,
    shard_name,
)
from signals.shards.tally import add_sums
from signals.windows.profiles import Profile

SUMS = ("classes", "channel_seconds", "quality", "presence")


def merge(first: Path, second: Path, output: Path) -> dict[str, Any]:
    """Write both sets as one into `output` and return its counts; neither is changed.

    A file that the first left out and the second was given again counts once, as what became of it there. Raises
    Problem where they cannot be one set, and where `output` exists.
    """
    if output.exists():
        raise Problem(f"{output} exists already; choose another output")
    sets = (first, second)
    manifests = [read_manifest(path) for path in sets]
    _check(manifests, sets)
    rows = _rows(sets)
    partial = output.with_name(output.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        shards = _copy(sets, manifests, partial)
        subjects: dict[str, SubjectEntry] = {}
        for manifest in manifests:
            merge_into(subjects, manifest.subjects)
        counts = write_books(
            str(partial),
            rows,
            shards,
            subjects,
            _sums(manifests),
            profile=Profile.from_dict(manifests[0].profile),
            salt_id=manifests[0].salt_id,
            n_side_files=sum(manifest.counts["files"]["side_files"] for manifest in manifests),
        )
        write_report(
            str(partial), merged_facts(str(partial), [json.loads((path / RUN).read_text("utf-8")) for path in sets])
        )
        storage.write_text(str(partial / COMPLETED), "")
        _write_private(sets, {row["file_id"] for row in rows[FILES]}, output)
        partial.rename(output)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return counts


def _rows(sets: Sequence[Path]) -> dict[str, list[dict[str, Any]]]:
    rows = {name: [read_rows(path / name) for path in sets] for name in (RECORDINGS, FILES, WINDOWS)}
    # What a later run was given again is not lost by the earlier one.
    again = {row["file_id"] for name in (RECORDINGS, FILES) for row in rows[name][1]}
    left = [row for row in rows[FILES][0] if row["file_id"] not in again]
    return {
        RECORDINGS: rows[RECORDINGS][0] + rows[RECORDINGS][1],
        FILES: left + rows[FILES][1],
        WINDOWS: rows[WINDOWS][0] + rows[WINDOWS][1],
    }


def _check(manifests: Sequence[Manifest], sets: Sequence[Path]) -> None:
    a, b = manifests
    for manifest, path in zip(manifests, sets, strict=True):
        if not manifest.has_accounting:
            raise Problem(f"{path} was made by a generator: it has no accounting of recordings to merge")
    for name in ("config_hash", "code_version", "salt_id"):
        if (said := getattr(a, name)) != (other := getattr(b, name)):
            raise Problem(
                f"the sets differ in {name}, {said or 'unknown'} and {other or 'unknown'}: they cannot be one"
            )
    if not a.salt_id:
        raise Problem("the sets do not say which salt they were made with: make them again")
    first, second = ({row["recording_id"] for row in read_rows(path / RECORDINGS)} for path in sets)
    if shared := sorted(first & second):
        raise Problem(f"recording {shared[0]} is in both sets, {len(shared)} in all: its windows would count twice")


def _copy(sets: Sequence[Path], manifests: Sequence[Manifest], partial: Path) -> list[Shard]:
    sites = sorted({shard.site_id for manifest in manifests for shard in manifest.shards})
    copied = []
    for site in sites:
        mine = [
            (root / shard.path, shard)
            for root, manifest in zip(sets, manifests, strict=True)
            for shard in manifest.shards
            if shard.site_id == site
        ]
        for index, (source, shard) in enumerate(mine):
            path = shard_name(site, index, len(mine))
            (partial / path).parent.mkdir(exist_ok=True)
            shutil.copyfile(source, partial / path)
            copied.append(replace(shard, path=path))
    return copied


def _sums(manifests: Sequence[Manifest]) -> dict[str, Any]:
    sums: dict[str, Any] = {}
    for manifest in manifests:
        for site, entry in manifest.counts["sites"].items():
            some = {name: entry[name] for name in SUMS if name in entry}
            sums[site] = add_sums(sums.get(site, {}), some)
    return sums


def _write_private(sets: Sequence[Path], still_out: set[str], output: Path) -> None:
    rows = {row["file_id"]: row for path in sets for row in private_rows(str(path)) if row["file_id"] in still_out}
    if rows:
        write_rows(storage.join(private_folder(str(output)), PRIVATE), list(rows.values()))
