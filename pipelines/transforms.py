"""The Beam side of the pipeline: thin steps over `signals.prepare`.

    FileRef -> PlanFiles -> Block -> keyed by (site, shard) -> GroupByKey -> WriteShards -> ShardResult -> WriteManifest

Only references go through the shuffle: a block names a recording and its windows' onsets, never samples. Which shard a
block belongs to is decided by its hash, and a shard's blocks are sorted by it, so that the content of a shard depends
neither on the runner nor on the number of workers nor on the order of bundles.
"""

from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import AsDict

from pipelines.plan_files import PlanFile
from pipelines.sharding import block_seconds, shard_key, shards_of_site
from pipelines.write_shards import WriteShard
from signals.profiles import Profile


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
