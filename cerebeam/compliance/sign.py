"""cerebeam sign keys|bundle|verify: who made a bundle, and that nobody changed it since, in OpenSSF's model signing."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from signals.bundles.bundle import BundleError, load_bundle
from signals.command_line import Parser, SubParser


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
    return parser.parse_args(argv)


def _run(args: argparse.Namespace) -> str:
    from serving.signature import PRIVATE, PUBLIC, make_keys, sign, verify

    if args.command == "keys":
        make_keys(args.folder)
        return f"{args.folder / PRIVATE}: keep it off servers; {args.folder / PUBLIC}: models.public_key of servers"
    bundle = load_bundle(args.bundle)
    if args.command == "bundle":
        return f"{sign(bundle, args.private_key)}: signs {len(bundle.about['files']) + 1} files"
    verify(bundle, args.public_key)
    return f"{args.bundle}: signed, {len(bundle.about['files']) + 1} files"


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line; returns 0, 1 for a bundle that is not signed so or a key that cannot be used."""
    args = parse_args(argv)
    try:
        print(_run(args))  # noqa: T201
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
