"""python -m pipelines.preprocess: recordings of any site in, one shard set out.

    python -m pipelines.preprocess --input DIR_OR_GLOB ... --output DIR --labels CSV --profile pretrain

Options that are not listed by --help go to Beam (--runner, --direct_num_workers, --project, ...).
"""

import json
import logging
import sys
import time
from collections.abc import Sequence

from pipelines.options import Run, parse_args
from pipelines.report.advice import ADVICE
from pipelines.report.report import add_timings
from pipelines.runs import storage
from pipelines.runs.accounting import Counts, complaint
from pipelines.runs.attempt import RunError, begin_or_resume, died
from pipelines.runs.progress import run_facts
from pipelines.runs.publish import publish, publish_failure
from pipelines.stages.finish import Finish
from signals.json_output import print_json
from signals.recording.identity import salt_id
from signals.shards.manifest import COMPLETED, MANIFEST, REPORT


def preprocess(run: Run) -> Counts | None:
    """Run the pipeline and return its accounting, or None where it was only handed over (a template, a dry run).

    A local run works in a folder beside the output, which is renamed at the end; a remote run in the output itself,
    where `_COMPLETED` is written last. Raises RunError where no window was written or too many files were quarantined:
    then OUTPUT.failed holds the report and the accounting, and a local output is as it was. Raises it too where the run
    died, which leaves what a `resume` needs.
    """
    working = storage.working_folder(run.output)
    begin_or_resume(
        working, run_facts(run.inputs.files, run.profile, run.salt, run.shard_mb, run.keep), resume=run.resume
    )
    finish = Finish(
        output=working,
        profile=run.profile,
        n_files=len(run.inputs.files),
        n_side_files=len(run.inputs.side_files),
        max_quarantined=run.max_quarantined,
        salt_id=salt_id(run.salt),
        shard_mb=run.shard_mb,
        keep=run.keep,
        site_from=run.site_from,
        carded_sites=run.inputs.carded_sites,
        # A job elsewhere may outlive this process, so it completes its set itself; there nothing is written behind it.
        completes=storage.is_remote(run.output) and not run.is_here,
    )
    started = time.perf_counter()
    try:
        # Imported here: worker processes import this module as the program's main one, and need neither.
        if run.n_workers > 1:
            from pipelines.local import run_local as run_it
        else:
            from pipelines.on_beam import run_on_beam as run_it
        runner, counters = run_it(run, finish)
    except Exception as error:  # whatever a runner, a worker or a file system raises ends the run in one line
        raise died(error, working, "shards") from error
    if not storage.exists(storage.join(working, MANIFEST)):
        return None
    if not finish.completes:
        add_timings(working, wall_s=time.perf_counter() - started, counters=counters, runner=runner)
    counts = Counts.from_dict(json.loads(storage.read_text(storage.join(working, MANIFEST)))["counts"])
    if why := complaint(counts, run.max_quarantined):
        failed = publish_failure(working, run.output)
        raise RunError(f"{why}; see {storage.join(failed, REPORT)}", counts)
    if not finish.completes:
        storage.write_text(storage.join(working, COMPLETED), "")
    publish(working, run.output)
    return counts


def describe(counts: Counts) -> str:
    """Return the accounting of a run in a few lines for a terminal."""
    files, windows, hours = counts.files, counts.windows, counts.hours
    reasons = ", ".join(f"{n} {reason}" for reason, n in files.by_reason.items())
    lines = [
        f"files    {files.n_in} in = {files.accepted} accepted + {files.quarantined} quarantined"
        + (f" ({reasons})" if reasons else ""),
        f"windows  {windows.planned} planned = {windows.written} written + {windows.rejected} rejected",
        f"hours    {hours.accepted:.2f} read, {hours.written:.2f} written, {counts.n_bytes / 1e6:.1f} MB of "
        f"shards, {len(counts.sites)} site{'' if len(counts.sites) == 1 else 's'}",
    ]
    return "\n".join(lines)


def hints(counts: Counts) -> list[str]:
    """Return a line per reason for which something was left out: how often, and the next step."""
    levels = (("files", counts.files), ("labels", counts.labels), ("windows", counts.windows))
    return [
        f"{n} {level if n > 1 else level[:-1]} left out, {reason}: {ADVICE[reason]}"
        for level, counted in levels
        for reason, n in counted.by_reason.items()
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line; returns 0, or 2 with one line on standard error."""
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.WARNING)
    run = parse_args(argv)
    try:
        counts = preprocess(run)
    except RunError as error:
        print(f"cerebeam preprocess: {error}", file=sys.stderr)  # noqa: T201
        for line in hints(error.counts) if error.counts else ():
            print(line, file=sys.stderr if run.as_json else sys.stdout)
        return 2
    if run.as_json:
        print_json({"output": run.output, "finished": counts is not None, **(counts.to_dict() if counts else {})})
        return 0
    if counts is None:
        print(f"handed over; the shard set in {run.output} is whole when it has {COMPLETED}")  # noqa: T201
        return 0
    print(describe(counts))  # noqa: T201
    print(f"shards   {run.output}")  # noqa: T201
    print("\n".join([f"report   {storage.join(run.output, REPORT)}", *hints(counts)]))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
