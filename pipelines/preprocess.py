"""python -m pipelines.preprocess: recordings of any site in, one shard set out.

    python -m pipelines.preprocess --input DIR_OR_GLOB ... --output DIR --labels CSV --profile pretrain

Options that are not listed by --help go to Beam (--runner, --direct_num_workers, --project, ...).
"""

import argparse
import json
import logging
import re
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import pipelines.chatter  # noqa: F401

# isort: split
import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.pvalue import AsList
from tqdm import tqdm

from pipelines import storage
from pipelines.finish import WriteManifest, complaint
from pipelines.inputs import InputError, Inputs, find_inputs
from pipelines.progress import BEGUN, PROGRESS, begin, other_facts, run_facts
from pipelines.salt import resolve_salt
from pipelines.transforms import PlanFiles, WriteShards
from pipelines.write_shards import seconds_written
from signals.command_line import Parser
from signals.labels import LabelError, LabelTable, read_labels
from signals.manifest import COMPLETED, MANIFEST
from signals.profiles import PROFILES, Profile, with_overrides

logger = logging.getLogger(__name__)

LOCAL_RUNNER = "pipelines.local_runner.LocalRunner"


class RunError(RuntimeError):
    """A run that ended without a shard set; the message is one line."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One resolved run of the pipeline."""

    inputs: Inputs
    output: str
    profile: Profile
    salt: str
    shard_mb: float = 128.0
    max_quarantined: float = 0.5
    resume: bool = False
    """Go on where a killed run of the same inputs, profile, salt and code ended."""
    options: PipelineOptions = field(default_factory=lambda: beam_options(()))


def build(pipeline: beam.Pipeline, run: Run, output: str) -> None:
    """Add the whole chain to a pipeline; shards and manifest go to `output`."""
    files = pipeline | "Files" >> beam.Create(run.inputs.files)
    planned = files | "PlanFiles" >> PlanFiles(run.profile, run.salt)
    results = planned.blocks | "WriteShards" >> WriteShards(output, run.shard_mb)
    finish = WriteManifest(output, run.profile, len(run.inputs.files), len(run.inputs.side_files), run.max_quarantined)
    _ = (
        pipeline
        | "Once" >> beam.Create([None])
        | "WriteManifest" >> beam.ParDo(finish, AsList(results), AsList(planned.accepted), AsList(planned.quarantined))
    )


def preprocess(run: Run) -> dict[str, Any] | None:
    """Run the pipeline and return its counts, or None where it was only handed over (a template, a dry run).

    A local run works in a folder beside the output, which is renamed at the end; a remote run in the output itself,
    where `_COMPLETED` is written last. Raises RunError where no window was written or too many files were quarantined,
    which leaves nothing behind, and where the run died, which leaves what a `resume` needs.
    """
    working = storage.working_folder(run.output)
    _begin(working, run)
    try:
        with _Progress(working, run):
            pipeline = beam.Pipeline(options=run.options)
            build(pipeline, run, working)
            pipeline.run().wait_until_finish()
    except Exception as error:  # whatever a runner, a worker or a file system raises ends the run in one line
        logger.debug("the run died", exc_info=error)
        raise RunError(f"the run died: {_last_line(error)}; {_left_over(working)}") from error
    if not storage.exists(storage.join(working, MANIFEST)):
        return None
    counts: dict[str, Any] = json.loads(storage.read_text(storage.join(working, MANIFEST)))["counts"]
    if why := complaint(counts, run.max_quarantined):
        storage.delete_folder(working)
        raise RunError(why)
    storage.publish(working, run.output)
    return counts


def _begin(working: str, run: Run) -> None:
    """Make the working folder ready: empty, or for a resumed run as the killed one left it."""
    facts = run_facts(run.inputs.files, run.profile, run.salt, run.shard_mb)
    other = other_facts(working, facts) if run.resume else None
    if other:
        raise RunError(
            f"--resume: {working} was begun with another {', '.join(other)}; leave --resume out to start anew"
        )
    if other is None:
        storage.delete_folder(working)
        begin(working, facts)


def _left_over(working: str) -> str:
    """Say what a dead run left; a run that wrote no shard leaves nothing."""
    n_shards = len(storage.list_files(storage.join(working, PROGRESS)))
    if n_shards == 0:
        storage.delete_folder(working)
        return "nothing was written"
    return f"{working} keeps {n_shards} whole shards, which --resume takes over"


def _last_line(error: Exception) -> str:
    """Return what a worker's traceback ends with."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    raised = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Interrupt)\b", line)]
    return raised[-1] if raised else f"{type(error).__name__}: {lines[-1] if lines else ''}".rstrip(": ")


def beam_options(beam_args: Sequence[str]) -> PipelineOptions:
    """Return Beam's options, the runner being the one of this machine where none is named."""
    args = list(beam_args)
    if not any(arg.split("=")[0] == "--runner" for arg in args):
        args.append(f"--runner={LOCAL_RUNNER}")
    # On Dataflow Beam would pickle this module's globals by default; no step needs them (a test reads the staged job).
    return PipelineOptions(["--no_save_main_session", *args])


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


