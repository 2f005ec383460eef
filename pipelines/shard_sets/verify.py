"""Prove that a shard set is whole: files, digests, checksums, numbers, records and accounting."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from io import BytesIO
from pathlib import Path
from typing import Any

from pipelines.runs.accounting import COPY, Counts, sources_digest
from pipelines.shard_sets.problem import Problem
from signals.description.artifacts import KINDS
from signals.files import file_sha256
from signals.recording.details import Details
from signals.shards.example import decode_example
from signals.shards.index import IndexRow, index_row, read_index, write_index
from signals.shards.manifest import (
    COMPLETED,
    FILES,
    LABELS,
    MANIFEST,
    RECORDINGS,
    REPORT,
    RUN,
    WINDOWS,
    Manifest,
    ManifestError,
    Shard,
    read_manifest,
    shard_name,
)
from signals.shards.records import DETAIL_FIELDS, decode_window, encode_window
from signals.shards.tally import Sums, Tally
from signals.shards.tfrecord import CorruptShardError, RecordPlace, scan_records
from signals.window import Window

KNOWN_FILES = (MANIFEST, COMPLETED, RECORDINGS, FILES, LABELS, WINDOWS, RUN, REPORT)


@dataclass(frozen=True, kw_only=True)
class Whole:
    """What a whole set holds."""

    n_windows: int
    n_shards: int
    n_sites: int
    n_bytes: int

    @property
    def summary(self) -> str:
        """The set in one line."""
        return (
            f"{self.n_windows} windows in {self.n_shards} shards of {self.n_sites} sites, {self.n_bytes / 1e6:.1f} MB"
        )


def verify(shards_dir: Path) -> Whole:
    """Return what was proved to be whole; raises Problem or ManifestError for the first thing that does not hold."""
    manifest = _manifest(shards_dir)
    _check_files(shards_dir, manifest)
    _check_numbers(manifest)
    tallies: dict[str, Tally] = {}
    keys: set[str] = set()
    for shard in manifest.shards:
        _check_digest(shards_dir, shard)
        _check_records(shards_dir, shard, manifest, tallies.setdefault(shard.site_id, Tally()), keys)
    _check_sums(manifest, tallies)
    _check_subjects(manifest, tallies)
    if manifest.has_accounting:
        _check_accounting(shards_dir, manifest, _counts(shards_dir, manifest))
    n_bytes = sum(shard.n_bytes for shard in manifest.shards)
    return Whole(n_windows=len(keys), n_shards=len(manifest.shards), n_sites=len(tallies), n_bytes=n_bytes)


def _manifest(shards_dir: Path) -> Manifest:
    try:
        return read_manifest(shards_dir)
    except ManifestError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise Problem(f"{shards_dir / MANIFEST} is no manifest: {error!r}") from error


def _counts(shards_dir: Path, manifest: Manifest) -> Counts:
    try:
        return Counts.from_dict(manifest.counts)
    except (ValueError, KeyError, TypeError) as error:
        raise Problem(f"{shards_dir / MANIFEST} holds no accounting of a run: {error!r}") from error


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a .jsonl file; raises Problem naming the line that is none.

    Sets written before labels could be refused have no LABELS: none was.
    """
    if path.as_posix().endswith(LABELS) and not path.exists():
        return []
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise Problem(f"{path} line {number} is no JSON: {error}") from None
    return rows


def _check_files(shards_dir: Path, manifest: Manifest) -> None:
    beside = KNOWN_FILES if manifest.has_accounting else (MANIFEST, COMPLETED)
    expected = {
        *beside,
        *(shard.path for shard in manifest.shards),
        *(shard.index.path for shard in manifest.shards if shard.index),
    }
    present = {path.relative_to(shards_dir).as_posix() for path in shards_dir.rglob("*") if not path.is_dir()}
    if manifest.has_accounting and "labels" not in manifest.counts:  # of an older set
        present |= {LABELS}
    for name in sorted(expected - present):
        raise Problem(f"{shards_dir / name} is missing")
    for name in sorted(present - expected):
        raise Problem(f"{shards_dir / name} does not belong to the set")


