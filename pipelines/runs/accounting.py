"""The accounting of a run or of merged runs: files, windows and hours in and out, by reason and site. Pure."""

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from signals.recording.details import LIMITS, Details
from signals.shards.manifest import Shard
from signals.shards.tally import Sums
from signals.windows.labels import UNKNOWN_SOURCE

Row = Mapping[str, Any]
COPY = "duplicate_recording"
"""Reason of a file that is no loss: the same recording is in the run under another name."""


@dataclass(frozen=True, kw_only=True)
class FileCounts:
    """Files in, and what became of them."""

    n_in: int
    accepted: int
    quarantined: int
    side_files: int
    """Files that are no recordings; they are not among `n_in`."""
    by_reason: dict[str, int]
    copies: int = 0
    """Files whose content came in under another name, which was used."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        fields = asdict(self)
        return {"in": fields.pop("n_in"), **fields}

    @classmethod
    def from_dict(cls, fields: Row) -> "FileCounts":
        """Build counts from `to_dict`'s output."""
        values = dict(fields)
        return cls(n_in=values.pop("in"), **values)


@dataclass(frozen=True, kw_only=True)
class LabelCounts:
    """Labels of the files that were used, and what became of them; one that lasts for n windows counts as n."""

    n_in: int = 0
    placed: int = 0
    merged: int = 0
    """One with another label of the same window."""
    refused: int = 0
    by_reason: dict[str, int] = field(default_factory=dict)
    by_source: dict[str, int] = field(default_factory=dict)
    """Of those that came in, how many are of which source (`signals.windows.labels.LABEL_SOURCES`)."""


@dataclass(frozen=True, kw_only=True)
class WindowCounts:
    """Windows planned, and what became of them."""

    planned: int
    written: int
    rejected: int
    by_reason: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Hours:
    """Hours of recording, and what became of them."""

    accepted: float = 0.0
    covered: float = 0.0
    """What of the accepted hours lies in a planned window; what several windows share counts once."""
    uncovered: float = 0.0
    quarantined: float = 0.0
    quarantined_files_of_unknown_length: int = 0
    written: float = 0.0
    """Windows times their length."""
    rejected: float = 0.0

    @property
    def fates(self) -> dict[str, float]:
        """What became of the hours that came in; they add up to all that could be read."""
        rejected = min(self.rejected, self.covered)
        return {
            "in windows": self.covered - rejected,
            "windows rejected": rejected,
            "no window fits": self.uncovered,
            "files left out": self.quarantined,
        }

    @property
    def readable(self) -> float:
        """Hours of all files whose length could be read."""
        return sum(self.fates.values())


@dataclass(frozen=True, kw_only=True)
class SiteCounts:
    """What came in from one site, and what its windows add up to."""

    files_accepted: int
    files_quarantined: int
    files_by_reason: dict[str, int]
    hours: Hours
    windows: int
    """Written."""
    windows_rejected: int
    windows_by_reason: dict[str, int]
    n_bytes: int
    shards: int
    native_sfreqs: dict[str, int]
    mains_hz: dict[str, int]
    readers: dict[str, int]
    notes: dict[str, int]
    bad_channels: dict[str, int]
    amplitude_uv: dict[str, float]
    """Least, quartiles and greatest over the recordings; empty where none has a size."""
    subjects: int
    files_copies: int = 0
    labels_refused: dict[str, int] = field(default_factory=dict)
    """By reason."""
    details: dict[str, dict[str, int]] = field(default_factory=dict)
    """Recordings by each value of each detail that was requested (`signals.recording.details.Details`); years, heights
    and weights are not counted."""
    sums: Sums = field(default_factory=Sums)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        fields = asdict(self)
        del fields["sums"]
        if not self.details:
            del fields["details"]
        return {"bytes": fields.pop("n_bytes"), **fields, **self.sums.to_dict()}

    @classmethod
    def from_dict(cls, fields: Row) -> "SiteCounts":
        """Build counts from `to_dict`'s output."""
        values = {name: value for name, value in fields.items() if name in cls.__dataclass_fields__}
        values |= {"n_bytes": fields["bytes"], "hours": Hours(**fields["hours"]), "sums": Sums.from_dict(fields)}
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class Counts:
    """The accounting of a run."""

    files: FileCounts
    windows: WindowCounts
    hours: Hours
    n_bytes: int
    """Of all shards."""
    sources_digest: str
    sites: dict[str, SiteCounts]
    labels: LabelCounts = field(default_factory=LabelCounts)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "files": self.files.to_dict(),
            "windows": asdict(self.windows),
            "hours": asdict(self.hours),
            "bytes": self.n_bytes,
            "sources_digest": self.sources_digest,
            "labels": asdict(self.labels),
            "sites": {site: entry.to_dict() for site, entry in self.sites.items()},
        }

    @classmethod
    def from_dict(cls, fields: Row) -> "Counts":
        """Build the accounting from `to_dict`'s output."""
        return cls(
            files=FileCounts.from_dict(fields["files"]),
            windows=WindowCounts(**fields["windows"]),
            hours=Hours(**fields["hours"]),
            n_bytes=fields["bytes"],
            sources_digest=fields["sources_digest"],
            labels=LabelCounts(**fields.get("labels", {})),  # older sets have none
            sites={site: SiteCounts.from_dict(entry) for site, entry in fields["sites"].items()},
        )

    @property
    def subjects(self) -> int:
        """How many subjects there are; one of two sites counts at both."""
        return sum(site.subjects for site in self.sites.values())


