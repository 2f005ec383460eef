"""The end of a run: quarantine, run report and manifest from what the shards and files reported, `_COMPLETED` last."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import apache_beam as beam

from pipelines.plan_files import Accepted, Quarantined
from pipelines.progress import forget
from pipelines.storage import join, write_text
from pipelines.write_shards import ShardResult
from signals.manifest import COMPLETED, MANIFEST, Manifest, SubjectEntry, manifest_json
from signals.profiles import Profile
from signals.version import code_version


@dataclass
class WriteManifest(beam.DoFn):
    """Writes everything that is known only when all shards are; yields the counts."""

    output: str
    profile: Profile
    n_files: int
    n_side_files: int
    max_quarantined: float

    def process(
        self,
        _: None,
        results: Sequence[ShardResult],
        accepted: Sequence[Accepted],
        quarantined: Sequence[Quarantined],
    ) -> Iterator[dict[str, Any]]:
        """Yield the run's counts; `_COMPLETED` is written only if they allow it."""
        counts = run_counts(results, accepted, quarantined, n_files=self.n_files, n_side_files=self.n_side_files)
        _write_rows(join(self.output, "quarantine", "files.jsonl"), [asdict(row) for row in quarantined])
        _write_rows(
            join(self.output, "quarantine", "windows.jsonl"),
            [asdict(row) for result in results for row in result.rejected],
        )
        _write_rows(join(self.output, "recordings.jsonl"), [asdict(row) for row in accepted])
        manifest = Manifest(
            modality=self.profile.signal,
            profile=self.profile.to_dict(),
            config_hash=self.profile.config_hash,
            code_version=code_version(),
            shards=tuple(sorted((r.shard for r in results if r.shard), key=lambda shard: shard.path)),
            subjects=merge_subjects(results),
            counts=counts,
        )
        write_text(join(self.output, MANIFEST), manifest_json(manifest))
        if complaint(counts, self.max_quarantined) is None:
            forget(self.output)
            write_text(join(self.output, COMPLETED), "")
        yield counts


def run_counts(
    results: Sequence[ShardResult],
    accepted: Sequence[Accepted],
    quarantined: Sequence[Quarantined],
    *,
    n_files: int,
    n_side_files: int,
) -> dict[str, Any]:
    """Return the books of a run; raises RuntimeError if files or windows are unaccounted for."""
    shards = [result.shard for result in results if result.shard]
    rejected = [row for result in results for row in result.rejected]
    n_planned = sum(row.n_windows for row in accepted)
    n_written = sum(shard.n_windows for shard in shards)
    if len(accepted) + len(quarantined) != n_files:
        raise RuntimeError(
            f"{n_files} files went in, {len(accepted)} accepted + {len(quarantined)} quarantined came out"
        )
    if n_written + len(rejected) != n_planned:
        raise RuntimeError(f"{n_planned} windows were planned, {n_written} written + {len(rejected)} rejected came out")
    flagged: Counter[str] = Counter()
    for result in results:
        flagged.update(result.flagged_seconds)
    sites = sorted({row.site_id for row in accepted} | {row.site_id for row in quarantined})
    return {
        "files": {
            "in": n_files,
            "accepted": len(accepted),
            "quarantined": len(quarantined),
            "side_files": n_side_files,
            "by_reason": _sorted(Counter(row.reason for row in quarantined)),
        },
        "windows": {
            "planned": n_planned,
            "written": n_written,
            "rejected": len(rejected),
            "by_reason": _sorted(Counter(row.reason for row in rejected)),
        },
        "hours_in": round(sum(sorted(row.hours for row in accepted)), 6),
        "bytes": sum(shard.n_bytes for shard in shards),
        "channel_seconds": _sorted(flagged),
        "sites": {site: _site_counts(site, results, accepted, quarantined) for site in sites},
    }


def complaint(counts: dict[str, Any], max_quarantined: float) -> str | None:
    """Return in one line why a run must not count as completed, or None."""
    files, windows = counts["files"], counts["windows"]
    if windows["written"] == 0:
        reasons = ", ".join(f"{n} {reason}" for reason, n in (files["by_reason"] | windows["by_reason"]).items())
        return f"no window was written: {files['quarantined']} of {files['in']} files quarantined ({reasons})"
    share = files["quarantined"] / files["in"]
    if share > max_quarantined:
        reasons = ", ".join(f"{n} {reason}" for reason, n in files["by_reason"].items())
        return f"{share:.1%} of the files were quarantined, --max-quarantined allows {max_quarantined:.1%} ({reasons})"
    return None


def merge_subjects(results: Sequence[ShardResult]) -> dict[str, SubjectEntry]:
    """Return one entry a subject, merged over the shards in order of their paths."""
    merged: dict[str, SubjectEntry] = {}
    for result in sorted(results, key=lambda r: r.shard.path if r.shard else ""):
        for subject, entry in result.subjects.items():
            known = merged.get(subject)
            merged[subject] = entry if known is None else _merge(known, entry)
    return merged


def _merge(a: SubjectEntry, b: SubjectEntry) -> SubjectEntry:
    return SubjectEntry(
        site_id=a.site_id,
        n_windows=a.n_windows + b.n_windows,
        recording_ids=tuple(sorted({*a.recording_ids, *b.recording_ids})),
        moments=a.moments.merge(b.moments),
    )


def _site_counts(
    site_id: str, results: Sequence[ShardResult], accepted: Sequence[Accepted], quarantined: Sequence[Quarantined]
) -> dict[str, Any]:
    rows = [row for row in accepted if row.site_id == site_id]
    return {
        "files_accepted": len(rows),
        "files_quarantined": sum(row.site_id == site_id for row in quarantined),
        "hours": round(sum(sorted(row.hours for row in rows)), 6),
        "windows": sum(r.shard.n_windows for r in results if r.shard and r.shard.site_id == site_id),
        "windows_rejected": sum(row.site_id == site_id for r in results for row in r.rejected),
        "native_sfreqs": sorted({row.native_sfreq for row in rows}),
        "mains_hz": sorted({row.mains_hz for row in rows if row.mains_hz is not None}),
        "readers": sorted({row.reader for row in rows}),
        "notes": _sorted(Counter(note for row in rows for note in row.notes)),
    }


def _sorted(counter: Counter[str]) -> dict[str, int]:
    return dict(sorted(counter.items()))


def _write_rows(path: str, rows: list[dict[str, Any]]) -> None:
    write_text(path, "".join(sorted(json.dumps(row, sort_keys=True, ensure_ascii=False) + "\n" for row in rows)))