def _check_numbers(manifest: Manifest) -> None:
    for site in sorted({shard.site_id for shard in manifest.shards}):
        paths = sorted(shard.path for shard in manifest.shards if shard.site_id == site)
        for index, path in enumerate(paths):
            if path != (expected := shard_name(site, index, len(paths))):
                raise Problem(f"{path} stands where {expected} should: the numbers of {site} have a gap")


def _check_digest(shards_dir: Path, shard: Shard) -> None:
    path = shards_dir / shard.path
    if path.stat().st_size != shard.n_bytes:
        raise Problem(f"{path} has {path.stat().st_size} bytes, the manifest states {shard.n_bytes}")
    for name, stated in shard.files.items():
        if (digest := file_sha256(shards_dir / name)) != stated:
            raise Problem(
                f"{shards_dir / name} has changed: its sha256 begins {digest[:12]}, the manifest states {stated[:12]}"
            )


def _check_records(shards_dir: Path, shard: Shard, manifest: Manifest, tally: Tally, keys: set[str]) -> None:
    path = shards_dir / shard.path
    n_records, names = 0, frozenset[str]()
    rows = list[IndexRow]()
    try:
        for place, record in _scanned(path):
            where = f"{path} record {n_records}"
            window, held = _decoded(record, where)
            names = names or frozenset(decode_example(encode_window(window)))
            if odd := (names ^ held) - DETAIL_FIELDS:
                raise Problem(f"{where}: fields {sorted(odd)} are missing or unknown")
            _check_window(window, shard, manifest, where)
            if window.key in keys:
                raise Problem(f"{where}: window {window.key} occurs twice; was a file given twice?")
            keys.add(window.key)
            tally.add(window)
            rows.append(index_row(window, place))
            n_records += 1
    except CorruptShardError as error:
        raise Problem(str(error)) from error
    if n_records != shard.n_windows:
        raise Problem(f"{path} holds {n_records} records, the manifest states {shard.n_windows}")
    if shard.index:
        _check_index(shards_dir / shard.index.path, rows)


def _scanned(path: Path) -> Iterator[tuple[RecordPlace, bytes]]:
    with path.open("rb") as file:
        yield from scan_records(file, str(path))


def _check_index(path: Path, rows: Sequence[IndexRow]) -> None:
    """Compare an index with one made anew of the shard's records."""
    anew = BytesIO()
    write_index(anew, rows)
    anew.seek(0)
    try:
        stored = read_index(path)
    except ValueError as error:
        raise Problem(str(error)) from error
    if not stored.equals(read_index(anew)):
        raise Problem(f"{path} is not the index of its shard's records")


def _decoded(record: bytes, where: str) -> tuple[Window, frozenset[str]]:
    try:
        fields, window = decode_example(record), decode_window(record)
    except (ValueError, KeyError, TypeError) as error:
        raise Problem(f"{where} is no window: {error}") from error
    if fields["key"] != [window.key.encode()]:
        raise Problem(f"{where}: its key is not that of its recording and onset")
    return window, frozenset(fields)


def _check_window(window: Window, shard: Shard, manifest: Manifest, where: str) -> None:
    signal = manifest.modality
    n_chans, n_seconds = signal.n_chans, round(manifest.profile["window_s"])
    shapes = {
        "signal": (window.data.shape, (n_chans, round(n_seconds * signal.sfreq))),
        "ch_state": (window.ch_state.shape, (n_chans,)),
        "artifact_mask": (window.artifact_mask.shape, (n_chans, n_seconds)),
        "quality": (window.quality.shape, (n_chans,)),
        "features": (window.features.shape, (n_chans, len(manifest.features))),
    }
    for name, (shape, expected) in shapes.items():
        if shape != expected:
            raise Problem(f"{where}: {name} has shape {shape}, the manifest's modality needs {expected}")
    if window.site_id != shard.site_id:
        raise Problem(f"{where} is of site {window.site_id}, its folder of {shard.site_id}")
    if window.subject_id not in manifest.subjects:
        raise Problem(f"{where} is of subject {window.subject_id}, whom the manifest does not know")
    _check_details(window, manifest, where)
    if window.provenance.config_hash != manifest.config_hash:
        raise Problem(
            f"{where} was prepared under {window.provenance.config_hash}, the set under {manifest.config_hash}"
        )
    if int(window.artifact_mask.max()) >> len(KINDS):
        raise Problem(f"{where}: artifact_mask has bits of no known kind")


