"""cerebeam serve BUNDLE ...: an API on :8000 that answers windows and recordings; docs/service.md describes it."""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from service.logs import set_up_logs
from service.records.database import RecordsError
from service.security.tokens import KeysError
from service.settings import Settings, SettingsError, load_settings
from signals.bundles.bundle import BundleError
from signals.command_line import Parser

_SWITCH_S = 0.001
"""How long a thread that computes may keep Python from the one that reads requests; by default 5 ms a chunk."""
_LARGEST_FRAME = 4_000_000
"""Bytes of one message of a socket."""
_KEEP_ALIVE_S, _GRACE_S, _MOST_CONNECTIONS = 15, 30, 512


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = Parser(prog="cerebeam serve", description=__doc__)
    parser.add_argument(
        "bundle", type=Path, nargs="*", help="folders made by cerebeam export; the first is the default"
    )
    parser.add_argument("--config", type=Path, help="YAML file of five sections; cerebeam config show prints one")
    parser.add_argument("--host", help="address to listen to, 127.0.0.1 by default")
    parser.add_argument("--port", type=int, help="8000 by default")
    parser.add_argument("--recordings", type=Path, help="folder whose recordings may be named in requests")
    parser.add_argument("--data", type=Path, help="folder for uploads and records, var by default")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="any other key")
    return parser.parse_args(argv)


def overrides_of(args: argparse.Namespace) -> list[str]:
    """Return the command line's own options as overrides of the configuration, before those of --set."""
    given = {
        "models.bundles": [str(path.resolve()) for path in args.bundle] or None,
        "deployment.host": args.host,
        "deployment.port": args.port,
        "dataset.recordings": args.recordings,
        "system.data": args.data,
    }
    return [f"{name}={value}" for name, value in given.items() if value is not None] + args.set


def serve(settings: Settings, *, config: Path | None, overrides: Sequence[str]) -> None:
    """Serve until the process is asked to end; what was accepted is finished first."""
    import uvicorn

    from service.web.app import new_app
    from service.web.server import open_server

    sys.setswitchinterval(_SWITCH_S)
    server = open_server(settings, config=config, overrides=overrides)
    deployment = settings.deployment
    # uvicorn raises the signal that ended it once more: what is below must still run.
    signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        uvicorn.run(
            new_app(server), host=deployment.host, port=deployment.port, log_config=None, access_log=False,
            server_header=False, timeout_keep_alive=_KEEP_ALIVE_S, timeout_graceful_shutdown=_GRACE_S,
            limit_concurrency=_MOST_CONNECTIONS, ssl_certfile=deployment.certificate,
            ssl_keyfile=deployment.private_key, ws="websockets-sansio",
            ws_max_size=_LARGEST_FRAME, ws_per_message_deflate=False,
        )  # fmt: skip
    finally:
        server.close()


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line; returns 0, or 2 with one line on standard error."""
    args = parse_args(argv)
    try:
        overrides = overrides_of(args)
        settings = load_settings(args.config, overrides)
        if not settings.models.bundles and not settings.models.registered:
            raise SettingsError("no bundle: give a folder made by cerebeam export, or set models.bundles")
        recordings = settings.dataset.recordings
        if recordings is not None and not recordings.is_dir():
            raise SettingsError(f"dataset.recordings={recordings} is no folder: requests could name no recording")
        set_up_logs(settings.system.log_level)
        serve(settings, config=args.config, overrides=overrides)
    except ImportError as error:
        print(f"cerebeam serve: {error.name} is not installed: pip install 'cerebeam[service]'", file=sys.stderr)  # noqa: T201
        return 2
    except (SettingsError, BundleError, RecordsError, KeysError, ValueError) as error:
        print(f"cerebeam serve: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
