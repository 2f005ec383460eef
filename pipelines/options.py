"""Options of a run: the command line, checked, and the run that it describes."""

import argparse
import logging
import math
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from pipelines.intake.cards import read_cards
from pipelines.intake.inputs import InputError, Inputs, find_inputs
from pipelines.intake.profile import fitting_profile
from pipelines.intake.replay import replayed_inputs
from pipelines.intake.salt import resolve_salt
from pipelines.intake.sites import site_rule
from pipelines.runs import storage
from pipelines.runs.progress import BEGUN
from pipelines.stages.anomaly import AutoencoderError, check_autoencoder
from signals.command_line import Parser
from signals.json_output import add_json
from signals.recording.details import KEEPABLE
from signals.shards.manifest import COMPLETED
from signals.windows.labels import LabelError, LabelTable, read_labels
from signals.windows.profiles import PROFILES, Profile, with_overrides

if TYPE_CHECKING:  # imported where it is used: worker processes import this module
    from apache_beam.options.pipeline_options import PipelineOptions

logger = logging.getLogger(__name__)

LOCAL_RUNNER = "FnApiRunner"
"""Named in full, since Beam's DirectRunner of this version first tries to download another runner."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One resolved run of the pipeline."""

    inputs: Inputs
    output: str
    profile: Profile
    salt: str
    shard_mb: float = 128.0
    max_quarantined: float = 0.5
    autoencoder: str | None = None
    """ONNX file that scores the windows (`pipelines.stages.anomaly`)."""
    site_from: str = ""
    """Rule that the sites are named by; empty where they are hashed."""
    keep: tuple[str, ...] = ()
    """Details of recordings that are stored (`signals.recording.details.KEEPABLE`)."""
    resume: bool = False
    """Go on where a killed run of the same inputs, profile, salt and code ended."""
    n_workers: int = 1
    """Processes of this machine; 1 where a runner is named, which knows its own workers."""
    is_here: bool = True
    """Whether the run ends with this process: no runner is named that may go on without it."""
    beam_args: tuple[str, ...] = ()
    """Options for Beam."""
    as_json: bool = False
    """Whether the accounting is printed for a program."""


def beam_options(beam_args: Sequence[str]) -> "PipelineOptions":
    """Return Beam's options, the runner being the one of this machine where none is named."""
    from apache_beam.options.pipeline_options import PipelineOptions

    args = list(beam_args)
    if not names_runner(args):
        args.append(f"--runner={LOCAL_RUNNER}")
    # On Dataflow Beam would pickle this module's globals by default; no step needs them (a test reads the staged job).
    return PipelineOptions(["--no_save_main_session", *args])


def set_beam_options(beam_args: Sequence[str]) -> None:
    """Let Beam's file systems of this process know the options: credentials, endpoints."""
    from apache_beam.io.filesystems import FileSystems

    FileSystems.set_options(beam_options(beam_args))


def names_runner(beam_args: Sequence[str]) -> bool:
    """Return whether the options name a runner."""
    return any(arg.split("=")[0] == "--runner" for arg in beam_args)


