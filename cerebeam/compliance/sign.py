"""cerebeam sign keys|bundle|verify: who made a bundle, and that nobody changed it since, in OpenSSF's model signing."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from signals.bundles.bundle import BundleError, load_bundle
from signals.command_line import Parser, SubParser
from signals.json_output import add_json, print_json


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = Parser(prog="cerebeam sign", description=(__doc__ or "").split(": ", 1)[1])
    commands = parser.add_subparsers(dest="command", required=True, parser_class=SubParser)
    one = commands.add_parser("keys", description="a new pair of keys, into a folder")
    one.add_argument("folder", type=Path)
    one = commands.add_parser("bundle", description="write model.sig into a bundle")
    one.add_argument("bundle", type=Path)
    one.add_argument("--private-key", type=Path, required=True, help="of the pair that `keys` makes")
    one = commands.add_parser("verify", description="is every file the one that was signed?")
    one.add_argument("bundle", type=Path)
    one.add_argument("--public-key", type=Path, required=True, help="of the pair that signed it")
    for one in commands.choices.values():
        add_json(one, "the files, and how many the signature covers")
    return parser.parse_args(argv)


def _run(args: argparse.Namespace) -> dict[str, Any]:
    """Return what was done, for JSON; `line_of` has it as text."""
    from serving.signature import PRIVATE, PUBLIC, make_keys, sign, verify

    if args.command == "keys":
        make_keys(args.folder)
        return {"private_key": args.folder / PRIVATE, "public_key": args.folder / PUBLIC}
    bundle = load_bundle(args.bundle)
    n_files = len(bundle.about["files"]) + 1
    if args.command == "bundle":
        return {"signature": sign(bundle, args.private_key), "n_files": n_files}
    verify(bundle, args.public_key)
    return {"bundle": args.bundle, "is_signed": True, "n_files": n_files}


def line_of(command: str, done: Mapping[str, Any]) -> str:
    """Return what was done in one line."""
    if command == "keys":
        return f"{done['private_key']}: keep it off servers; {done['public_key']}: models.public_key of servers"
    if command == "bundle":
        return f"{done['signature']}: signs {done['n_files']} files"
    return f"{done['bundle']}: signed, {done['n_files']} files"


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line; returns 0, 1 for a bundle that is not signed so or a key that cannot be used."""
    args = parse_args(argv)
    try:
        done = _run(args)
        if args.json:
            print_json(done)
        else:
            print(line_of(args.command, done))  # noqa: T201
    except ImportError as error:
        print(f"cerebeam sign: {error.name} is not installed: pip install 'cerebeam[audit]'", file=sys.stderr)  # noqa: T201
        return 1
    except BundleError as error:
        print(f"cerebeam sign: {error}", file=sys.stderr)  # noqa: T201
        return 1
    except OSError as error:
        print(f"cerebeam sign: {error.filename}: {error.strerror}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
