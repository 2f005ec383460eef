"""The Beam side of the pipeline: thin steps over plain functions.

    FileRef -> PlanFiles -> Block -> keyed by (site, shard) -> GroupByKey -> WriteShards -> ShardResult -> Finish

Only references go through the shuffle: a block names a recording and its windows' onsets, never samples. Which shard a
block belongs to and where it stands in it is decided by hashes (`signals.shards.sharding`), so that the content of a
shard depends neither on the runner nor on the number of workers nor on the order of bundles. `pipelines.local` runs the
same functions without Beam.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.pvalue import AsDict, AsList

from pipelines.intake.inputs import FileRef
from pipelines.report.traces import Example
from pipelines.runs.remote import register_remote
from pipelines.stages import anomaly
from pipelines.stages.copies import is_used, of_several, ranked, without_copies
from pipelines.stages.example_traces import by_site as block_by_site
from pipelines.stages.example_traces import read_example, smallest_hash
from pipelines.stages.finish import Finish
from pipelines.stages.outcome import Refused
from pipelines.stages.plan_files import Accepted, plan_file
from pipelines.stages.write_shards import ShardKey, ShardResult, write_shard
from signals.shards.sharding import by_site, chunk_seconds, cut_site, shard_key
from signals.windows.blocks import Block
from signals.windows.profiles import Profile


def count(stage: str, *, n: int, n_bytes: int = 0, started: float) -> None:
    """Add what one call of a stage did to Beam's metrics; `started` is of `time.perf_counter`."""
    Metrics.counter(stage, "elements").inc(n)
    Metrics.counter(stage, "bytes").inc(n_bytes)
    Metrics.counter(stage, "milliseconds").inc(round((time.perf_counter() - started) * 1000))


@dataclass
class PlanFiles(beam.PTransform):
    """FileRef -> Planned."""

    profile: Profile
    salt: str
    keep: tuple[str, ...] = ()

    def expand(self, files: beam.PCollection) -> "Planned":
        """Plan each file on some worker; of files of one content one goes on."""
        plan = beam.ParDo(_PlanFile(self.profile, self.salt, self.keep))
        planned = (
            files
            | "Spread files" >> beam.Reshuffle()
            | "Plan" >> plan.with_outputs("accepted", "refused", main="blocks")
        )
        used = (
            planned.accepted
            | "Rank" >> beam.Map(ranked)
            | "Copies" >> beam.GroupByKey()
            | "Of several" >> beam.FlatMap(of_several)
        )
        blocks = planned.blocks | "Without copies" >> beam.Filter(is_used, AsDict(used), self.salt)
        return Planned(blocks, planned.accepted, planned.refused, used)


class Planned(NamedTuple):
    """What `PlanFiles` gives."""

    blocks: beam.PCollection
    """Of the files that are used."""
    accepted: beam.PCollection
    """Copies too, until `Finish` sets them aside."""
    refused: beam.PCollection
    """Files and labels."""
    used: beam.PCollection
    """(recording_id, file_id) of recordings that several files hold."""


@dataclass
class _PlanFile(beam.DoFn):
    profile: Profile
    salt: str
    keep: tuple[str, ...]

    def setup(self) -> None:
        register_remote()

    def process(self, ref: FileRef) -> Iterator[Any]:
        started = time.perf_counter()
        planned = plan_file(ref, self.profile, self.salt, self.keep)
        if isinstance(planned.file, Refused):
            Metrics.counter("quarantine", planned.file.reason).inc()
            yield beam.pvalue.TaggedOutput("refused", planned.file)
        else:
            yield beam.pvalue.TaggedOutput("accepted", planned.file)
        for label in planned.labels:
            yield beam.pvalue.TaggedOutput("refused", label)
        yield from planned.blocks
        count("plan", n=1, started=started)


@dataclass
class ScoreBlocks(beam.PTransform):
    """Block -> Block with the autoencoder's scores."""

    autoencoder: str
    """Path of the ONNX file, which every worker must reach."""

    def expand(self, planned: beam.PCollection) -> beam.PCollection:
        """Prepare, run the network, keep the scores."""
        from apache_beam.ml.inference.base import KeyedModelHandler, RunInference

        return (
            planned
            | "Prepare" >> beam.ParDo(_Prepare())
            | "RunInference" >> RunInference(KeyedModelHandler(_handler(self.autoencoder)))
            | "Keep scores" >> beam.MapTuple(_keep_scores)
        )