@dataclass(frozen=True, kw_only=True)
class Accounts:
    """What a run's stages left behind, as rows and shards."""

    accepted: Sequence[Row]
    """Rows of recordings.jsonl."""
    left_out: Sequence[Row]
    """Rows of quarantine/files.jsonl, those of copies too."""
    labels: Sequence[Row]
    """Rows of quarantine/labels.jsonl."""
    rejected: Mapping[tuple[str, str], int]
    """Rejected windows by (site, reason)."""
    shards: Sequence[Shard]
    sums: Mapping[str, Sums]
    """What the windows of each site add up to."""
    subjects: Mapping[str, int]
    """Subjects per site."""

    def of(self, site: str) -> "Accounts":
        """Return what is of one site."""
        return Accounts(
            accepted=[row for row in self.accepted if row["site_id"] == site],
            left_out=[row for row in self.left_out if row["site_id"] == site],
            labels=[row for row in self.labels if row["site_id"] == site],
            rejected={key: n for key, n in self.rejected.items() if key[0] == site},
            shards=[shard for shard in self.shards if shard.site_id == site],
            sums={site: self.sums.get(site, Sums())},
            subjects={site: self.subjects.get(site, 0)},
        )

    @property
    def quarantined(self) -> list[Row]:
        """Files that were left out for a fault: all but the copies."""
        return [row for row in self.left_out if row["reason"] != COPY]

    @property
    def n_copies(self) -> int:
        """Files whose recording was used under another name."""
        return len(self.left_out) - len(self.quarantined)

    @property
    def n_written(self) -> int:
        """Windows in the shards."""
        return sum(shard.n_windows for shard in self.shards)

    @property
    def n_rejected(self) -> int:
        """Windows that were planned and are in no shard."""
        return sum(self.rejected.values())

    @property
    def n_bytes(self) -> int:
        """Bytes of the shards."""
        return sum(shard.n_bytes for shard in self.shards)

    @property
    def rejected_by_reason(self) -> dict[str, int]:
        """Rejected windows by reason."""
        counter: Counter[str] = Counter()
        for (_, reason), n in self.rejected.items():
            counter[reason] += n
        return dict(sorted(counter.items()))


def run_counts(accounts: Accounts, *, n_side_files: int, window_s: float) -> Counts:
    """Return the accounting; raises RuntimeError if windows are unaccounted for."""
    n_planned = sum(row["n_windows"] for row in accounts.accepted)
    if accounts.n_written + accounts.n_rejected != n_planned:
        out = f"{accounts.n_written} written + {accounts.n_rejected} rejected came out"
        raise RuntimeError(f"{n_planned} windows were planned, {out}")
    sites = sorted({row["site_id"] for row in (*accounts.accepted, *accounts.left_out)})
    if n_repeated := len(accounts.accepted) - len({row["recording_id"] for row in accounts.accepted}):
        raise RuntimeError(f"{n_repeated} recordings were used twice")
    return Counts(
        files=FileCounts(
            n_in=len(accounts.accepted) + len(accounts.left_out),
            copies=accounts.n_copies,
            accepted=len(accounts.accepted),
            quarantined=len(accounts.quarantined),
            side_files=n_side_files,
            by_reason=counted(row["reason"] for row in accounts.quarantined),
        ),
        windows=WindowCounts(
            planned=n_planned,
            written=accounts.n_written,
            rejected=accounts.n_rejected,
            by_reason=accounts.rejected_by_reason,
        ),
        hours=_hours(accounts, window_s),
        n_bytes=accounts.n_bytes,
        sources_digest=sources_digest(accounts.accepted),
        labels=_label_counts(accounts),
        sites={site: _site_counts(accounts.of(site), window_s) for site in sites},
    )


