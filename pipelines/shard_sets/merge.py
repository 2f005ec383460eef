"""Two shard sets of one profile and salt as one: shards copied and renumbered, accounting and statistics joined."""

import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines.intake.replay import private_rows
from pipelines.report.report import merged_facts, read_facts, write_report
from pipelines.runs import storage
from pipelines.runs.accounting import Accounts, Counts
from pipelines.runs.publish import PRIVATE, private_folder
from pipelines.shard_sets.problem import Problem
from pipelines.shard_sets.verify import read_rows
from pipelines.stages.finish import merge_into, write_accounting
from signals.shards.manifest import (
    COMPLETED,
    FILES,
    LABELS,
    RECORDINGS,
    WINDOWS,
    Manifest,
    Shard,
    SubjectEntry,
    read_manifest,
    shard_name,
)
from signals.shards.tally import Sums
from signals.windows.profiles import Profile


def merge(first: Path, second: Path, output: Path) -> Counts:
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
        counts = [Counts.from_dict(manifest.counts) for manifest in manifests]
        accounts = Accounts(
            accepted=rows[RECORDINGS],
            left_out=rows[FILES],
            labels=rows[LABELS],
            rejected=Counter((row["site_id"], row["reason"]) for row in rows[WINDOWS]),
            shards=shards,
            sums=_sums(counts),
            subjects=Counter(entry.site_id for entry in subjects.values()),
        )
        storage.write_rows(str(partial / WINDOWS), rows[WINDOWS])
        merged = write_accounting(
            str(partial),
            accounts,
            subjects,
            profile=Profile.from_dict(manifests[0].profile),
            salt_id=manifests[0].salt_id,
            n_side_files=sum(each.files.side_files for each in counts),
            keep=manifests[0].kept_details,
        )
        write_report(str(partial), merged_facts(str(partial), [read_facts(str(path)) for path in sets]))
        storage.write_text(str(partial / COMPLETED), "")
        _write_private(sets, {row["file_id"] for row in rows[FILES]}, output)
        partial.rename(output)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return merged


def _rows(sets: Sequence[Path]) -> dict[str, list[dict[str, Any]]]:
    rows = {name: [read_rows(path / name) for path in sets] for name in (RECORDINGS, FILES, LABELS, WINDOWS)}
    # What a later run was given again is not lost by the earlier one.
    again = {row["file_id"] for name in (RECORDINGS, FILES) for row in rows[name][1]}
    left = [row for row in rows[FILES][0] if row["file_id"] not in again]
    return {
        RECORDINGS: rows[RECORDINGS][0] + rows[RECORDINGS][1],
        FILES: left + rows[FILES][1],
        LABELS: rows[LABELS][0] + rows[LABELS][1],
        WINDOWS: rows[WINDOWS][0] + rows[WINDOWS][1],
    }


def _check(manifests: Sequence[Manifest], sets: Sequence[Path]) -> None:
    a, b = manifests
    for manifest, path in zip(manifests, sets, strict=True):
        if not manifest.has_accounting:
            raise Problem(f"{path} was made by a generator: it has no accounting of recordings to merge")
    for name in ("config_hash", "code_version", "salt_id"):
        if (mine := getattr(a, name)) != (theirs := getattr(b, name)):
            raise Problem(
                f"the sets differ in {name}, {mine or 'unknown'} and {theirs or 'unknown'}: they cannot be one"
            )
    if a.kept_details != b.kept_details:
        kept = [", ".join(each.kept_details) or "nothing" for each in (a, b)]
        raise Problem(f"the sets differ in what they keep of recordings, {kept[0]} and {kept[1]}: they cannot be one")
    if not a.salt_id:
        raise Problem("the sets do not name the salt that they were written with: write them again")
    first, second = ({row["recording_id"] for row in read_rows(path / RECORDINGS)} for path in sets)
    if shared := sorted(first & second):
        raise Problem(f"recording {shared[0]} is in both sets, {len(shared)} in all: its windows would count twice")


def _copy(sets: Sequence[Path], manifests: Sequence[Manifest], partial: Path) -> list[Shard]:
    sites = sorted({shard.site_id for manifest in manifests for shard in manifest.shards})
    copied = []
    for site in sites:
        mine = [
            (root, shard)
            for root, manifest in zip(sets, manifests, strict=True)
            for shard in manifest.shards
            if shard.site_id == site
        ]
        for index, (root, shard) in enumerate(mine):
            new = shard.renamed(shard_name(site, index, len(mine)))
            for source, path in zip(shard.files, new.files, strict=True):
                (partial / path).parent.mkdir(exist_ok=True)
                shutil.copyfile(root / source, partial / path)
            copied.append(new)
    return copied


def _sums(counts: Sequence[Counts]) -> dict[str, Sums]:
    sums: dict[str, Sums] = {}
    for each in counts:
        for site, entry in each.sites.items():
            sums[site] = sums.get(site, Sums()) + entry.sums
    return sums


def _write_private(sets: Sequence[Path], still_out: set[str], output: Path) -> None:
    rows = {row["file_id"]: row for path in sets for row in private_rows(str(path)) if row["file_id"] in still_out}
    if rows:
        storage.write_rows(storage.join(private_folder(str(output)), PRIVATE), list(rows.values()))