class _Prepare(beam.DoFn):
    def setup(self) -> None:
        register_remote()

    def process(self, block: Block) -> Iterator[Any]:
        yield anomaly.windows_of(block)


def _keep_scores(block: Block, result: Any) -> Block:
    return anomaly.with_scores(block, result.inference)


def _handler(path: str) -> Any:
    from apache_beam.ml.inference.onnx_inference import OnnxModelHandlerNumpy

    class Handler(OnnxModelHandlerNumpy):
        """A session of one thread, made where it runs: its options cannot be pickled."""

        def load_model(self) -> Any:
            return anomaly.load_session(path)

    return Handler(path, inference_fn=anomaly.score_stacks, min_batch_size=1, max_batch_size=4)


@dataclass
class WriteShards(beam.PTransform):
    """Block -> ShardResult."""

    output: str
    shard_mb: float

    def expand(self, planned: beam.PCollection) -> beam.PCollection:
        """Cut each site's chunks into shards, and write each shard on some worker."""
        firsts = (
            planned
            | "Seconds by chunk" >> beam.Map(chunk_seconds, self.shard_mb)
            | beam.CombinePerKey(sum)
            | "Chunks by site" >> beam.Map(by_site)
            | beam.GroupByKey()
            | "Cut" >> beam.Map(cut_site, self.shard_mb)
        )
        return (
            planned
            | "Key by shard" >> beam.Map(shard_key, AsDict(firsts), self.shard_mb)
            | "Group" >> beam.GroupByKey()
            | "Write" >> beam.ParDo(_WriteShard(self.output, self.shard_mb))
        )


@dataclass
class _WriteShard(beam.DoFn):
    output: str
    shard_mb: float

    def setup(self) -> None:
        register_remote()

    def process(self, keyed: tuple[ShardKey, Iterable[Block]]) -> Iterator[ShardResult]:
        started = time.perf_counter()
        result = write_shard(self.output, self.shard_mb, *keyed)
        if result.was_kept:
            Metrics.counter("write", "kept").inc()
        shard = result.shard
        count("write", n=shard.n_windows if shard else 0, n_bytes=shard.n_bytes if shard else 0, started=started)
        yield result


@dataclass
class ExampleTraces(beam.PTransform):
    """Block -> Example, one per site that has a window."""

    def expand(self, planned: beam.PCollection) -> beam.PCollection:
        """Choose a block per site, then read and prepare it."""
        return (
            planned
            | "Key by site" >> beam.Map(block_by_site)
            | "Choose" >> beam.CombinePerKey(smallest_hash)
            | "Block" >> beam.Values()
            | "Read" >> beam.ParDo(_ReadExample())
        )


class _ReadExample(beam.DoFn):
    def setup(self) -> None:
        register_remote()

    def process(self, block: Block) -> Iterator[Example]:
        started = time.perf_counter()
        example = read_example(block)
        if isinstance(example, Refused):
            Metrics.counter("example", example.reason).inc()
        else:
            yield example
        count("example", n=int(isinstance(example, Example)), started=started)


@dataclass
class WriteManifest(beam.PTransform):
    """(shard results, examples) of a run and what was planned -> None: manifest, accounting and report."""

    finish: Finish
    planned: Planned

    def expand(self, sides: Any) -> beam.PCollection:
        """Finish on one worker."""
        results, examples = sides
        once = results.pipeline | "Once" >> beam.Create([None])
        files = AsList(self.planned.accepted), AsList(self.planned.refused), AsDict(self.planned.used)
        return once | "Finish" >> beam.Map(_finish, self.finish, AsList(results), AsList(examples), *files)


def _finish(
    _: None,
    finish: Finish,
    results: Sequence[ShardResult],
    examples: Sequence[Example],
    accepted: Sequence[Accepted],
    refused: Sequence[Refused],
    used: dict[str, str],
) -> None:
    files, copies = without_copies(accepted, used)
    finish(results, files, [*refused, *copies], examples)
