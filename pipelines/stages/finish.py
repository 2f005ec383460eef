"""The end of a run: shards renumbered, quarantine, books, manifest and run report written, `_COMPLETED` last."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import apache_beam as beam

from pipelines.report.report import run_facts, write_report
from pipelines.runs import storage
from pipelines.runs.accounting import complaint, run_counts
from pipelines.runs.progress import forget
from pipelines.runs.publish import PRIVATE, private_folder
from pipelines.runs.storage import join, write_text
from pipelines.stages.example_traces import Example
from pipelines.stages.plan_files import Accepted, Quarantined
from pipelines.stages.write_shards import ShardResult
from signals.shards.manifest import (
    COMPLETED,
    FILES,
    MANIFEST,
    RECORDINGS,
    WINDOWS,
    Manifest,
    Shard,
    SubjectEntry,
    manifest_json,
    shard_name,
)
from signals.shards.tally import add_sums
from signals.version import code_version
from signals.windows.profiles import Profile


@dataclass
class WriteManifest(beam.DoFn):
    """Writes everything that is known only when all shards are; yields the counts."""

    output: str
    profile: Profile
    n_files: int
    n_side_files: int
    max_quarantined: float
    salt_id: str
    shard_mb: float

    def process(
        self,
        _: None,
        results: Sequence[ShardResult],
        accepted: Sequence[Accepted],
        quarantined: Sequence[Quarantined],
        examples: Sequence[Example],
    ) -> Iterator[dict[str, Any]]:
        """Yield the run's counts; `_COMPLETED` is written only if they allow it."""
        if len(accepted) + len(quarantined) != self.n_files:
            out = f"{len(accepted)} accepted + {len(quarantined)} quarantined came out"
            raise RuntimeError(f"{self.n_files} files went in, {out}")
        shards = renumber(self.output, [result.shard for result in results if result.shard])
        subjects = merge_subjects(results)
        sums: dict[str, Any] = {}
        for result in results:
            if result.shard:
                sums[result.shard.site_id] = add_sums(sums.get(result.shard.site_id, {}), result.sums)
        rows = {
            RECORDINGS: [asdict(row) for row in accepted],
            FILES: [public_row(row) for row in quarantined],
            WINDOWS: [asdict(row) for result in results for row in result.rejected],
        }
        counts = write_books(
            self.output, rows, shards, subjects, sums,
            profile=self.profile, salt_id=self.salt_id, n_side_files=self.n_side_files,
        )  # fmt: skip
        private = private_folder(self.output)
        storage.delete_folder(private)  # of a killed run
        if quarantined:
            write_rows(join(private, PRIVATE), [private_row(row) for row in quarantined])
        why = complaint(counts, self.max_quarantined)
        options = {"shard_mb": self.shard_mb, "max_quarantined": self.max_quarantined}
        write_report(self.output, run_facts(self.output, complaint=why, options=options, examples=examples))
        if why is None:
            forget(self.output)
            write_text(join(self.output, COMPLETED), "")
        yield counts


def write_books(
    root: str,
    rows: Mapping[str, Sequence[dict[str, Any]]],
    shards: Sequence[Shard],
    subjects: Mapping[str, SubjectEntry],
    sums: Mapping[str, Any],
    *,
    profile: Profile,
    salt_id: str,
    n_side_files: int,
) -> dict[str, Any]:
    """Write manifest.json and the rows it counts (by file name: RECORDINGS, FILES, WINDOWS); return the counts."""
    persons: dict[str, int] = {}
    for entry in subjects.values():
        persons[entry.site_id] = persons.get(entry.site_id, 0) + 1
    counts = run_counts(
        accepted=rows[RECORDINGS], quarantined=rows[FILES], rejected=rows[WINDOWS], shards=shards, sums=sums,
        subjects=persons, n_side_files=n_side_files, window_s=profile.window_s,
    )  # fmt: skip
    manifest = Manifest(
        modality=profile.signal,
        profile=profile.to_dict(),
        config_hash=profile.config_hash,
        code_version=code_version(),
        shards=tuple(sorted(shards, key=lambda shard: shard.path)),
        subjects=dict(subjects),
        counts=counts,
        salt_id=salt_id,
    )
    for name, some in rows.items():
        write_rows(join(root, name), some)
    write_text(join(root, MANIFEST), manifest_json(manifest))
    return counts


def renumber(root: str, shards: Sequence[Shard]) -> list[Shard]:
    """Rename shards so that each site's are numbered without a gap, and return them under their new names.

    A shard whose windows were all rejected, or that no block fell into, leaves a hole in the numbers. Where there is
    one, the total in every name of the site changes too, so no new name is an old one, and a second try after a crash
    finds each file under one of both.
    """
    renamed = []
    for site in sorted({shard.site_id for shard in shards}):
        mine = sorted((shard for shard in shards if shard.site_id == site), key=lambda shard: shard.path)
        for index, shard in enumerate(mine):
            path = shard_name(site, index, len(mine))
            if path != shard.path and storage.exists(join(root, shard.path)):
                storage.rename(join(root, shard.path), join(root, path))
            renamed.append(replace(shard, path=path))
    return renamed


def merge_subjects(results: Sequence[ShardResult]) -> dict[str, SubjectEntry]:
    """Return one entry a subject, merged over the shards in order of their paths."""
    merged: dict[str, SubjectEntry] = {}
    for result in sorted(results, key=lambda r: r.shard.path if r.shard else ""):
        merge_into(merged, result.subjects)
    return merged


def merge_into(merged: dict[str, SubjectEntry], more: Mapping[str, SubjectEntry]) -> None:
    """Add entries of subjects to those at hand."""
    for subject, entry in more.items():
        known = merged.get(subject)
        merged[subject] = entry if known is None else _merge(known, entry)


def _merge(a: SubjectEntry, b: SubjectEntry) -> SubjectEntry:
    return SubjectEntry(
        site_id=a.site_id,
        n_windows=a.n_windows + b.n_windows,
        recording_ids=tuple(sorted({*a.recording_ids, *b.recording_ids})),
        moments=a.moments.merge(b.moments),
    )


def public_row(row: Quarantined) -> dict[str, Any]:
    """Return what the shard set says of a file that was not used: neither its path nor anything out of it."""
    return {"file_id": row.file_id, "site_id": row.site_id, "reason": row.reason, "hours": row.hours}


def private_row(row: Quarantined) -> dict[str, Any]:
    """Return all that a replay needs, and a person who repairs the file."""
    ref = asdict(row.ref)
    return {"file": ref.pop("uri"), **ref, "file_id": row.file_id, "reason": row.reason, "detail": row.detail}


def write_rows(path: str, rows: Sequence[dict[str, Any]]) -> None:
    """Write a JSON object a line, sorted, so that the order of bundles does not show."""
    write_text(path, "".join(sorted(json.dumps(row, sort_keys=True, ensure_ascii=False) + "\n" for row in rows)))
