"""cerebeam audit keys|verify|show: keys for an audit log, the proof that it is whole, and its last rows."""

import argparse
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from audit.chain import AuditError, parse_row
from audit.keys import CHAIN, PUBLIC, load_chain_key, load_public_key, make_keys
from audit.verification import verify
from signals.command_line import Parser, SubParser, count
from signals.json_output import add_json, print_json


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = Parser(prog="cerebeam audit", description=(__doc__ or "").split(": ", 1)[1])
    commands = parser.add_subparsers(dest="command", required=True, parser_class=SubParser)
    one = commands.add_parser("keys", description="new keys of a log, into a folder")
    one.add_argument("folder", type=Path)
    one = commands.add_parser("verify", description="is every row there, unchanged and in its place?")
    one.add_argument("log", type=Path)
    one.add_argument("--key-file", type=Path, required=True, help=f"the log's {CHAIN}")
    one.add_argument("--checkpoints", type=Path, help="folder of the second sink; without it a missing end is not seen")
    one.add_argument("--public-key", type=Path, help=f"the log's {PUBLIC}")
    add_json(one, "whether it is whole, its rows, its checkpoints and each problem")
    one = commands.add_parser("show", description="the last rows, as they stand")
    one.add_argument("log", type=Path)
    one.add_argument("--last", type=count, default=20, help="rows, 20 by default")
    add_json(one, "the rows with their numbers; null for a line that is none")
    args = parser.parse_args(argv)
    if args.command == "verify" and (args.checkpoints is None) != (args.public_key is None):
        parser.error("--checkpoints and --public-key belong together")
    return args


def _keys(args: argparse.Namespace) -> int:
    make_keys(args.folder)
    return 0


def _verify(args: argparse.Namespace) -> int:
    public_key = None if args.public_key is None else load_public_key(args.public_key)
    found = verify(args.log, load_chain_key(args.key_file), checkpoints=args.checkpoints, public_key=public_key)
    if args.json:
        print_json({"log": args.log, "is_whole": not found.problems, **asdict(found)})
        return 1 if found.problems else 0
    for problem in found.problems:
        print(f"{args.log}: {problem}")  # noqa: T201
    state = "NOT WHOLE" if found.problems else "whole"
    if args.checkpoints is None:
        end = "its end is not proven: no checkpoints given"
    else:
        end = f"{found.n_checkpoints} checkpoints prove its first {found.n_covered} rows"
    print(f"{args.log}: {state}, {found.n_rows} rows; {end}")  # noqa: T201
    return 1 if found.problems else 0


def _show(args: argparse.Namespace) -> int:
    with args.log.open("rb") as file:
        rows = [parse_row(line) for line in deque(file, maxlen=args.last)]
    if args.json:
        known = [row and {"number": row[0], "row": row[2].decode("ascii", "replace")} for row in rows]
        print_json({"log": args.log, "rows": known})
        return 0
    for row in rows:
        print(f"{row[0]} {row[2].decode('ascii', 'replace')}" if row else "(no row)")  # noqa: T201
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line; returns 0, 1 where a log is not whole, 2 for bad input."""
    args = parse_args(argv)
    try:
        return {"keys": _keys, "verify": _verify, "show": _show}[args.command](args)
    except ImportError as error:
        print(f"cerebeam audit: {error.name} is not installed: pip install 'cerebeam[audit]'", file=sys.stderr)  # noqa: T201
    except (AuditError, OSError) as error:
        print(f"cerebeam audit: {error}", file=sys.stderr)  # noqa: T201
    return 2


if __name__ == "__main__":
    sys.exit(main())
