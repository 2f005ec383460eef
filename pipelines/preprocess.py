"""python -m pipelines.preprocess: recordings of any site in, one shard set out.

    python -m pipelines.preprocess --input DIR_OR_GLOB ... --output DIR --labels CSV --profile pretrain

Options that are not listed by --help go to Beam (--runner, --direct_num_workers, --project, ...).
"""

import argparse
import json
import logging
import shutil
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pvalue import AsList
from tqdm import tqdm

from pipelines.finish import WriteManifest, complaint
from pipelines.inputs import InputError, Inputs, find_inputs
from pipelines.salt import resolve_salt
from pipelines.transforms import PlanFiles, WriteShards
from pipelines.write_shards import seconds_written
from signals.command_line import Parser
from signals.labels import LabelError, read_labels
from signals.manifest import MANIFEST
from signals.profiles import PROFILES, Profile, with_overrides

logger = logging.getLogger(__name__)

LOCAL_RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
"""The default by its full name: DirectRunner of this Beam version first tries to download another runner."""


class RunError(RuntimeError):
    """A run that ended without a shard set; the message is one line."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One resolved run of the pipeline."""

    inputs: Inputs
    output: Path
    profile: Profile
    salt: str
    shard_mb: float = 128.0
    max_quarantined: float = 0.5
    beam_args: tuple[str, ...] = ()


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


def preprocess(run: Run) -> dict[str, Any]:
    """Run the pipeline and return its counts.

    Everything is written to a folder beside the output and renamed at the end. Raises RunError, and leaves nothing but
    the quarantine's rows in the message, if no window was written or too many files were quarantined.
    """
    partial = run.output.with_name(run.output.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        with _Progress(str(partial), run):
            pipeline = beam.Pipeline(options=_options(run.beam_args))
            build(pipeline, run, str(partial))
            pipeline.run().wait_until_finish()
        counts: dict[str, Any] = json.loads((partial / MANIFEST).read_text(encoding="utf-8"))["counts"]
        if why := complaint(counts, run.max_quarantined):
            raise RunError(why)
        if run.output.exists():
            shutil.rmtree(run.output)
        partial.rename(run.output)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return counts


def _options(beam_args: Sequence[str]) -> PipelineOptions:
    args = list(beam_args)
    if not any(arg.split("=")[0] == "--runner" for arg in args):
        args.append(f"--runner={LOCAL_RUNNER}")
    return PipelineOptions(args)


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
    parser = Parser(prog="pipelines.preprocess", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--input", nargs="+", required=True, help="folders, files or globs")
    parser.add_argument("--output", type=Path, required=True, help="folder of the shard set; must not exist yet")
    parser.add_argument("--labels", type=Path, help="csv with a column file and site, subject, onset_s, label, votes")
    parser.add_argument("--profile", choices=sorted(PROFILES), default="pretrain")
    parser.add_argument(
        "--set", action="append", default=[], metavar="OPTION=VALUE", help="change an option of the profile: hop_s=5"
    )
    parser.add_argument("--salt", help="secret for the subject hashes; else CEREBEAM_SALT, else one kept for this user")
    parser.add_argument("--shard-mb", type=float, default=128.0, help="target size of a shard, MB")
    parser.add_argument("--max-quarantined", type=float, default=0.5, help="share of files above which the run fails")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output when the run succeeds")
    args, beam_args = parser.parse_known_args(argv)
    _refuse_unknown(parser, beam_args)
    try:
        if args.output.exists() and not args.overwrite and (not args.output.is_dir() or any(args.output.iterdir())):
            raise InputError(f"output {args.output} exists already; choose another or give --overwrite")
        table = read_labels(args.labels) if args.labels else None
        inputs = find_inputs(args.input, table)
        profile = with_overrides(PROFILES[args.profile], dict(_option(text) for text in args.set))
    except (InputError, LabelError, ValueError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    if table and (unmatched := table.unmatched(file.uri for file in inputs.files)):
        logger.warning("%d files of the label file are not among the inputs, e.g. %s", len(unmatched), unmatched[0])
    return Run(
        inputs=inputs,
        output=args.output,
        profile=profile,
        salt=resolve_salt(args.salt),
        shard_mb=args.shard_mb,
        max_quarantined=args.max_quarantined,
        beam_args=tuple(beam_args),
    )


def _option(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"--set {text} needs the form option=value")
    return name, value


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
    print(describe(counts))  # noqa: T201
    print(f"shards   {run.output}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
