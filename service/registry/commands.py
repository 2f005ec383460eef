"""cerebeam register, promote, rollback: models in the registry, and which of them answers."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from service.registry.registry import Registry, RegistryError
from service.settings import Models
from signals.bundles.bundle import BundleError
from signals.command_line import Parser
from signals.json_output import add_json, print_json


def _parser(command: str, what: str) -> argparse.ArgumentParser:
    parser = Parser(prog=f"cerebeam {command}", description=what)
    parser.add_argument("name", help="the model's name in the registry, as six-class")
    parser.add_argument("--registry", default=Models().registry, help="MLflow's URI: a SQLite file or a server")
    add_json(parser, "the model's name, version and digest")
    return parser


def register(argv: Sequence[str] | None = None) -> int:
    """Store a bundle as the challenger; returns 0, or 2 with one line."""
    parser = _parser("register", "store a bundle as a new version, the challenger")
    parser.add_argument("bundle", type=Path, help="folder made by cerebeam export or quantise")
    parser.add_argument("--report", type=Path, help="facts.json of cerebeam report; promotion needs it")
    args = parser.parse_args(argv)
    return _run("register", args, lambda: Registry(args.registry).register(args.name, args.bundle, facts=args.report))


def promote(argv: Sequence[str] | None = None) -> int:
    """Make a version the champion, if every gate holds; returns 0, or 2 with one line that names those that fail."""
    parser = _parser("promote", "make the challenger, or a version, the champion")
    parser.add_argument("--version", help="a number; the challenger without")
    args = parser.parse_args(argv)
    return _run("promote", args, lambda: Registry(args.registry).promote(args.name, args.version))


def rollback(argv: Sequence[str] | None = None) -> int:
    """Go back to the champion before; returns 0, or 2 with one line."""
    args = _parser("rollback", "go back to the champion before").parse_args(argv)
    return _run("rollback", args, lambda: Registry(args.registry).rollback(args.name))


def _run(command: str, args: argparse.Namespace, step: Callable[[], object]) -> int:
    try:
        version = step()
        if args.json:
            print_json(version)
        else:
            print(version)  # noqa: T201
    except (BundleError, RegistryError) as error:
        print(f"cerebeam {command}: {error}", file=sys.stderr)  # noqa: T201
        return 2
    except Exception as error:
        # MLflow passes on what its database raises; a store that a killed process left half made, for one.
        if type(error).__module__.partition(".")[0] not in ("mlflow", "sqlalchemy"):
            raise
        line = str(error).splitlines()[0]
        print(f"cerebeam {command}: the registry cannot be used: {line}", file=sys.stderr)  # noqa: T201
        return 2
    return 0
