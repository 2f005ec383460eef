"""A run on a Beam runner: FnApiRunner in this process unless another is named."""

from typing import Any

import apache_beam as beam

from pipelines.options import Run, beam_options
from pipelines.runs import storage
from pipelines.runs.bar import Bar
from pipelines.stages.finish import Finish
from pipelines.stages.write_shards import seconds_written
from pipelines.transforms import ExampleTraces, PlanFiles, ScoreBlocks, WriteManifest, WriteShards
from signals.shards.manifest import MANIFEST

Counters = dict[str, dict[str, int]]


def run_on_beam(run: Run, finish: Finish) -> tuple[str, Counters]:
    """Run the whole chain; returns the runner's name and the counters of the stages."""
    what = f"preprocess {run.profile.name}"
    with Bar(what, unit="s EEG", output=finish.output, done=seconds_written):
        pipeline = beam.Pipeline(options=beam_options(run.beam_args))
        build(pipeline, run, finish)
        result = pipeline.run()
        result.wait_until_finish()
    was_run = storage.exists(storage.join(finish.output, MANIFEST))  # else it was handed over, as a template
    return type(pipeline.runner).__name__, stage_counters(result) if was_run else {}


def build(pipeline: beam.Pipeline, run: Run, finish: Finish) -> None:
    """Add the whole chain to a pipeline."""
    files = pipeline | "Files" >> beam.Create(run.inputs.files)
    planned = files | "PlanFiles" >> PlanFiles(run.profile, run.salt, run.keep)
    blocks = planned.blocks
    if run.autoencoder is not None:
        blocks = blocks | "ScoreBlocks" >> ScoreBlocks(run.autoencoder)
    results = blocks | "WriteShards" >> WriteShards(finish.output, run.shard_mb)
    examples = planned.blocks | "ExampleTraces" >> ExampleTraces()
    _ = (results, examples) | "WriteManifest" >> WriteManifest(finish, planned)


def stage_counters(result: Any) -> Counters:
    """Return the counters by stage of a pipeline's result; empty where the runner gives none."""
    stages: Counters = {}
    for entry in result.metrics().query()["counters"]:
        value = entry.committed if entry.committed is not None else entry.attempted
        name = entry.key.metric
        stages.setdefault(name.namespace, {})
        stages[name.namespace][name.name] = stages[name.namespace].get(name.name, 0) + int(value or 0)
    return {stage: dict(sorted(values.items())) for stage, values in sorted(stages.items())}
