"""Blocks to one shard: read, prepared, encoded, written, and what the manifest must know of it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from pipelines.runs import storage
from pipelines.runs.progress import faults_path, keep, kept, rejected_path, work_digest
from pipelines.stages.outcome import FAULTS, Refused
from pipelines.stages.prepare import prepared
from signals.shards.index import ShardIndex, index_name, write_index
from signals.shards.manifest import Shard, SubjectEntry, shard_name
from signals.shards.sharding import block_order, block_seconds
from signals.shards.tally import Sums, Tally
from signals.shards.writer import write_encoded
from signals.threads import one_thread
from signals.window import Window
from signals.windows.blocks import Block

ShardKey = tuple[str, int, int]
"""(site_id, shard, number of shards)."""
seconds_written = Counter[str]()
"""Seconds of windows written by this process, by output folder: what a progress bar can watch in a run of one
process."""


@dataclass(frozen=True, kw_only=True)
class ShardResult:
    """One written shard, and what the manifest must know of its windows."""

    site_id: str
    name: str
    """The shard's path as it was planned; the rows of its rejected windows lie beside its note."""
    shard: Shard | None
    """None where every window of the shard's blocks was rejected."""
    subjects: dict[str, SubjectEntry]
    rejected: dict[str, int]
    """Rejected windows by reason."""
    sums: Sums
    has_faults: bool = False
    """Whether some were rejected for `pipelines.stages.outcome.FAULTS`; their private rows lie there too."""
    was_kept: bool = False
    """Whether an earlier, killed run had written it."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, nothing lost."""
        return {
            "site_id": self.site_id,
            "name": self.name,
            "shard": asdict(self.shard) if self.shard else None,
            "subjects": {name: entry.to_dict() for name, entry in self.subjects.items()},
            "rejected": self.rejected,
            "sums": self.sums.to_dict(),
            "has_faults": self.has_faults,
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "ShardResult":
        """Build a result from `to_dict`'s output, as one that was kept."""
        return cls(
            site_id=fields["site_id"],
            name=fields["name"],
            shard=Shard.from_dict(fields["shard"]) if fields["shard"] else None,
            subjects={name: SubjectEntry.from_dict(entry) for name, entry in fields["subjects"].items()},
            rejected=dict(fields["rejected"]),
            sums=Sums.from_dict(fields["sums"]),
            has_faults=fields["has_faults"],
            was_kept=True,
        )


def write_shard(output: str, shard_mb: float, key: ShardKey, grouped: Iterable[Block]) -> ShardResult:
    """Return what came of one shard: read, prepared, encoded and written.

    A shard that an earlier, killed run wrote whole from the same work is verified by its sha256 and kept.
    """
    blocks = sorted(grouped, key=partial(block_order, shard_mb=shard_mb))
    name, work = shard_name(*key), work_digest(blocks)
    note = kept(output, name, work)
    if note is not None and _is_whole(output, (result := ShardResult.from_dict(note)).shard):
        seconds_written[output] += int(sum(map(block_seconds, blocks)))
        return result
    result = _write(output, key[0], name, blocks)
    keep(output, name, work, result.to_dict())
    return result


def _is_whole(output: str, shard: Shard | None) -> bool:
    """Return whether a shard's files are as they were written; a shard of which nothing was kept has none."""
    if shard is None:
        return True
    paths = {storage.join(output, name): digest for name, digest in shard.files.items()}
    return all(storage.exists(path) and storage.sha256(path) == digest for path, digest in paths.items())


def _write(output: str, site_id: str, name: str, blocks: list[Block]) -> ShardResult:
    tally, refused = Tally(), list[Refused]()
    path = storage.join(output, name)
    with one_thread(), storage.create(path) as file:
        encoded = _encoded(output, blocks, refused)
        written = write_encoded(file, encoded, path=name, site_id=site_id, tally=tally)
    shard = None
    if written is None:
        storage.delete(path)  # the finish closes the gap in the numbers
    else:
        with storage.create(storage.join(output, index_name(name))) as file:
            digest = write_index(file, written.rows)
        shard = replace(written.shard, index=ShardIndex(path=index_name(name), sha256=digest))
    if refused:
        storage.write_rows(rejected_path(output, name), [row.public_row() for row in refused])
    faults = [row.private_row() for row in refused if row.reason in FAULTS]
    if faults:
        storage.write_rows(faults_path(output, name), faults)
    reasons = Counter(row.reason for row in refused)
    return ShardResult(
        site_id=site_id, name=name, shard=shard, subjects=tally.subjects(), rejected=dict(sorted(reasons.items())),
        sums=tally.sums(), has_faults=bool(faults),
    )  # fmt: skip


def _encoded(output: str, blocks: list[Block], refused: list[Refused]) -> Iterator[tuple[Window, bytes]]:
    for block in blocks:
        for outcome in prepared(block):
            if isinstance(outcome, Refused):
                refused.append(outcome)
            else:
                yield outcome.window, outcome.record
        seconds_written[output] += int(block_seconds(block))
