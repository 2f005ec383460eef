"""Options of an archive's run: the command line, checked, and the run that it describes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipelines.intake.cards import read_cards
from pipelines.intake.inputs import InputError, find_inputs
from pipelines.intake.salt import resolve_salt
from pipelines.intake.sites import site_rule
from pipelines.options import (
    Run,
    check_output,
    check_places,
    check_workers,
    given_salt,
    names_runner,
    refuse_unknown,
    runner_of,
    set_beam_options,
)
from pipelines.runs import storage
from pipelines.scoring.bundles import name_of, read_bundle
from pipelines.scoring.parts import Scoring
from signals.bundles.bundle import BundleError
from signals.bundles.inputs import kept_for
from signals.command_line import Parser
from signals.json_output import add_json

HOP_S = 10.0
"""Seconds between answers where none are given: those of a job of the service."""
SHORTEST_HOP_S = 1.0


@dataclass(frozen=True, kw_only=True)
class ScoreRun:
    """One resolved run over an archive."""

    run: Run
    """Inputs, output, workers; its profile is the bundle's at the run's hop."""
    scoring: Scoring
    classes: tuple[str, ...]
    as_json: bool = False
    """Whether the accounting is printed for a program."""

    @property
    def model(self) -> str:
        """The name that answers carry."""
        return name_of(self.scoring.bundle)


def parse_args(argv: Sequence[str] | None = None) -> ScoreRun:
    """Return the run that a command line asks for; exits with code 2 and one line on bad input."""
    parser = command_parser()
    args, beam_args = parser.parse_known_args(argv)
    try:
        if not 0 <= args.max_quarantined <= 1:
            raise InputError(f"--max-quarantined {args.max_quarantined:g} is a share: it must lie within 0 and 1")
        check_workers(beam_args)
        refuse_unknown(parser, beam_args)
        runner, n_workers = runner_of(beam_args)
        set_beam_options(beam_args)
        check_places([*args.input, args.output, args.bundle], runner)
        check_output(args.output, overwrite=args.overwrite)
        bundle = read_bundle(args.bundle)
        if not args.hop >= SHORTEST_HOP_S:
            raise InputError(f"--hop {args.hop:g} is too short: an answer a second is the most")
        profile = replace(bundle.profile, hop_s=args.hop)
        salt = resolve_salt(given_salt(args.salt, args.salt_file))
        inputs = find_inputs(args.input, None, read_cards(args.site_card), sites=site_rule(args.site_from, salt=salt))
    except FileNotFoundError as error:
        parser.exit(2, f"{parser.prog}: {error} does not exist\n")
    except (InputError, BundleError, ValueError, storage.StorageError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    except OSError as error:
        parser.exit(2, f"{parser.prog}: {error.filename} cannot be read: {error.strerror}\n")
    # What cards and HMS tables label is no place for a window here: an archive is answered from end to end.
    inputs = replace(inputs, files=tuple(replace(ref, labels=()) for ref in inputs.files))
    run = Run(
        inputs=inputs, output=args.output, profile=profile, salt=salt, max_quarantined=args.max_quarantined,
        site_from=args.site_from or "", resume=args.resume, n_workers=n_workers,
        is_here=not names_runner(beam_args), beam_args=tuple(beam_args), keep=kept_for(bundle.graphs),
    )  # fmt: skip
    return ScoreRun(run=run, scoring=Scoring(args.bundle, str(bundle.about["digest"])), classes=bundle.classes,
                    as_json=args.json)  # fmt: skip


def command_parser() -> Parser:
    """Return the parser of all options but Beam's."""
    parser = Parser(prog="cerebeam archive", description="answers of a bundle for every recording of an archive")
    parser.add_argument(
        "--input", nargs="+", required=True, metavar="PATH", help="folders, files or globs; gs:// as well"
    )
    parser.add_argument("--bundle", required=True, metavar="PATH", help="folder made by cerebeam export; gs:// as well")
    parser.add_argument(
        "--output", required=True, metavar="PATH", help="folder of the answers, gs:// as well; must not exist yet"
    )
    parser.add_argument("--hop", type=float, default=HOP_S, help="seconds between answers (default 10)")
    parser.add_argument(
        "--site-from",
        metavar="RULE",
        help="what names a site: folder, bids, label or constant:NAME; else a salted hash",
    )
    parser.add_argument(
        "--site-card", nargs="+", default=[], metavar="FILE", help="site cards, or folders of them (docs/sites.md)"
    )
    parser.add_argument("--salt", help="secret for the subject hashes; else CEREBEAM_SALT, else one kept for this user")
    parser.add_argument("--salt-file", help="file that holds the salt, gs:// as well")
    parser.add_argument("--max-quarantined", type=float, default=0.5, help="share of files above which the run fails")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output when the run succeeds")
    parser.add_argument("--resume", action="store_true", help="keep the whole tables of a killed run with this output")
    add_json(parser, "the run's accounting")
    parser.epilog = (
        "All other options go to Beam: --direct_num_workers=N for N processes of this machine (0: all cores), "
        "--runner=PortableRunner --job_endpoint=HOST:PORT, --runner=DataflowRunner --project ...; see docs/archives.md."
    )
    return parser
