"""The Beam side of an archive's run: thin steps over plain functions.

    FileRef -> PlanFiles -> Block -> keyed by part -> GroupByKey -> AnswerParts -> PartResult -> Finish

A part is read, prepared, answered and written by one call, on one worker: no samples pass a shuffle, and what a killed
run wrote is kept. Beam's own RunInference would hand every window (1 MB) from one step to the next and make up batches
of its own, and its answers would have to be grouped again into tables; docs/archives.md has what that costs.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.pvalue import AsDict, AsList

from pipelines.options import beam_options
from pipelines.runs.bar import Bar
from pipelines.runs.remote import register_remote
from pipelines.scoring.options import ScoreRun
from pipelines.scoring.parts import (
    PartKey,
    PartResult,
    Scoring,
    answer_part,
    part_of,
    windows_answered,
    windows_planned,
)
from pipelines.scoring.summary import Finish
from pipelines.stages.copies import without_copies
from pipelines.stages.outcome import Refused
from pipelines.stages.plan_files import Accepted
from pipelines.transforms import PlanFiles, Planned, count
from signals.windows.blocks import Block


def run_on_beam(score: ScoreRun, finish: Finish) -> None:
    """Run the whole chain on the runner that is named, or in this process."""
    with Bar("archive", unit="windows", output=finish.output, done=windows_answered, planned=windows_planned):
        pipeline = beam.Pipeline(options=beam_options(score.run.beam_args))
        build(pipeline, score, finish)
        pipeline.run().wait_until_finish()


def build(pipeline: beam.Pipeline, score: ScoreRun, finish: Finish) -> None:
    """Add the whole chain to a pipeline."""
    files = pipeline | "Files" >> beam.Create(score.run.inputs.files)
    planned = files | "PlanFiles" >> PlanFiles(score.run.profile, score.run.salt, score.run.keep)
    results = planned.blocks | "AnswerParts" >> AnswerParts(finish.output, score.scoring)
    _ = results | "WriteSummary" >> WriteSummary(finish, planned)


@dataclass
class AnswerParts(beam.PTransform):
    """Block -> PartResult."""

    output: str
    scoring: Scoring

    def expand(self, blocks: beam.PCollection) -> beam.PCollection:
        """Group the blocks of a part, and answer each part on some worker."""
        return (
            blocks
            | "Key by part" >> beam.Map(_keyed, self.output)
            | "Group" >> beam.GroupByKey()
            | "Answer" >> beam.ParDo(_AnswerPart(self.output, self.scoring))
        )


def _keyed(block: Block, output: str) -> tuple[PartKey, Block]:
    windows_planned[output] += len(block.starts)
    return part_of(block), block


@dataclass
class _AnswerPart(beam.DoFn):
    output: str
    scoring: Scoring

    def setup(self) -> None:
        register_remote()

    def process(self, keyed: tuple[PartKey, Iterable[Block]]) -> Iterator[PartResult]:
        started = time.perf_counter()
        result = answer_part(self.output, self.scoring, *keyed)
        if result.was_kept:
            Metrics.counter("score", "kept").inc()
        count("score", n=result.n_answered, started=started)
        yield result


@dataclass
class WriteSummary(beam.PTransform):
    """Parts of a run and what was planned -> None: the accounting."""

    finish: Finish
    planned: Planned

    def expand(self, results: beam.PCollection) -> beam.PCollection:
        """Finish on one worker."""
        once = results.pipeline | "Once" >> beam.Create([None])
        files = AsList(self.planned.accepted), AsList(self.planned.refused), AsDict(self.planned.used)
        return once | "Finish" >> beam.Map(_finish, self.finish, AsList(results), *files)


def _finish(
    _: None, finish: Finish, results: Sequence[PartResult], accepted: Sequence[Accepted], refused: Sequence[Refused],
    used: dict[str, Any],
) -> None:  # fmt: skip
    files, copies = without_copies(accepted, used)
    finish(results, files, [*refused, *copies])
