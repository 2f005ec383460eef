"""The end of a run: shards renumbered, quarantine, accounting, manifest and run report written, `_COMPLETED` last."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pipelines.report.report import run_facts, write_report
from pipelines.report.traces import Example
from pipelines.runs import storage
from pipelines.runs.accounting import COPY, Accounts, Counts, complaint, run_counts
from pipelines.runs.progress import faults_path, forget, rejected_path
from pipelines.runs.publish import PRIVATE, PRIVATE_LABELS, PRIVATE_WINDOWS, private_folder
from pipelines.runs.storage import join, write_rows, write_text
from pipelines.stages.outcome import Refused
from pipelines.stages.plan_files import Accepted
from pipelines.stages.write_shards import ShardResult
from signals.description.describers import describer_of
from signals.shards.manifest import (
    COMPLETED,
    FILES,
    LABELS,
    MANIFEST,
    RECORDINGS,
    WINDOWS,
    Manifest,
    Shard,
    SubjectEntry,
    manifest_json,
    shard_name,
)
from signals.shards.tally import Sums
from signals.version import code_version
from signals.windows.profiles import Profile


@dataclass(frozen=True, kw_only=True)
class Finish:
    """Writes everything that is known only when all shards are."""

    output: str
    profile: Profile
    n_files: int
    n_side_files: int
    max_quarantined: float
    salt_id: str
    shard_mb: float
    keep: tuple[str, ...] = ()
    """Details that were requested to be kept."""
    site_from: str = ""
    carded_sites: tuple[str, ...] = ()
    """Sites whose names came with a card."""
    completes: bool = False
    """Whether `_COMPLETED` is written here, as the last file of a set that nobody touches afterwards; else whoever
    started the run writes it, behind the timings."""

    def __call__(
        self,
        results: Sequence[ShardResult],
        accepted: Sequence[Accepted],
        refused: Sequence[Refused],
        examples: Sequence[Example],
    ) -> Counts:
        """Return the run's accounting; the set is complete only if that allows it.

        `accepted` are the files that are used, `refused` the files and labels that are not.
        """
        n_refused = sum(row.level == "file" for row in refused)
        if len(accepted) + n_refused != self.n_files:
            raise RuntimeError(f"{self.n_files} files went in, {len(accepted)} used + {n_refused} refused came out")
        join_rows(self.output, results, refused)
        accounts, subjects = _accounts(self.output, results, accepted, refused)
        counts = write_accounting(
            self.output, accounts, subjects, profile=self.profile, salt_id=self.salt_id,
            n_side_files=self.n_side_files, keep=self.keep,
        )  # fmt: skip
        why = complaint(counts, self.max_quarantined)
        options: dict[str, Any] = {"shard_mb": self.shard_mb, "max_quarantined": self.max_quarantined}
        options["site_from"] = self.site_from.partition(":")[0] or "hash"
        if self.carded_sites:
            options["carded_sites"] = self.carded_sites
        write_report(self.output, run_facts(self.output, complaint=why, options=options, examples=examples))
        if why is None:
            forget(self.output)
            if self.completes:
                write_text(join(self.output, COMPLETED), "")
        return counts


class Written(Protocol):
    """What a worker reports of one file of windows: a shard, or a table of answers."""

    @property
    def name(self) -> str:
        """The file's path as it was planned."""

    @property
    def rejected(self) -> dict[str, int]:
        """Windows that were rejected, by reason."""

    @property
    def has_faults(self) -> bool:
        """Whether there are private rows of them."""


def join_rows(output: str, results: Sequence[Written], refused: Sequence[Refused]) -> None:
    """Write the rows of rejected windows, which workers left in files of their own, and the private lists."""
    written = sorted(results, key=lambda result: result.name)
    storage.join_files(join(output, WINDOWS), [rejected_path(output, one.name) for one in written if one.rejected])
    private = private_folder(output)
    storage.delete_folder(private)  # of a killed run
    files = [row for row in refused if row.level == "file" and row.reason != COPY]
    labels = [row for row in refused if row.level == "label"]
    for name, rows in ((PRIVATE, files), (PRIVATE_LABELS, labels)):
        if rows:
            write_rows(join(private, name), [row.private_row() for row in rows])
    if faults := [faults_path(output, one.name) for one in written if one.has_faults]:
        storage.join_files(join(private, PRIVATE_WINDOWS), faults)


def _accounts(
    root: str, results: Sequence[ShardResult], accepted: Sequence[Accepted], refused: Sequence[Refused]
) -> tuple[Accounts, dict[str, SubjectEntry]]:
    """Return what the stages left behind, shards renumbered, and an entry per subject."""
    sums, rejected = dict[str, Sums](), Counter[tuple[str, str]]()
    for result in results:
        sums[result.site_id] = sums.get(result.site_id, Sums()) + result.sums
        rejected.update({(result.site_id, reason): n for reason, n in result.rejected.items()})
    subjects = merge_subjects(results)
    accounts = Accounts(
        accepted=[row.to_row() for row in accepted],
        left_out=[row.public_row() for row in refused if row.level == "file"],
        labels=[row.public_row() for row in refused if row.level == "label"],
        rejected=rejected,
        shards=renumber(root, [result.shard for result in results if result.shard]),
        sums=sums,
        subjects=Counter(entry.site_id for entry in subjects.values()),
    )
    return accounts, subjects


def write_accounting(
    root: str,
    accounts: Accounts,
    subjects: Mapping[str, SubjectEntry],
    *,
    profile: Profile,
    salt_id: str,
    n_side_files: int,
    keep: tuple[str, ...] = (),
) -> Counts:
    """Write manifest.json and the rows of files and labels that it counts; return the counts."""
    counts = run_counts(accounts, n_side_files=n_side_files, window_s=profile.window_s)
    manifest = Manifest(
        modality=profile.signal,
        profile=profile.to_dict(),
        config_hash=profile.config_hash,
        code_version=code_version(),
        shards=tuple(sorted(accounts.shards, key=lambda shard: shard.path)),
        subjects=dict(subjects),
        counts=counts.to_dict(),
        features=describer_of(profile.signal).features,
        salt_id=salt_id,
        kept_details=keep,
    )
    write_rows(join(root, RECORDINGS), accounts.accepted)
    write_rows(join(root, FILES), accounts.left_out)
    write_rows(join(root, LABELS), accounts.labels)
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
            new = shard.renamed(shard_name(site, index, len(mine)))
            for old_path, path in zip(shard.files, new.files, strict=True):
                if path != old_path and storage.exists(join(root, old_path)):
                    storage.rename(join(root, old_path), join(root, path))
            renamed.append(new)
    return renamed


def merge_subjects(results: Sequence[ShardResult]) -> dict[str, SubjectEntry]:
    """Return one entry per subject, merged over the shards in order of their paths."""
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