def _label_counts(accounts: Accounts) -> LabelCounts:
    n_in = sum(row.get("n_labels", 0) for row in accounts.accepted)  # rows of older sets have none
    n_merged = sum(row.get("n_labels_merged", 0) for row in accounts.accepted)
    sources: Counter[str] = Counter()
    for row in accounts.accepted:
        if row.get("n_labels"):
            sources[row.get("label_source") or UNKNOWN_SOURCE] += row["n_labels"]
    return LabelCounts(
        n_in=n_in,
        placed=n_in - n_merged - len(accounts.labels),
        merged=n_merged,
        refused=len(accounts.labels),
        by_reason=counted(row["reason"] for row in accounts.labels),
        by_source=dict(sorted(sources.items())),
    )


def complaint(counts: Counts, max_quarantined: float) -> str | None:
    """Return in one line why a run must not count as completed, or None."""
    files = counts.files
    if counts.windows.written == 0:
        reasons = ", ".join(f"{n} {reason}" for reason, n in (files.by_reason | counts.windows.by_reason).items())
        return f"no window was written: {files.quarantined} of {files.n_in} files quarantined ({reasons})"
    share = files.quarantined / files.n_in
    if share > max_quarantined:
        reasons = ", ".join(f"{n} {reason}" for reason, n in files.by_reason.items())
        return f"{share:.1%} of the files were quarantined, --max-quarantined allows {max_quarantined:.1%} ({reasons})"
    return None


def sources_digest(accepted: Iterable[Row]) -> str:
    """Return a sha256 over the recordings that were used, in no order: the same under another salt or other names."""
    return hashlib.sha256("\n".join(sorted(row["recording_id"] for row in accepted)).encode()).hexdigest()


def counted(values: Iterable[str]) -> dict[str, int]:
    """Return how often each value occurs, sorted."""
    return dict(sorted(Counter(values).items()))


def _hours(accounts: Accounts, window_s: float) -> Hours:
    accepted, quarantined = accounts.accepted, accounts.quarantined
    return Hours(
        accepted=_sum(row["hours"] for row in accepted),
        covered=_sum(row["hours_covered"] for row in accepted),
        # A last window may reach beyond the last sample by less than a sample's time.
        uncovered=max(0.0, _sum(row["hours"] - row["hours_covered"] for row in accepted)),
        quarantined=_sum(row["hours"] for row in quarantined if row["hours"] is not None),
        quarantined_files_of_unknown_length=sum(row["hours"] is None for row in quarantined),
        written=round(accounts.n_written * window_s / 3600, 6),
        rejected=round(accounts.n_rejected * window_s / 3600, 6),
    )


def _sum(values: Iterable[float]) -> float:
    # fsum is exact, so the order in which files came does not show.
    return round(math.fsum(values), 6)


def _site_counts(accounts: Accounts, window_s: float) -> SiteCounts:
    accepted, ((site, sums),) = accounts.accepted, accounts.sums.items()
    return SiteCounts(
        files_accepted=len(accepted),
        files_quarantined=len(accounts.quarantined),
        files_by_reason=counted(row["reason"] for row in accounts.quarantined),
        hours=_hours(accounts, window_s),
        windows=accounts.n_written,
        windows_rejected=accounts.n_rejected,
        windows_by_reason=accounts.rejected_by_reason,
        n_bytes=accounts.n_bytes,
        shards=len(accounts.shards),
        native_sfreqs=counted(f"{row['native_sfreq']:g}" for row in accepted),
        mains_hz=counted(_mains(row) for row in accepted),
        readers=counted(row["reader"] for row in accepted),
        notes=counted(note for row in accepted for note in row["notes"]),
        bad_channels=counted(name for row in accepted for name, _ in row["bad_channels"]),
        amplitude_uv=_quantiles([row["amplitude_uv"] for row in accepted if row["amplitude_uv"] is not None]),
        subjects=accounts.subjects[site],
        files_copies=accounts.n_copies,
        labels_refused=counted(row["reason"] for row in accounts.labels),
        details={
            name: counted(str(row[name]) for row in accepted if name in row)
            for name in (each.name for each in fields(Details) if each.name not in LIMITS)
            if any(name in row for row in accepted)
        },
        sums=sums,
    )


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
