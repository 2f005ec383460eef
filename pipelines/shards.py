"""python -m pipelines.shards verify|stats|show|check-identity|merge: look at, prove and join shard sets."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from pipelines.shard_sets.problem import Problem
from signals.command_line import Parser, SubParser
from signals.json_output import add_json, print_json
from signals.shards.manifest import ManifestError

_RESULTS = {
    "verify": "windows, shards, sites and bytes of a whole set",
    "stats": "the set's numbers by site",
    "show": "what is known of the window and of each channel",
    "check-identity": "the findings, masked, and a summary",
    "merge": "the accounting of the joined set",
}
"""What each command prints with `--json`."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand; returns 0, 1 where a set is not what it should be, 2 for bad input."""
    parser = Parser(prog="cerebeam shards", description=(__doc__ or "").split(": ", 1)[1])
    commands = parser.add_subparsers(dest="command", required=True, parser_class=SubParser)
    _add_commands(commands)
    args = parser.parse_args(argv)
    run = {
        "verify": _verify,
        "stats": _stats,
        "show": _show,
        "check-identity": _check_identity,
        "merge": _merge,
    }[args.command]
    try:
        return run(args)
    except (Problem, ManifestError) as error:
        sys.stderr.write(f"cerebeam shards: {error}\n")
        return 1
    except (OSError, ValueError) as error:
        sys.stderr.write(f"cerebeam shards: {' '.join(str(error).split())}\n")
        return 2


def _add_commands(commands: "argparse._SubParsersAction[SubParser]") -> None:
    one = commands.add_parser("verify", description="digests, checksums, records, numbers and accounting of a set")
    one.add_argument("shards", type=Path)
    one = commands.add_parser("stats", description="a table by site")
    one.add_argument("shards", type=Path)
    one = commands.add_parser("show", description="one window as text, and drawn")
    one.add_argument("shards", type=Path)
    one.add_argument("--key", help="key of the window; without it the first")
    one.add_argument("--svg", type=Path, help="draw it into this file")
    one.add_argument("--html", type=Path, help="draw it into this page")
    one = commands.add_parser("check-identity", description="prove that a set names nobody")
    one.add_argument("shards", type=Path)
    one.add_argument("--identifiers", type=Path, help="text file with a name or number per line that must not occur")
    one.add_argument(
        "--sources", type=Path, help="folder of the recordings: identities in their headers and names must not occur"
    )
    one = commands.add_parser("merge", description="join two sets of one profile and salt")
    one.add_argument("shards", type=Path, nargs=2)
    one.add_argument("--output", type=Path, required=True, help="folder of the joined set; must not exist yet")
    for name, what in _RESULTS.items():
        add_json(commands.choices[name], what)


def _verify(args: argparse.Namespace) -> int:
    from pipelines.shard_sets import verify

    whole = verify.verify(args.shards)
    if args.json:
        print_json({"shards": args.shards, **asdict(whole)})
    else:
        print(f"{args.shards} is whole: {whole.summary}")  # noqa: T201
    return 0


def _stats(args: argparse.Namespace) -> int:
    from pipelines.shard_sets import stats

    if args.json:
        print_json(stats.stats_of(args.shards))
    else:
        print(stats.stats(args.shards))  # noqa: T201
    return 0


def _show(args: argparse.Namespace) -> int:
    from pipelines.shard_sets import show

    window = show.find_window(args.shards, args.key)
    if args.json:
        print_json({**show.about(window), "channels": show.channels(window)})
    else:
        print(show.as_text(window))  # noqa: T201
    if args.svg:
        args.svg.write_text(show.as_svg(window), encoding="utf-8")
    if args.html:
        args.html.write_text(show.as_page(window), encoding="utf-8")
    return 0


def _check_identity(args: argparse.Namespace) -> int:
    from pipelines.shard_sets import identity

    checked = identity.check_identity(args.shards, identifiers=args.identifiers, sources=args.sources)
    if args.json:
        print_json(checked)
    else:
        print("\n".join([*checked.findings, checked.summary]))  # noqa: T201
    return 1 if checked.findings else 0


def _merge(args: argparse.Namespace) -> int:
    from pipelines.shard_sets import merge

    first, second = args.shards
    counts = merge.merge(first, second, args.output)
    if args.json:
        print_json({"output": args.output, **counts.to_dict()})
    else:
        print(f"{args.output}: {counts.windows.written} windows of {counts.files.accepted} files")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
