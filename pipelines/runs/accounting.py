"""The books of a run or of merged runs: files, windows and hours in and out, by reason and site. Pure."""

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from signals.shards.manifest import Shard

Row = Mapping[str, Any]


def run_counts(
    *,
    accepted: Sequence[Row],
    quarantined: Sequence[Row],
    rejected: Sequence[Row],
    shards: Sequence[Shard],
    sums: Mapping[str, Row],
    subjects: Mapping[str, int],
    n_side_files: int,
    window_s: float,
) -> dict[str, Any]:
    """Return the books.

    `accepted`, `quarantined` and `rejected` are the rows of recordings.jsonl and quarantine/*.jsonl, `sums` what the
    windows of each site add up to (`signals.shards.tally`), `subjects` how many persons each site has. Raises
    RuntimeError if windows are unaccounted for.
    """
    n_planned, n_written = sum(row["n_windows"] for row in accepted), sum(shard.n_windows for shard in shards)
    if n_written + len(rejected) != n_planned:
        raise RuntimeError(f"{n_planned} windows were planned, {n_written} written + {len(rejected)} rejected came out")
    sites = sorted({row["site_id"] for row in accepted} | {row["site_id"] for row in quarantined})
    return {
        "files": {
            "in": len(accepted) + len(quarantined),
            "accepted": len(accepted),
            "quarantined": len(quarantined),
            "side_files": n_side_files,
            "by_reason": counted(row["reason"] for row in quarantined),
        },
        "windows": {
            "planned": n_planned,
            "written": n_written,
            "rejected": len(rejected),
            "by_reason": counted(row["reason"] for row in rejected),
        },
        "hours": _hours(accepted, quarantined, n_written, len(rejected), window_s),
        "bytes": sum(shard.n_bytes for shard in shards),
        "sources_digest": sources_digest(accepted),
        "repeated_recordings": sum(n - 1 for n in Counter(row["recording_id"] for row in accepted).values()),
        "sites": {
            site: _site_counts(
                [row for row in accepted if row["site_id"] == site],
                [row for row in quarantined if row["site_id"] == site],
                [row for row in rejected if row["site_id"] == site],
                [shard for shard in shards if shard.site_id == site],
                window_s,
            )
            | {"subjects": subjects.get(site, 0)}
            | dict(sums.get(site, {}))
            for site in sites
        },
    }


def complaint(counts: Mapping[str, Any], max_quarantined: float) -> str | None:
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


def sources_digest(accepted: Sequence[Row]) -> str:
    """Return a sha256 over the recordings that were used, in no order: the same under another salt or other names."""
    return hashlib.sha256("\n".join(sorted(row["recording_id"] for row in accepted)).encode()).hexdigest()


def counted(values: Any) -> dict[str, int]:
    """Return how often each value occurs, sorted."""
    return dict(sorted(Counter(values).items()))


def _hours(
    accepted: Sequence[Row], quarantined: Sequence[Row], n_written: int, n_rejected: int, window_s: float
) -> Row:
    return {
        "accepted": _sum(row["hours"] for row in accepted),
        "covered": _sum(row["hours_covered"] for row in accepted),
        # A last window may reach beyond the last sample by less than a sample's time.
        "uncovered": max(0.0, _sum(row["hours"] - row["hours_covered"] for row in accepted)),
        "quarantined": _sum(row["hours"] for row in quarantined if row["hours"] is not None),
        "quarantined_files_of_unknown_length": sum(row["hours"] is None for row in quarantined),
        "written": round(n_written * window_s / 3600, 6),
        "rejected": round(n_rejected * window_s / 3600, 6),
    }


def _sum(values: Any) -> float:
    # fsum is exact, so the order in which files came does not show.
    return round(math.fsum(values), 6)


def _site_counts(
    accepted: Sequence[Row],
    quarantined: Sequence[Row],
    rejected: Sequence[Row],
    shards: Sequence[Shard],
    window_s: float,
) -> dict[str, Any]:
    n_windows = sum(shard.n_windows for shard in shards)
    return {
        "files_accepted": len(accepted),
        "files_quarantined": len(quarantined),
        "files_by_reason": counted(row["reason"] for row in quarantined),
        "hours": _hours(accepted, quarantined, n_windows, len(rejected), window_s),
        "windows": n_windows,
        "windows_rejected": len(rejected),
        "windows_by_reason": counted(row["reason"] for row in rejected),
        "bytes": sum(shard.n_bytes for shard in shards),
        "shards": len(shards),
        "native_sfreqs": counted(f"{row['native_sfreq']:g}" for row in accepted),
        "mains_hz": counted(_mains(row) for row in accepted),
        "readers": counted(row["reader"] for row in accepted),
        "notes": counted(note for row in accepted for note in row["notes"]),
        "bad_channels": counted(name for row in accepted for name, _ in row["bad_channels"]),
        "amplitude_uv": _quantiles([row["amplitude_uv"] for row in accepted if row["amplitude_uv"] is not None]),
    }


def _mains(row: Row) -> str:
    if row["mains_hz"] is None:
        return "none found"
    return f"{row['mains_hz']:g} {'detected' if row['mains_detected'] else 'given'}"


def _quantiles(values: Sequence[float]) -> dict[str, float]:
    """Return least, quartiles and greatest by nearest rank; empty without values."""
    ordered = sorted(values)
    if not ordered:
        return {}
    last = len(ordered) - 1
    shares = {"min": 0.0, "q25": 0.25, "median": 0.5, "q75": 0.75, "max": 1.0}
    return {name: round(ordered[round(share * last)], 3) for name, share in shares.items()}
