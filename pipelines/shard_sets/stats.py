"""A shard set in a table, site by site, from its manifest alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipelines.runs.accounting import Counts, SiteCounts
from pipelines.shard_sets.problem import Problem
from signals.description.artifacts import KINDS
from signals.shards.manifest import read_manifest


@dataclass(frozen=True, kw_only=True)
class SiteStats:
    """A site's row."""

    site: str
    files: int
    subjects: int
    windows: int
    hours: float
    n_bytes: int
    shards: int
    quality: float
    """Share of windows at 0.8 or above."""
    artifacts: dict[str, float]
    """Share of measured channel-seconds by kind."""
    labels: dict[str, int]
    """Windows by label, "" without one; the most frequent first."""


@dataclass(frozen=True, kw_only=True)
class SetStats:
    """A shard set in numbers."""

    profile: str
    window_s: float
    code_version: str
    config_hash: str
    sites: tuple[SiteStats, ...]
    files_in: int
    files_quarantined: int
    windows_planned: int
    windows_rejected: int


def stats_of(shards_dir: Path) -> SetStats:
    """Return windows, hours, subjects, bytes, quality, artifacts and labels by site; raises Problem where there are
    none."""
    manifest = read_manifest(shards_dir)
    if not manifest.has_accounting:
        raise Problem(f"{shards_dir} was made by a generator: it has no accounting of files and hours to show")
    counts = Counts.from_dict(manifest.counts)
    return SetStats(
        profile=manifest.profile["name"], window_s=manifest.profile["window_s"], code_version=manifest.code_version,
        config_hash=manifest.config_hash,
        sites=tuple(_site(site, entry) for site, entry in counts.sites.items() if entry.windows),
        files_in=counts.files.n_in, files_quarantined=counts.files.quarantined,
        windows_planned=counts.windows.planned, windows_rejected=counts.windows.rejected,
    )  # fmt: skip


def stats(shards_dir: Path) -> str:
    """Return a table of windows, hours, subjects, bytes, quality and artifacts by site, then of labels."""
    known = stats_of(shards_dir)
    head = ["site", "files", "subjects", "windows", "hours", "MB", "shards", "quality", *KINDS]
    rows = [_row(one) for one in known.sites]
    labels = [[one.site, _labels(one.labels)] for one in known.sites]
    return "\n".join(
        [
            f"{known.profile}, {known.window_s:g}-s windows, code {known.code_version}, config {known.config_hash}",
            "",
            *_table(head, rows),
            "",
            *_table(["site", "labels"], labels),
            "",
            f"{known.files_quarantined} of {known.files_in} files left out, "
            f"{known.windows_rejected} of {known.windows_planned} windows rejected; "
            "quality: share of windows at 0.8 or above; artifacts: share of measured channel-seconds",
        ]
    )


def _site(site: str, entry: SiteCounts) -> SiteStats:
    quality, seconds = entry.sums.quality, entry.sums.channel_seconds
    return SiteStats(
        site=site, files=entry.files_accepted, subjects=entry.subjects, windows=entry.windows,
        hours=entry.hours.written, n_bytes=entry.n_bytes, shards=entry.shards,
        quality=sum(quality[round(0.8 * len(quality)) :]) / max(1, sum(quality)),
        artifacts={kind: seconds.get(kind, 0) / max(1, seconds.get("all", 0)) for kind in KINDS},
        labels=dict(sorted(entry.sums.classes.items(), key=lambda item: -item[1])),
    )  # fmt: skip


def _row(one: SiteStats) -> list[str]:
    return [
        one.site,
        f"{one.files}",
        f"{one.subjects}",
        f"{one.windows}",
        f"{one.hours:.2f}",
        f"{one.n_bytes / 1e6:.1f}",
        f"{one.shards}",
        f"{one.quality:.0%}",
        *(f"{share:.1%}" for share in one.artifacts.values()),
    ]


def _labels(classes: Mapping[str, int]) -> str:
    return ", ".join(f"{name or 'without'} {n}" for name, n in classes.items())


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = []
    for row in [head, *rows]:
        numbers = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        lines.append(
            "  ".join([row[0].ljust(widths[0]), *numbers] if len(head) > 2 else [row[0].ljust(widths[0]), row[1]])
        )
    return lines