def parse_args(argv: Sequence[str] | None = None) -> Run:
    """Return the run that a command line describes; exits with code 2 and one line on bad input."""
    parser = command_parser()
    args, beam_args = parser.parse_known_args(argv)
    try:
        _check_numbers(args, beam_args)
        refuse_unknown(parser, beam_args)
        return _run(args, beam_args)
    except FileNotFoundError as error:
        parser.exit(2, f"{parser.prog}: {error} does not exist\n")
    except (InputError, LabelError, AutoencoderError, ValueError, storage.StorageError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    except OSError as error:
        parser.exit(2, f"{parser.prog}: {error.filename} cannot be read: {error.strerror}\n")


def _run(args: argparse.Namespace, beam_args: Sequence[str]) -> Run:
    """Return the run of options, each checked; finds its inputs."""
    runner, n_workers = runner_of(beam_args)
    set_beam_options(beam_args)
    places = [*(args.input or []), args.replay, args.output, args.labels, args.autoencoder]
    check_places([place for place in places if place], runner)
    check_output(args.output, overwrite=args.overwrite)
    salt, inputs = _inputs(args)
    named = PROFILES[args.profile] if args.profile else fitting_profile(inputs.files)
    profile = with_overrides(named, dict(_option(text) for text in args.set))
    keep = _kept(args.keep)
    if args.autoencoder is not None:
        check_autoencoder(args.autoencoder, profile)
    if lines := inputs.unmatched_lines:
        logger.warning(
            "%d recordings of the label file are not among the inputs, e.g. in line %d", len(lines), lines[0]
        )
    return Run(
        inputs=inputs,
        output=args.output,
        profile=profile,
        salt=salt,
        site_from=args.site_from or "",
        shard_mb=args.shard_mb,
        max_quarantined=args.max_quarantined,
        autoencoder=args.autoencoder,
        keep=keep,
        resume=args.resume,
        n_workers=n_workers,
        is_here=not names_runner(beam_args),
        beam_args=tuple(beam_args),
        as_json=args.json,
    )


def _inputs(args: argparse.Namespace) -> tuple[str, Inputs]:
    """Return the salt and the recordings of a run, or of what an earlier run left out."""
    table = _read_labels(args.labels) if args.labels else None
    if args.reason and not args.replay:
        raise InputError("--reason goes with --replay")
    if (args.site_from or args.site_card) and args.replay:
        raise InputError("--site-from and --site-card go with --input: a replay keeps the sites of its run")
    salt = resolve_salt(given_salt(args.salt, args.salt_file))
    if args.replay:
        return salt, replayed_inputs(args.replay, table, reasons=args.reason)
    cards = read_cards(args.site_card)
    return salt, find_inputs(args.input, table, cards, sites=site_rule(args.site_from, salt=salt))


def _check_numbers(args: argparse.Namespace, beam_args: Sequence[str]) -> None:
    """Raise for numbers that no run can have; Beam itself would print all of its options, or go on."""
    if not 0 < args.shard_mb < math.inf:
        raise InputError(f"--shard-mb {args.shard_mb:g} must be above 0")
    if not 0 <= args.max_quarantined <= 1:
        raise InputError(f"--max-quarantined {args.max_quarantined:g} is a share: it must lie within 0 and 1")
    check_workers(beam_args)


def check_workers(beam_args: Sequence[str]) -> None:
    """Raise InputError for a number of workers that is none."""
    for name, value in pairwise([*beam_args, ""]):
        option, equals, text = name.partition("=")
        if option == "--direct_num_workers" and not (text if equals else value).isdecimal():
            raise InputError(
                f"--direct_num_workers {text if equals else value} must be a whole number, 0 for all cores"
            )


def given_salt(salt: str | None, salt_file: str | None) -> str | None:
    """Return the salt that a command line names; None where it names none."""
    if salt is not None and salt_file is not None:
        raise InputError("--salt and --salt-file name two salts: give one of them")
    if salt_file is not None:
        try:
            salt = storage.read_text(salt_file).strip()
        except UnicodeDecodeError as error:
            raise InputError(f"salt file {salt_file} is no text") from error
    if salt == "":
        raise InputError("the salt is empty: leave it out, and one is kept for this user")
    return salt


def _kept(texts: Sequence[str]) -> tuple[str, ...]:
    """Return the names of `--keep`, each once, in the order of `KEEPABLE`."""
    names = [name.strip() for text in texts for name in text.split(",")]
    if unknown := [name for name in names if name not in KEEPABLE]:
        raise InputError(f"--keep: {unknown[0]!r} is none of {', '.join(KEEPABLE)}")
    return tuple(name for name in KEEPABLE if name in names)


def _option(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"--set {text} needs the form option=value")
    return name, value


def command_parser() -> Parser:
    """Return the parser of all options but Beam's."""
    parser = Parser(prog="cerebeam preprocess", description="recordings of any site in, one shard set out")
    _add_places(parser)
    _add_preparation(parser)
    parser.add_argument("--shard-mb", type=float, default=128.0, help="target size of a shard, MB (default 128)")
    parser.add_argument("--max-quarantined", type=float, default=0.5, help="share of files above which the run fails")
    parser.add_argument(
        "--autoencoder", help="ONNX file of training.autoencoder, gs:// as well: scores every channel and second"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output when the run succeeds")
    parser.add_argument("--resume", action="store_true", help="keep the whole shards of a killed run with this output")
    add_json(parser, "the run's accounting, as in manifest.json")
    parser.epilog = (
        "All other options go to Beam: --direct_num_workers=N for N processes of this machine (0: all cores), "
        "--runner=PortableRunner --job_endpoint=HOST:PORT, --runner=DataflowRunner --project ...; see docs/pipeline.md."
    )
    return parser


def _add_places(parser: Parser) -> None:
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--input", nargs="+", metavar="PATH", help="folders, files or globs; gs:// as well")
    source.add_argument(
        "--replay", metavar="PATH", help="take the files that an earlier run left out: its output's folder"
    )
    parser.add_argument("--reason", nargs="+", default=[], help="with --replay: only files left out for these reasons")
    parser.add_argument(
        "--output", required=True, metavar="PATH", help="folder of the shard set, gs:// as well; must not exist yet"
    )
    parser.add_argument(
        "--labels", metavar="PATH", help="csv with a column file and site, subject, onset_s, label, votes"
    )
    parser.add_argument(
        "--site-from",
        metavar="RULE",
        help="what names a site: folder, bids, label or constant:NAME; else a salted hash",
    )
    parser.add_argument(
        "--site-card", nargs="+", default=[], metavar="FILE", help="site cards, or folders of them (docs/sites.md)"
    )


def _add_preparation(parser: Parser) -> None:
    parser.add_argument(
        "--profile",
        choices=sorted(PROFILES),
        help="how windows are prepared; by default pretrain for EEG, ecg-rhythm for leads",
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="OPTION=VALUE", help="change an option of the profile: hop_s=5"
    )
    parser.add_argument(
        "--keep",
        action="append",
        default=[],
        metavar="NAMES",
        help=f"store details of the recordings, of {','.join(KEEPABLE)}; nothing by default",
    )
    parser.add_argument("--salt", help="secret for the subject hashes; else CEREBEAM_SALT, else one kept for this user")
    parser.add_argument("--salt-file", help="file that holds the salt, gs:// as well")


def runner_of(beam_args: Sequence[str]) -> tuple[str, int]:
    """Return the runner's name and how many processes `pipelines.local` is to use, 1 if it is not to run."""
    from apache_beam.options.pipeline_options import DirectOptions, StandardOptions

    options = beam_options(beam_args)
    n_workers = options.view_as(DirectOptions).direct_num_workers
    name = str(options.view_as(StandardOptions).runner).rsplit(".", 1)[-1]
    return name, 1 if names_runner(beam_args) else n_workers or os.cpu_count() or 1


def check_places(paths: Sequence[str], runner: str) -> None:
    """Raise where a path's file system is not installed, or where workers elsewhere could not reach it."""
    for path in paths:
        storage.check_scheme(path)
    here = [path for path in paths if not storage.is_remote(path)]
    if runner == "DataflowRunner" and here:
        raise InputError(f"{here[0]} lies on this machine, where Dataflow's workers cannot reach it: copy it to gs://")


def check_output(output: str, *, overwrite: bool) -> None:
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


def refuse_unknown(parser: argparse.ArgumentParser, beam_args: Sequence[str]) -> None:
    """Exit with code 2 on an option that neither we nor Beam know: Beam itself would drop it with a warning."""
    from apache_beam.options.pipeline_options import PipelineOptions

    unknown: list[str] = []

    def look(beam_parser: argparse.ArgumentParser) -> None:
        unknown.extend(beam_parser.parse_known_args(beam_args)[1])

    PipelineOptions([]).get_all_options(add_extra_args_fn=look)
    if unknown:
        parser.exit(2, f"{parser.prog}: unknown option {unknown[0]}; see --help\n")