def parse_args(argv: Sequence[str] | None = None) -> Run:
    """Return the run that a command line asks for; exits with code 2 and one line on bad input."""
    parser = _parser()
    args, beam_args = parser.parse_known_args(argv)
    _refuse_unknown(parser, beam_args)
    options = beam_options(beam_args)
    try:
        FileSystems.set_options(options)
        _check_places([*args.input, args.output, *([args.labels] if args.labels else [])], options)
        _check_output(args.output, overwrite=args.overwrite)
        table = _read_labels(args.labels) if args.labels else None
        inputs = find_inputs(args.input, table)
        profile = with_overrides(PROFILES[args.profile], dict(_option(text) for text in args.set))
        salt = storage.read_text(args.salt_file).strip() if args.salt_file else args.salt
    except FileNotFoundError as error:
        parser.exit(2, f"{parser.prog}: {error} does not exist\n")
    except (InputError, LabelError, ValueError, storage.StorageError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    if table and (unmatched := table.unmatched(file.uri for file in inputs.files)):
        logger.warning("%d files of the label file are not among the inputs, e.g. %s", len(unmatched), unmatched[0])
    return Run(
        inputs=inputs,
        output=args.output,
        profile=profile,
        salt=resolve_salt(salt),
        shard_mb=args.shard_mb,
        max_quarantined=args.max_quarantined,
        resume=args.resume,
        options=options,
    )


def _option(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"--set {text} needs the form option=value")
    return name, value


def _parser() -> Parser:
    parser = Parser(prog="pipelines.preprocess", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--input", nargs="+", required=True, help="folders, files or globs; gs:// as well")
    parser.add_argument("--output", required=True, help="folder of the shard set, gs:// as well; must not exist yet")
    parser.add_argument("--labels", help="csv with a column file and site, subject, onset_s, label, votes")
    parser.add_argument("--profile", choices=sorted(PROFILES), default="pretrain")
    parser.add_argument(
        "--set", action="append", default=[], metavar="OPTION=VALUE", help="change an option of the profile: hop_s=5"
    )
    parser.add_argument("--salt", help="secret for the subject hashes; else CEREBEAM_SALT, else one kept for this user")
    parser.add_argument("--salt-file", help="file that holds the salt, gs:// as well")
    parser.add_argument("--shard-mb", type=float, default=128.0, help="target size of a shard, MB (default 128)")
    parser.add_argument("--max-quarantined", type=float, default=0.5, help="share of files above which the run fails")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output when the run succeeds")
    parser.add_argument("--resume", action="store_true", help="keep the whole shards of a killed run with this output")
    parser.epilog = (
        "All other options go to Beam: --direct_running_mode=multi_processing --direct_num_workers=N for N processes, "
        "--runner=PortableRunner --job_endpoint=HOST:PORT, --runner=DataflowRunner --project ...; see docs/pipeline.md."
    )
    return parser


def _check_places(paths: Sequence[str], options: PipelineOptions) -> None:
    """Raise where a path's file system is not installed, or where workers elsewhere could not reach it."""
    for path in paths:
        storage.check_scheme(path)
    runner = str(options.view_as(StandardOptions).runner).rsplit(".", 1)[-1]
    here = [path for path in paths if not storage.is_remote(path)]
    if runner == "DataflowRunner" and here:
        raise InputError(f"{here[0]} lies on this machine, where Dataflow's workers cannot reach it: copy it to gs://")


def _check_output(output: str, *, overwrite: bool) -> None:
    """Raise where the output holds something that no killed run of ours left there."""
    if overwrite:
        return
    unfinished = storage.exists(storage.join(output, BEGUN)) and not storage.exists(storage.join(output, COMPLETED))
    if not unfinished and (Path(output).is_file() or storage.list_files(output)):
        raise InputError(f"output {output} exists already; choose another or give --overwrite")


def _read_labels(path: str) -> LabelTable:
    if not storage.is_remote(path):
        return read_labels(Path(path))
    with tempfile.TemporaryDirectory() as folder, storage.open_file(path) as file:
        copy = Path(folder) / PurePosixPath(path).name
        copy.write_bytes(file.read())
        return read_labels(copy)


def _refuse_unknown(parser: argparse.ArgumentParser, beam_args: list[str]) -> None:
    """Exit with code 2 on an option that neither we nor Beam know: Beam itself would drop it without a word."""
    known = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for options in PipelineOptions.__subclasses__():
        with suppress(argparse.ArgumentError):
            options._add_argparse_args(known)  # the only list of Beam's options there is
    _, unknown = known.parse_known_args(beam_args)
    if unknown:
        parser.exit(2, f"{parser.prog}: unknown option {unknown[0]}; see --help\n")


def describe(counts: dict[str, Any]) -> str:
    """Return the counts of a run in a few lines for a terminal."""
    files, windows = counts["files"], counts["windows"]
    lines = [
        f"files    {files['in']} in = {files['accepted']} accepted + {files['quarantined']} quarantined"
        + (
            f" ({', '.join(f'{n} {reason}' for reason, n in files['by_reason'].items())})" if files["by_reason"] else ""
        ),
        f"windows  {windows['planned']} planned = {windows['written']} written + {windows['rejected']} rejected",
        f"hours    {counts['hours_in']:.2f} in, {counts['bytes'] / 1e6:.1f} MB of shards, {len(counts['sites'])} sites",
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
    return 0


if __name__ == "__main__":
    sys.exit(main())
