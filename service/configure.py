"""cerebeam config show|check: the configuration as it would be used, and what is wrong with it."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from service.settings import Settings, SettingsError, load_settings
from signals.command_line import Parser
from signals.json_output import add_json, print_json


def missing_paths(settings: Settings) -> list[str]:
    """Return "key: path" of every input that is named and not there."""
    named = {
        "dataset.recordings": settings.dataset.recordings,
        "deployment.jwks": settings.deployment.jwks,
        "deployment.certificate": settings.deployment.certificate,
        "deployment.private_key": settings.deployment.private_key,
        "system.audit_keys": settings.system.audit_keys,
        "models.shadow": settings.models.shadow,
    } | {f"models.bundles[{number}]": path for number, path in enumerate(settings.models.bundles)}
    return [f"{key}: {path}" for key, path in named.items() if path is not None and not path.exists()]


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = Parser(prog="cerebeam config", description=__doc__)
    parser.add_argument("command", choices=("show", "check"), help="print all values, or say what is wrong")
    parser.add_argument("--config", type=Path, help="YAML file of five sections")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="any key")
    add_json(parser, "all values; the command ends with 2 where they cannot be used")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line; returns 0, or 2 with one line on standard error."""
    args = parse_args(argv)
    try:
        settings = load_settings(args.config, args.set)
        if args.command == "check" and (missing := missing_paths(settings)):
            raise SettingsError(f"not there: {', '.join(missing)}")
    except SettingsError as error:
        print(f"cerebeam config: {error}", file=sys.stderr)  # noqa: T201
        return 2
    if args.json:
        print_json(settings.model_dump(mode="json"))
    elif args.command == "show":
        print(yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False), end="")  # noqa: T201
    else:
        print("the configuration can be used")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
