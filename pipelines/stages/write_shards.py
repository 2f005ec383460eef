"""Blocks to one shard: read, prepared, encoded, written, and what the manifest must know of it."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics

from pipelines.runs import storage
from pipelines.runs.progress import keep, kept, work_digest
from pipelines.runs.remote import register_remote
from pipelines.stages.counters import count
from signals.readers.registry import reopen_recording
from signals.recording.recording import Recording
from signals.shards.manifest import Shard, SubjectEntry, shard_name
from signals.shards.records import encode_window
from signals.shards.sharding import block_order, block_seconds
from signals.shards.tally import Tally
from signals.shards.tfrecord import write_stream
from signals.threads import one_thread
from signals.windows.blocks import Block
from signals.windows.prepare import Rejected, prepare_block

seconds_written = Counter[str]()
"""Seconds of windows written by this process, by output folder: what a progress bar can watch in a local run."""


@dataclass(frozen=True)
class ShardResult:
    """One written shard, and what the manifest must know of its windows."""

    shard: Shard | None
    """None where every window of the shard's blocks was rejected."""
    subjects: dict[str, SubjectEntry]
    rejected: tuple[Rejected, ...]
    sums: dict[str, Any] = field(default_factory=dict)
    """What its windows add up to in the books (`signals.shards.tally`)."""


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
        path, work = shard_name(site_id, index, total), work_digest(blocks)
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
        tally, rejected = Tally(), list[Rejected]()
        with one_thread(), storage.create(storage.join(self.output, path)) as file:
            info = write_stream(file, self._records(blocks, tally, rejected))
        shard = None
        if info.n_records:
            shard = Shard(
                path=path, site_id=site_id, n_windows=info.n_records, n_bytes=info.n_bytes, sha256=info.sha256
            )
        else:
            storage.delete(storage.join(self.output, path))  # the finish closes the gap in the numbers
        return ShardResult(shard, tally.subjects(), tuple(rejected), tally.sums())

    def _records(self, blocks: list[Block], tally: Tally, rejected: list[Rejected]) -> Iterator[bytes]:
        for block in blocks:
            prepared = prepare_block(_reopened(block.plan.uri, block.plan.source_sha256), block)
            rejected += prepared.rejected
            for window in prepared.windows:
                tally.add(window)
                yield encode_window(window)
            seconds_written[self.output] += int(block_seconds(block))


@lru_cache(maxsize=8)
def _reopened(uri: str, sha256: str) -> Recording:
    """Return a planned recording again; a shard's blocks come from many. `sha256` keeps the cache honest."""
    return reopen_recording(uri)
