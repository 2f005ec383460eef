"""python -m pipelines.preprocess: recordings of any site in, one shard set out.

    python -m pipelines.preprocess --input DIR_OR_GLOB ... --output DIR --labels CSV --profile pretrain

Options that are not listed by --help go to Beam (--runner, --direct_num_workers, --project, ...).
"""

import json
import logging
import re
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pipelines.local.lean_beam  # noqa: F401

# isort: split
import apache_beam as beam
from apache_beam.options.pipeline_options import DirectOptions
from apache_beam.pvalue import AsList
from tqdm import tqdm

from pipelines.local.nursery import nursery
from pipelines.options import Run, parse_args
from pipelines.report.report import add_timings, stage_counters
from pipelines.runs import storage
from pipelines.runs.accounting import complaint
from pipelines.runs.progress import PROGRESS, begin, other_facts, run_facts
from pipelines.runs.publish import clear, publish, publish_failure
from pipelines.stages.anomaly import ScoreBlocks
from pipelines.stages.example_traces import ExampleTraces
from pipelines.stages.finish import WriteManifest
from pipelines.stages.write_shards import seconds_written
from pipelines.transforms import PlanFiles, WriteShards
from signals.recording.identity import salt_id
from signals.shards.manifest import COMPLETED, MANIFEST, REPORT

logger = logging.getLogger(__name__)


class RunError(RuntimeError):
    """A run that ended without a shard set; the message is one line."""


def build(pipeline: beam.Pipeline, run: Run, output: str) -> None:
    """Add the whole chain to a pipeline; shards and manifest go to `output`."""
    files = pipeline | "Files" >> beam.Create(run.inputs.files)
    planned = files | "PlanFiles" >> PlanFiles(run.profile, run.salt)
    blocks = planned.blocks
    if run.autoencoder is not None:
        blocks = blocks | "ScoreBlocks" >> ScoreBlocks(run.autoencoder)
    results = blocks | "WriteShards" >> WriteShards(output, run.shard_mb)
    examples = planned.blocks | "ExampleTraces" >> ExampleTraces()
    finish = WriteManifest(
        output,
        run.profile,
        n_files=len(run.inputs.files),
        n_side_files=len(run.inputs.side_files),
        max_quarantined=run.max_quarantined,
        salt_id=salt_id(run.salt),
        shard_mb=run.shard_mb,
    )
    sides = (AsList(results), AsList(planned.accepted), AsList(planned.quarantined), AsList(examples))
    _ = pipeline | "Once" >> beam.Create([None]) | "WriteManifest" >> beam.ParDo(finish, *sides)


def preprocess(run: Run) -> dict[str, Any] | None:
    """Run the pipeline and return its counts, or None where it was only handed over (a template, a dry run).

    A local run works in a folder beside the output, which is renamed at the end; a remote run in the output itself,
    where `_COMPLETED` is written last. Raises RunError where no window was written or too many files were quarantined:
    then OUTPUT.failed holds the report and the books, and a local output is as it was. Raises it too where the run
    died, which leaves what a `resume` needs.
    """
    working = storage.working_folder(run.output)
    _begin(working, run)
    started = time.perf_counter()
    try:
        with _workers(run), _Progress(working, run):
            pipeline = beam.Pipeline(options=run.options)
            build(pipeline, run, working)
            result = pipeline.run()
            result.wait_until_finish()
    except Exception as error:  # whatever a runner, a worker or a file system raises ends the run in one line
        logger.debug("the run died", exc_info=error)
        raise RunError(f"the run died: {_last_line(error)}; {_left_over(working)}") from error
    if not storage.exists(storage.join(working, MANIFEST)):
        return None
    runner = type(pipeline.runner).__name__
    add_timings(working, wall_s=time.perf_counter() - started, counters=stage_counters(result), runner=runner)
    counts: dict[str, Any] = json.loads(storage.read_text(storage.join(working, MANIFEST)))["counts"]
    if why := complaint(counts, run.max_quarantined):
        failed = publish_failure(working, run.output)
        raise RunError(f"{why}; see {storage.join(failed, REPORT)}")
    publish(working, run.output)
    return counts


def _workers(run: Run) -> AbstractContextManager[None]:
    """Return the nursery of a local run with several processes; what a remote file system has open cannot be forked."""
    in_processes = run.options.view_as(DirectOptions).direct_running_mode == "multi_processing"
    is_remote = any(storage.is_remote(place) for place in (run.output, *(file.uri for file in run.inputs.files)))
    return nursery() if in_processes and not is_remote else nullcontext()


def _begin(working: str, run: Run) -> None:
    """Make the working folder ready: empty, or for a resumed run as the killed one left it."""
    facts = run_facts(run.inputs.files, run.profile, run.salt, run.shard_mb)
    other = other_facts(working, facts) if run.resume else None
    if other:
        raise RunError(
            f"--resume: {working} was begun with another {', '.join(other)}; leave --resume out to start anew"
        )
    if other is None:
        clear(working)
        begin(working, facts)


def _left_over(working: str) -> str:
    """Say what a dead run left; a run that wrote no shard leaves nothing."""
    n_shards = len(storage.list_files(storage.join(working, PROGRESS)))
    if n_shards == 0:
        clear(working)
        return "nothing was written"
    return f"{working} keeps {n_shards} whole shards, which --resume takes over"


def _last_line(error: Exception) -> str:
    """Return what a worker's traceback ends with."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    raised = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Interrupt)\b", line)]
    return raised[-1] if raised else f"{type(error).__name__}: {lines[-1] if lines else ''}".rstrip(": ")


class _Progress:
    """A bar over seconds of EEG written, for runs within this process and a terminal; silent otherwise."""

    def __init__(self, output: str, run: Run) -> None:
        self._output, self._done = output, threading.Event()
        self._bar = tqdm(desc=f"preprocess {run.profile.name}", unit="s EEG", unit_scale=True, disable=None)
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self._bar.close()

    def _watch(self) -> None:
        ended = False
        while not ended:
            ended = self._done.wait(0.5)
            self._bar.update(seconds_written[self._output] - self._bar.n)


def describe(counts: dict[str, Any]) -> str:
    """Return the counts of a run in a few lines for a terminal."""
    files, windows, hours = counts["files"], counts["windows"], counts["hours"]
    lines = [
        f"files    {files['in']} in = {files['accepted']} accepted + {files['quarantined']} quarantined"
        + (
            f" ({', '.join(f'{n} {reason}' for reason, n in files['by_reason'].items())})" if files["by_reason"] else ""
        ),
        f"windows  {windows['planned']} planned = {windows['written']} written + {windows['rejected']} rejected",
        f"hours    {hours['accepted']:.2f} read, {hours['written']:.2f} written, {counts['bytes'] / 1e6:.1f} MB of "
        f"shards, {len(counts['sites'])} sites",
    ]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line; returns 0, or 2 with one line on standard error."""
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.WARNING)
    run = parse_args(argv)
    try:
        counts = preprocess(run)
    except RunError as error:
        print(f"pipelines.preprocess: {error}", file=sys.stderr)  # noqa: T201
        return 2
    if counts is None:
        print(f"handed over; the shard set in {run.output} is whole when it has {COMPLETED}")  # noqa: T201
        return 0
    print(describe(counts))  # noqa: T201
    print(f"shards   {run.output}")  # noqa: T201
    print(f"report   {storage.join(run.output, REPORT)}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
