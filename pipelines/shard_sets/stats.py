"""A shard set in a table, site by site, from its manifest alone."""

from collections.abc import Mapping
from pathlib import Path

from pipelines.runs.accounting import Counts, SiteCounts
from pipelines.shard_sets.problem import Problem
from signals.description.artifacts import KINDS
from signals.shards.manifest import read_manifest


def stats(shards_dir: Path) -> str:
    """Return a table of windows, hours, subjects, bytes, quality and artifacts by site, then of labels."""
    manifest = read_manifest(shards_dir)
    if not manifest.has_accounting:
        raise Problem(f"{shards_dir} was made by a generator: it has no accounting of files and hours to show")
    counts = Counts.from_dict(manifest.counts)
    sites = {site: entry for site, entry in counts.sites.items() if entry.windows}
    head = ["site", "files", "subjects", "windows", "hours", "MB", "shards", "quality", *KINDS]
    rows = [[site, *_row(entry)] for site, entry in sites.items()]
    labels = [[site, _labels(entry.sums.classes)] for site, entry in sites.items()]
    return "\n".join(
        [
            f"{manifest.profile['name']}, {manifest.profile['window_s']:g}-s windows, code {manifest.code_version}, "
            f"config {manifest.config_hash}",
            "",
            *_table(head, rows),
            "",
            *_table(["site", "labels"], labels),
            "",
            f"{counts.files.quarantined} of {counts.files.n_in} files left out, "
            f"{counts.windows.rejected} of {counts.windows.planned} windows rejected; "
            "quality: share of windows at 0.8 or above; artifacts: share of measured channel-seconds",
        ]
    )


def _row(entry: SiteCounts) -> list[str]:
    quality, seconds = entry.sums.quality, entry.sums.channel_seconds
    good = sum(quality[round(0.8 * len(quality)) :]) / max(1, sum(quality))
    return [
        f"{entry.files_accepted}",
        f"{entry.subjects}",
        f"{entry.windows}",
        f"{entry.hours.written:.2f}",
        f"{entry.n_bytes / 1e6:.1f}",
        f"{entry.shards}",
        f"{good:.0%}",
        *(f"{seconds.get(kind, 0) / max(1, seconds.get('all', 0)):.1%}" for kind in KINDS),
    ]


def _labels(classes: Mapping[str, int]) -> str:
    return ", ".join(f"{name or 'without'} {n}" for name, n in sorted(classes.items(), key=lambda item: -item[1]))


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = []
    for row in [head, *rows]:
        numbers = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        lines.append(
            "  ".join([row[0].ljust(widths[0]), *numbers] if len(head) > 2 else [row[0].ljust(widths[0]), row[1]])
        )
    return lines
