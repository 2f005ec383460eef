"""The manifest of a shard set: what is in it, where it came from, and the statistics that loaders normalise with.

Layout of a shard set: DIR/site=<id>/*.tfrecord.snappy with an *.index.parquet beside each, DIR/manifest.json,
DIR/recordings.jsonl, DIR/quarantine/*.jsonl, DIR/run.json and DIR/report.html for people and, last, DIR/_COMPLETED.
Paths of files stand in none of them.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from signals.description.features import FEATURES
from signals.modality import Modality
from signals.shards.index import ShardIndex, index_name
from signals.shards.moments import Moments
from signals.windows.labels import UNKNOWN_SOURCE

SCHEMA_VERSION = 1
MANIFEST, COMPLETED = "manifest.json", "_COMPLETED"
RECORDINGS, RUN, REPORT = "recordings.jsonl", "run.json", "report.html"
FILES, LABELS, WINDOWS = "quarantine/files.jsonl", "quarantine/labels.jsonl", "quarantine/windows.jsonl"
"""What was not used: a row per file, per label, per window. Older sets have no LABELS."""


def shard_name(site_id: str, index: int, total: int) -> str:
    """Return the path of a shard within its set."""
    return f"site={site_id}/windows-{index:05d}-of-{total:05d}.tfrecord.snappy"


class ManifestError(ValueError):
    """A folder that is no finished shard set, or one of another schema version."""


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One shard file."""

    path: str
    """Relative to the manifest's folder."""
    site_id: str
    n_windows: int
    n_bytes: int
    sha256: str
    index: ShardIndex | None = None
    """A row per window (`signals.shards.index`); None in sets that were written without."""

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Shard":
        """Build an entry from its JSON; older ones have no index."""
        index = fields.get("index")
        return cls(**{**fields, "index": None if index is None else ShardIndex(**index)})

    def renamed(self, path: str) -> "Shard":
        """Return the entry under another name, with its index under that name's."""
        index = None if self.index is None else replace(self.index, path=index_name(path))
        return replace(self, path=path, index=index)

    @property
    def files(self) -> dict[str, str]:
        """Paths and sha256 of the shard and of its index."""
        return {self.path: self.sha256} | ({self.index.path: self.index.sha256} if self.index else {})


@dataclass(frozen=True, kw_only=True)
class SubjectEntry:
    """What the shard set holds of one subject."""

    site_id: str
    n_windows: int
    recording_ids: tuple[str, ...]
    moments: Moments

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "site_id": self.site_id,
            "n_windows": self.n_windows,
            "recording_ids": list(self.recording_ids),
            "moments": self.moments.to_dict(),
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "SubjectEntry":
        """Build an entry from `to_dict`'s output, also after a round trip through JSON."""
        return cls(
            site_id=fields["site_id"],
            n_windows=fields["n_windows"],
            recording_ids=tuple(fields["recording_ids"]),
            moments=Moments.from_dict(fields["moments"]),
        )


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Contents and provenance of a shard set."""

    modality: Modality
    profile: dict[str, Any]
    """The preparation's resolved config (`signals.windows.profiles.Profile`)."""
    config_hash: str
    code_version: str
    shards: tuple[Shard, ...]
    subjects: dict[str, SubjectEntry]
    counts: dict[str, Any]
    """files, windows, hours and rejects; see pipelines.runs.accounting, and `signals.shards.writer` for generators."""
    features: tuple[str, ...] = FEATURES
    """Columns of each window's features, in order: choose by name, later versions may have others."""
    salt_id: str = ""
    """Tells the salt of the subject hashes apart from others (`signals.recording.identity.salt_id`); empty in older
    sets."""
    kept_details: tuple[str, ...] = ()
    """What of `signals.recording.details.KEEPABLE` the records hold where it is known; nothing unless requested."""
    digest: str = field(default="", compare=False)
    """sha256 of manifest.json as read."""

    @property
    def has_accounting(self) -> bool:
        """Whether recordings went in and are accounted for; False of windows that a generator made."""
        return "files" in self.counts

    @property
    def label_source(self) -> str:
        """Who labelled the windows, one of `signals.windows.labels.LABEL_SOURCES`; unknown where sources are mixed."""
        sources = (self.counts.get("labels") or {}).get("by_source") or {}
        return next(iter(sources)) if len(sources) == 1 else UNKNOWN_SOURCE


def manifest_json(manifest: Manifest) -> str:
    """Return the manifest as JSON text; equal manifests give equal text."""
    fields = {
        "schema_version": SCHEMA_VERSION,
        "modality": manifest.modality.to_dict(),
        "profile": manifest.profile,
        "config_hash": manifest.config_hash,
        "code_version": manifest.code_version,
        "shards": [_shard_to_dict(shard) for shard in manifest.shards],
        "subjects": {name: entry.to_dict() for name, entry in sorted(manifest.subjects.items())},
        "counts": manifest.counts,
        "features": list(manifest.features),
        "salt_id": manifest.salt_id,
        # Only where something is kept: the manifest of any other set has the bytes that it had before.
        **({"kept_details": list(manifest.kept_details)} if manifest.kept_details else {}),
    }
    return json.dumps(fields, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def read_manifest(shards_dir: Path) -> Manifest:
    """Return the manifest of a finished shard set.

    Raises ManifestError, in one line that says what to do, for a folder that is missing, unfinished or of another
    schema version.
    """
    path = Path(shards_dir) / MANIFEST
    if not path.is_file():
        raise ManifestError(f"{shards_dir} is no shard set: it has no {MANIFEST}; make one with pipelines.preprocess")
    if not (path.parent / COMPLETED).is_file():
        raise ManifestError(f"{shards_dir} is unfinished: it has no {COMPLETED}; run pipelines.preprocess again")
    return parse_manifest(path.read_bytes(), str(path))


def parse_manifest(raw: bytes, name: str) -> Manifest:
    """Return the manifest that a file's bytes hold; raises ManifestError for another schema version."""
    fields = json.loads(raw)
    if fields["schema_version"] != SCHEMA_VERSION:
        raise ManifestError(
            f"{name} has schema version {fields['schema_version']}, this code reads {SCHEMA_VERSION}: write it again"
        )
    return Manifest(
        modality=Modality.from_dict(fields["modality"]),
        profile=fields["profile"],
        config_hash=fields["config_hash"],
        code_version=fields["code_version"],
        shards=tuple(Shard.from_dict(shard) for shard in fields["shards"]),
        subjects={name: SubjectEntry.from_dict(entry) for name, entry in fields["subjects"].items()},
        counts=fields["counts"],
        # Shard sets written before the names were have these columns.
        features=tuple(fields.get("features", FEATURES)),
        salt_id=fields.get("salt_id", ""),
        kept_details=tuple(fields.get("kept_details", ())),
        digest=hashlib.sha256(raw).hexdigest(),
    )


def _shard_to_dict(shard: Shard) -> dict[str, Any]:
    written = asdict(shard)
    if shard.index is None:
        del written["index"]  # a set without indexes keeps the bytes of its manifest
    return written
