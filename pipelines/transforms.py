"""The Beam side of the pipeline: thin steps over plain functions.

    FileRef -> PlanFiles -> Block -> keyed by (site, shard) -> GroupByKey -> WriteShards -> ShardResult -> WriteManifest

Only references go through the shuffle: a block names a recording and its windows' onsets, never samples. Which shard a
block belongs to and where it stands in it is decided by hashes (`signals.shards.sharding`), so that the content of a
shard depends neither on the runner nor on the number of workers nor on the order of bundles.
"""

from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import AsDict

from pipelines.stages.plan_files import PlanFile
from pipelines.stages.write_shards import WriteShard
from signals.shards.sharding import by_site, chunk_seconds, cut_site, shard_key
from signals.windows.profiles import Profile


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
        """Cut each site's chunks into shards, and write each shard on some worker."""
        firsts = (
            planned
            | "Seconds by chunk" >> beam.Map(chunk_seconds, self.shard_mb) | beam.CombinePerKey(sum)
            | "Chunks by site" >> beam.Map(by_site) | beam.GroupByKey()
            | "Cut" >> beam.Map(cut_site, self.shard_mb)
        )  # fmt: skip
        return (
            planned
            | "Key by shard" >> beam.Map(shard_key, AsDict(firsts), self.shard_mb)
            | "Group" >> beam.GroupByKey()
            | "Write" >> beam.ParDo(WriteShard(self.output, self.shard_mb))
        )
