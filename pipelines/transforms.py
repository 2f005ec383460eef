"""The Beam side of the pipeline: thin steps over `signals.prepare`.

    FileRef -> PlanFiles -> Block -> keyed by (site, shard) -> GroupByKey -> WriteShards -> ShardResult -> WriteManifest

Only references go through the shuffle: a block names a recording and its windows' onsets, never samples. Which shard a
block belongs to is decided by its hash, and a shard's blocks are sorted by it, so that the content of a shard depends
neither on the runner nor on the number of workers nor on the order of bundles.
"""

import hashlib
import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.metrics import Metrics
from apache_beam.pvalue import AsDict

from pipelines.inputs import FileRef
from signals.artifacts import KINDS
from signals.identity import hash_subject, source_sha256
from signals.manifest import Shard, SubjectEntry
from signals.moments import Moments
from signals.prepare import Block, Prepared, Rejected, blocks, plan_recording, plan_windows, prepare_block
from signals.profiles import Profile
from signals.readers.registry import open_recording, reopen_recording
from signals.recording import Recording, UnreadableError
from signals.records import encode_window
from signals.tfrecord import write_shard
from signals.windows import ABSENT, MEASURED, Window

logger = logging.getLogger(__name__)

WINDOW_BYTES_PER_S = 19 * 256 * 2
"""Roughly what a second of a window takes in a shard; decides how many shards a site gets."""

seconds_written = Counter[str]()
"""Seconds of windows written by this process, by output folder: what a progress bar can watch in a local run."""


@dataclass(frozen=True)
class Quarantined:
    """A file that was not used, and why."""

    file: str
    """Path of the file as the run was given it: whoever replays the quarantine needs it."""
    site_id: str
    reason: str
    detail: str


@dataclass(frozen=True)
class Accepted:
    """What is reported of a file that was used."""

    site_id: str
    recording_id: str
    reader: str
    native_sfreq: float
    n_channels: int
    n_windows: int
    hours: float
    mains_hz: float | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ShardResult:
    """One written shard, and what the manifest must know of its windows."""

    shard: Shard | None
    """None where every window of the shard's blocks was rejected."""
    subjects: dict[str, SubjectEntry]
    rejected: tuple[Rejected, ...]
    flagged_seconds: dict[str, int] = field(default_factory=dict)


@dataclass
class PlanFile(beam.DoFn):
    """FileRef -> Block; tagged outputs "accepted" and "quarantined" hold one row a file, together all files."""

    profile: Profile
    salt: str

    def process(self, ref: FileRef) -> Iterator[Any]:
        """Yield the blocks of one file."""
        started = time.perf_counter()
        try:
            recording, plan, starts = self._plan(ref)
        except UnreadableError as error:
            yield from self._quarantine(ref, error.reason, error.detail)
            return
        except Exception as error:  # one file must not take the run along; the reason code counts it
            logger.exception("planning failed")
            yield from self._quarantine(ref, "internal_error", f"{type(error).__name__}: {error}")
            return
        yield beam.pvalue.TaggedOutput(
            "accepted",
            Accepted(
                site_id=ref.site_id,
                recording_id=plan.recording_id,
                reader=recording.reader,
                native_sfreq=plan.native_sfreq,
                n_channels=len(plan.picks),
                n_windows=len(starts),
                hours=recording.duration_s / 3600,
                mains_hz=plan.mains_hz,
                notes=plan.notes,
            ),
        )
        yield from blocks(plan, starts)
        _count("plan", n=1, n_bytes=0, started=started)

    def _plan(self, ref: FileRef) -> Any:
        recording = open_recording(ref.uri)
        subject = ref.subject if ref.subject.lower() not in {"", "unknown"} else _named_patient(recording.patient)
        # Without a known person every file counts as one of its own, and says so.
        subject_id = (
            hash_subject(ref.site_id, subject, salt=self.salt)
            if subject
            else "unknown-" + hash_subject(ref.site_id, PurePosixPath(ref.uri).name, salt=self.salt)
        )
        plan = plan_recording(
            recording,
            self.profile,
            site_id=ref.site_id,
            subject_id=subject_id,
            source_sha256=source_sha256(ref.uri),
            mains_hz=ref.mains_hz,
        )
        return recording, plan, plan_windows(recording, plan, ref.labels)

    def _quarantine(self, ref: FileRef, reason: str, detail: str) -> Iterator[Any]:
        Metrics.counter("quarantine", reason).inc()
        yield beam.pvalue.TaggedOutput("quarantined", Quarantined(ref.uri, ref.site_id, reason, detail))


def _named_patient(text: str) -> str:
    """Return the patient text of a header unless it is one of the fillers that anonymised files carry."""
    words = {word.lower() for word in text.replace("_", " ").split()}
    return "" if words <= {"x", "0", "anonymous", "anonymized", "unknown", "na"} else text


def block_hash(block: Block) -> str:
    """Return the sort key of a block, hex: recording, segment and first window decide it."""
    first = block.starts[0]
    return hashlib.sha256(f"{block.plan.source_sha256}/{first.segment}/{first.start}".encode()).hexdigest()


def n_shards(seconds: float, shard_mb: float) -> int:
    """Return into how many shards of about `shard_mb` MB that many seconds of windows are divided; at least 1."""
    return max(1, round(seconds * WINDOW_BYTES_PER_S / (shard_mb * 1e6)))


def shards_of_site(site_seconds: tuple[str, float], shard_mb: float) -> tuple[str, int]:
    """Return (site_id, number of shards)."""
    site_id, seconds = site_seconds
    return site_id, n_shards(seconds, shard_mb)


def block_seconds(block: Block) -> tuple[str, float]:
    """Return (site_id, seconds of windows)."""
    return block.plan.site_id, len(block.starts) * block.plan.profile.window_s


