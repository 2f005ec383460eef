"""python -m pipelines.score: an archive of recordings in, one table of a bundle's answers out.

    python -m pipelines.score --input DIR_OR_GLOB ... --bundle DIR --output DIR [--hop 10]

Rows are those of the service's jobs. Options that are not listed by --help go to Beam (--runner,
--direct_num_workers, --project, ...).
"""

import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict

from pipelines.report.advice import ADVICE
from pipelines.runs import storage
from pipelines.runs.attempt import RunError, begin_or_resume, died
from pipelines.runs.progress import run_facts
from pipelines.runs.publish import publish, publish_failure
from pipelines.scoring.options import ScoreRun, parse_args
from pipelines.scoring.summary import SCORES, Finish, Summary, complaint, read_summary
from signals.json_output import print_json
from signals.shards.manifest import COMPLETED, FILES


def score(job: ScoreRun) -> Summary | None:
    """Run the pipeline and return its accounting, or None where it was only handed over (a template).

    As `pipelines.preprocess.preprocess`: a local run works beside the output and is renamed at the end, a remote one
    writes `_COMPLETED` last. Raises RunError where nothing was answered or too many files were refused, and where the
    run died, which leaves what a `resume` needs.
    """
    run = job.run
    working = storage.working_folder(run.output)
    facts = run_facts(run.inputs.files, run.profile, run.salt, run.shard_mb) | {
        "bundle": job.scoring.digest, "hop": f"{run.profile.hop_s:g} s",
    }  # fmt: skip
    begin_or_resume(working, facts, resume=run.resume)
    finish = Finish(
        output=working, model=job.model, model_digest=job.scoring.digest, classes=job.classes,
        window_s=run.profile.window_s, hop_s=run.profile.hop_s, n_files=len(run.inputs.files),
        max_quarantined=run.max_quarantined, completes=storage.is_remote(run.output) and not run.is_here,
    )  # fmt: skip
    try:
        # Imported here: worker processes import this module as the program's main one, and need neither.
        if run.n_workers > 1:
            from pipelines.scoring.local import run_local as run_it
        else:
            from pipelines.scoring.transforms import run_on_beam as run_it
        run_it(job, finish)
    except Exception as error:  # whatever a runner, a worker or a file system raises ends the run in one line
        raise died(error, working, "tables") from error
    if not storage.exists(storage.join(working, SCORES)):
        return None
    summary = read_summary(working)
    if why := complaint(summary, run.max_quarantined):
        raise RunError(f"{why}; see {storage.join(publish_failure(working, run.output), FILES)}")
    if not finish.completes:
        storage.write_text(storage.join(working, COMPLETED), "")
    publish(working, run.output)
    return summary


def describe(summary: Summary, seconds: float) -> str:
    """Return the accounting of a run in a few lines for a terminal."""
    files, windows = summary.files, summary.windows
    predicted = ", ".join(f"{n} {name}" for name, n in sorted(summary.predicted.items(), key=lambda item: -item[1]))
    lines = [
        f"files    {files['in']} in = {files['answered']} answered + {files['refused']} refused + "
        f"{files['copies']} copies",
        f"windows  {windows['planned']} planned = {windows['answered']} answered + {windows['rejected']} rejected",
        f"hours    {summary.hours:.2f} answered every {summary.hop_s:g} s, {60 * summary.hours / seconds:.1f} a minute",
        f"answers  {predicted}",
        *(f"{n} files left out, {reason}: {ADVICE[reason]}" for reason, n in summary.refused.items()),
        *(f"{n} windows left out, {reason}: {ADVICE[reason]}" for reason, n in summary.rejected.items()),
        "Research use only. Not a medical device.",
    ]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line; returns 0, or 2 with one line on standard error."""
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.WARNING)
    job, started = parse_args(argv), time.perf_counter()
    try:
        summary = score(job)
    except RunError as error:
        print(f"cerebeam archive: {error}", file=sys.stderr)  # noqa: T201
        return 2
    seconds = time.perf_counter() - started
    if job.as_json:
        known = {} if summary is None else asdict(summary) | {"seconds": round(seconds, 3)}
        print_json({"output": job.run.output, "finished": summary is not None, **known})
        return 0
    if summary is None:
        print(f"handed over; the answers in {job.run.output} are whole when it has {COMPLETED}")  # noqa: T201
        return 0
    print(describe(summary, seconds))  # noqa: T201
    print(f"tables   {job.run.output}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
