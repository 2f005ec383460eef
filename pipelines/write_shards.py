"""Blocks to one shard: read, prepared, encoded, written, and what the manifest must know of it."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache, partial

import apache_beam as beam
import numpy as np
from apache_beam.metrics import Metrics

from pipelines import storage
from pipelines.counters import count
from pipelines.progress import keep, kept, work_digest
from pipelines.remote import register_remote
from pipelines.sharding import block_order, block_seconds
from signals.artifacts import KINDS
from signals.manifest import Shard, SubjectEntry
from signals.moments import Moments
from signals.prepare import Block, Prepared, Rejected, prepare_block
from signals.readers.registry import reopen_recording
from signals.recording import Recording
from signals.records import encode_window
from signals.tfrecord import write_stream
from signals.windows import ABSENT, MEASURED, Window

seconds_written = Counter[str]()
"""Seconds of windows written by this process, by output folder: what a progress bar can watch in a local run."""


@dataclass(frozen=True)
class ShardResult:
    """One written shard, and what the manifest must know of its windows."""

    shard: Shard | None
    """None where every window of the shard's blocks was rejected."""
    subjects: dict[str, SubjectEntry]
    rejected: tuple[Rejected, ...]
    flagged_seconds: dict[str, int] = field(default_factory=dict)


@dataclass
class WriteShard(beam.DoFn):
    """((site_id, shard, number of shards), blocks) -> ShardResult: reads, prepares, encodes and writes.

    A shard that an earlier, killed run wrote whole from the same work is verified by its sha256 and kept.
    """

    output: str
    shard_mb: float

    def setup(self) -> None:
        """Let the readers open what Beam's file systems hold."""
        register_remote()

    def process(self, keyed: tuple[tuple[str, int, int], Iterable[Block]]) -> Iterator[ShardResult]:
        """Yield the result of one shard."""
        started = time.perf_counter()
        (site_id, index, total), grouped = keyed
        blocks = sorted(grouped, key=partial(block_order, shard_mb=self.shard_mb))
        path, work = f"site={site_id}/windows-{index:05d}-of-{total:05d}.tfrecord.snappy", work_digest(blocks)
        result = kept(self.output, path, work, ShardResult)
        if result is not None and self._is_whole(result.shard):
            seconds_written[self.output] += int(sum(map(block_seconds, blocks)))
            Metrics.counter("write", "kept").inc()
        else:
            result = self._write(site_id, path, blocks)
            keep(self.output, path, work, result)
        shard = result.shard
        count("write", n=shard.n_windows if shard else 0, n_bytes=shard.n_bytes if shard else 0, started=started)
        yield result

    def _is_whole(self, shard: Shard | None) -> bool:
        """Return whether a shard's file is as it was written; a shard of which nothing was kept has no file."""
        path = storage.join(self.output, shard.path) if shard else ""
        return shard is None or (storage.exists(path) and storage.sha256(path) == shard.sha256)

    def _write(self, site_id: str, path: str, blocks: list[Block]) -> ShardResult:
        tally = _Tally()
        with storage.create(storage.join(self.output, path)) as file:
            info = write_stream(file, self._records(blocks, tally))
        shard = None
        if info.n_records:
            shard = Shard(
                path=path, site_id=site_id, n_windows=info.n_records, n_bytes=info.n_bytes, sha256=info.sha256
            )
        else:
            storage.delete(storage.join(self.output, path))
        return ShardResult(shard, tally.subjects(), tuple(tally.rejected), dict(tally.flagged_seconds))

    def _records(self, blocks: list[Block], tally: "_Tally") -> Iterator[bytes]:
        for block in blocks:
            prepared = prepare_block(_reopened(block.plan.uri, block.plan.source_sha256), block)
            tally.add(prepared)
            for window in prepared.windows:
                yield encode_window(window)
            seconds_written[self.output] += int(block_seconds(block))


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