def shard_key(block: Block, shards_of_site: dict[str, int]) -> tuple[tuple[str, int, int], Block]:
    """Return ((site_id, shard, number of shards), block)."""
    site_id = block.plan.site_id
    total = shards_of_site[site_id]
    return (site_id, int(block_hash(block)[:12], 16) % total, total), block


@dataclass
class WriteShard(beam.DoFn):
    """((site_id, shard, number of shards), blocks) -> ShardResult: reads, prepares, encodes and writes."""

    output: str

    def process(self, keyed: tuple[tuple[str, int, int], Iterable[Block]]) -> Iterator[ShardResult]:
        """Yield the result of one shard."""
        started = time.perf_counter()
        (site_id, index, total), grouped = keyed
        tally = _Tally()
        path = f"site={site_id}/windows-{index:05d}-of-{total:05d}.tfrecord.snappy"
        info = write_shard(Path(self.output) / path, self._records(sorted(grouped, key=block_hash), tally))
        shard = None
        if info.n_records:
            shard = Shard(
                path=path, site_id=site_id, n_windows=info.n_records, n_bytes=info.n_bytes, sha256=info.sha256
            )
        else:
            (Path(self.output) / path).unlink()
        _count("write", n=info.n_records, n_bytes=info.n_bytes, started=started)
        yield ShardResult(shard, tally.subjects(), tuple(tally.rejected), dict(tally.flagged_seconds))

    def _records(self, sorted_blocks: list[Block], tally: "_Tally") -> Iterator[bytes]:
        for block in sorted_blocks:
            prepared = prepare_block(_reopened(block.plan.uri, block.plan.source_sha256), block)
            tally.add(prepared)
            for window in prepared.windows:
                yield encode_window(window)
            seconds_written[self.output] += int(block_seconds(block)[1])


@lru_cache(maxsize=8)
def _reopened(uri: str, sha256: str) -> Recording:
    """Return a planned recording again; a shard's blocks come from many. `sha256` keeps the cache honest."""
    return reopen_recording(uri)


class _Tally:
    """What a shard's windows add up to, by subject."""

    def __init__(self) -> None:
        self.rejected: list[Rejected] = []
        self.flagged_seconds: Counter[str] = Counter()
        self._moments: dict[str, Moments] = {}
        self._sites: dict[str, str] = {}
        self._n_windows: Counter[str] = Counter()
        self._recordings: dict[str, set[str]] = {}

    def add(self, prepared: Prepared) -> None:
        self.rejected += prepared.rejected
        for window in prepared.windows:
            self._add_window(window)

    def _add_window(self, window: Window) -> None:
        subject = window.subject_id
        moments = Moments.of(window.data, valid_samples(window))
        self._moments[subject] = self._moments[subject].merge(moments) if subject in self._moments else moments
        self._sites[subject] = window.site_id
        self._n_windows[subject] += 1
        self._recordings.setdefault(subject, set()).add(window.recording_id)
        self.flagged_seconds += flagged_seconds(window)

    def subjects(self) -> dict[str, SubjectEntry]:
        return {
            subject: SubjectEntry(
                site_id=self._sites[subject],
                n_windows=self._n_windows[subject],
                recording_ids=tuple(sorted(self._recordings[subject])),
                moments=moments,
            )
            for subject, moments in self._moments.items()
        }


def valid_samples(window: Window) -> np.ndarray:
    """Return which samples count for the statistics: present channels, seconds without gaps; bool like the data."""
    gap = (window.artifact_mask >> KINDS.index("gap")) & 1
    per_second = window.data.shape[1] // window.artifact_mask.shape[1]
    present = (window.ch_state != ABSENT)[:, None]
    return np.asarray(present & ~np.repeat(gap, per_second, axis=1).astype(bool))


def flagged_seconds(window: Window) -> Counter[str]:
    """Return channel-seconds under each artifact kind, and under "all" how many there are, in measured channels."""
    mask = window.artifact_mask[window.ch_state == MEASURED]
    counts = Counter({kind: int(((mask >> bit) & 1).sum()) for bit, kind in enumerate(KINDS)})
    counts["all"] = mask.size
    return counts


def _count(stage: str, *, n: int, n_bytes: int, started: float) -> None:
    Metrics.counter(stage, "elements").inc(n)
    Metrics.counter(stage, "bytes").inc(n_bytes)
    Metrics.counter(stage, "milliseconds").inc(round((time.perf_counter() - started) * 1000))


@dataclass
class PlanFiles(beam.PTransform):
    """FileRef -> dict of PCollections: "blocks", "accepted", "quarantined"."""

    profile: Profile
    salt: str

    def expand(self, files: beam.PCollection) -> Any:
        """Plan each file on some worker."""
        return (
            files
            | "Spread files" >> beam.Reshuffle()
            | "Plan"
            >> beam.ParDo(PlanFile(self.profile, self.salt)).with_outputs("accepted", "quarantined", main="blocks")
        )


@dataclass
class WriteShards(beam.PTransform):
    """Block -> ShardResult."""

    output: str
    shard_mb: float

    def expand(self, planned: beam.PCollection) -> beam.PCollection:
        """Assign blocks to shards by hash, and write each shard on some worker."""
        totals = (
            planned
            | "Seconds by site" >> beam.Map(block_seconds)
            | "Sum" >> beam.CombinePerKey(sum)
            | "Shards by site" >> beam.Map(shards_of_site, self.shard_mb)
        )
        return (
            planned
            | "Key by shard" >> beam.Map(shard_key, AsDict(totals))
            | "Group" >> beam.GroupByKey()
            | "Write" >> beam.ParDo(WriteShard(self.output))
        )