def _check_details(window: Window, manifest: Manifest, where: str) -> None:
    try:
        details = Details(**{each.name: getattr(window, each.name) for each in fields(Details)})
    except ValueError as error:
        raise Problem(f"{where}: {error}") from error
    if details != details.kept(manifest.kept_details):
        raise Problem(f"{where} holds {', '.join(details.stored)}, which the run was not requested to keep")


def _check_sums(manifest: Manifest, tallies: dict[str, Tally]) -> None:
    by_site = _windows_by_site(manifest)
    for site in sorted({*by_site} - {*manifest.counts["sites"]}):
        raise Problem(f"the manifest has shards of {site}, but no counts of it")
    for site, entry in manifest.counts["sites"].items():
        stated = Sums.from_dict(entry).to_dict()
        counted = tallies[site].sums().to_dict() if site in tallies else {}
        for name, value in counted.items():
            if name == "decisions" and name not in entry:  # of a set written before they were counted
                continue
            if stated.get(name) != value:
                raise Problem(f"the manifest's {name} of {site} do not agree with its records")
        if entry["windows"] != by_site[site]:
            raise Problem(f"the manifest counts {entry['windows']} windows of {site}, its shards hold {by_site[site]}")


def _check_subjects(manifest: Manifest, tallies: dict[str, Tally]) -> None:
    counted = {name: entry for tally in tallies.values() for name, entry in tally.subjects().items()}
    for name, entry in manifest.subjects.items():
        tallied = counted.get(name)
        if tallied is None or tallied.n_windows != entry.n_windows:
            n = tallied.n_windows if tallied else 0
            raise Problem(f"subject {name} has {n} windows, the manifest states {entry.n_windows}")
        if (tallied.site_id, tallied.recording_ids) != (entry.site_id, entry.recording_ids):
            raise Problem(f"site or recordings of subject {name} are not those of the manifest")
        if (tallied.moments.count != entry.moments.count).any():
            raise Problem(f"the manifest's moments of subject {name} are over another number of samples")


def _check_accounting(shards_dir: Path, manifest: Manifest, counts: Counts) -> None:
    rows = {name: read_rows(shards_dir / name) for name in (RECORDINGS, FILES, LABELS, WINDOWS)}
    files, windows = counts.files, counts.windows
    copies = [row for row in rows[FILES] if row["reason"] == COPY]
    planned, written = sum(row["n_windows"] for row in rows[RECORDINGS]), sum(s.n_windows for s in manifest.shards)
    pairs = {
        "files accepted": (files.accepted, len(rows[RECORDINGS])),
        "files quarantined": (files.quarantined, len(rows[FILES]) - len(copies)),
        "copies": (files.copies, len(copies)),
        "labels refused": (counts.labels.refused, len(rows[LABELS])),
        "labels": (counts.labels.n_in, counts.labels.placed + counts.labels.merged + counts.labels.refused),
        "files in": (files.n_in, len(rows[RECORDINGS]) + len(rows[FILES])),
        "windows rejected": (windows.rejected, len(rows[WINDOWS])),
        "windows written": (windows.written, written),
        "windows planned": (windows.planned, planned),
        "windows written and rejected": (planned, written + len(rows[WINDOWS])),
        "bytes": (counts.n_bytes, sum(shard.n_bytes for shard in manifest.shards)),
        "windows by site": (
            {site: entry.windows for site, entry in counts.sites.items() if entry.windows},
            dict(_windows_by_site(manifest)),
        ),
        "digest of recordings": (counts.sources_digest, sources_digest(rows[RECORDINGS])),
    }
    for name, (stated, counted) in pairs.items():
        if stated != counted:
            raise Problem(f"the accounting does not add up: {name}, {stated} by the manifest, {counted} by the rows")


def _windows_by_site(manifest: Manifest) -> Counter[str]:
    counted: Counter[str] = Counter()
    for shard in manifest.shards:
        counted[shard.site_id] += shard.n_windows
    return counted
