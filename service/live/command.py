"""cerebeam live --replay FILE | --lsl NAME: samples to a bed of a running server, its answers to the terminal."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from signals.command_line import Parser, positive
from signals.recording.recording import UnreadableError

PAGE = "/app/bed"
"""Of the server: what a bed's page is called there (service/viewer/pages.py)."""


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = Parser(prog="cerebeam live", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--replay", metavar="FILE", help="a recording, as if it were recorded now")
    what.add_argument("--lsl", metavar="NAME", help="a stream of the Lab Streaming Layer")
    parser.add_argument(
        "--speed", type=float, default=1.0, help="of the replay, times real time; 0: as fast as it goes"
    )
    parser.add_argument("--bed", default="1", help="letters, digits, blanks, dots, dashes")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="of the server; CEREBEAM_TOKEN holds its token")
    parser.add_argument("--hop-s", type=positive, default=10.0, help="seconds between answers")
    return parser.parse_args(argv)


def line_of(outcome: dict[str, Any]) -> str:
    """Return a hop's outcome as a line: the window's seconds, class and probability, or why there is no answer."""
    minutes, seconds = divmod(int(outcome["stop_s"]), 60)
    clock = f"{minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d}"
    if (answer := outcome["answer"]) is None:
        return f"{clock}  no answer: {outcome['reason']}"
    bar = "#" * round(20 * answer["confidence"])
    mark = " (abstained)" if outcome["abstained"] else ""
    return f"{clock}  {answer['predicted_class']:<10} {answer['confidence']:.2f} {bar}{mark}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line; returns 0, or 2 with one line on standard error."""
    args = parse_args(argv)
    try:
        from service.live.inlets import Outlet, Replay
        from service.live.source import Samples, Sender, SourceError

        samples: Samples = Replay(args.replay, speed=args.speed) if args.replay else Outlet(args.lsl)
        chunk_s = min(5.0, 0.25 * (args.speed or 40.0)) if args.replay else 0.25
        sender = Sender(url=args.url, bed=args.bed, samples=samples, hop_s=args.hop_s, chunk_s=max(chunk_s, 0.25))
    except ImportError as error:
        extra = "lsl" if error.name == "pylsl" else "service"
        print(f"cerebeam live: {error.name} is not installed: pip install 'cerebeam[{extra}]'", file=sys.stderr)  # noqa: T201
        return 2
    except (UnreadableError, ValueError, OSError, RuntimeError) as error:
        print(f"cerebeam live: {error}", file=sys.stderr)  # noqa: T201
        return 2
    print(f"bed {args.bed}: {args.url.rstrip('/')}{PAGE}#bed={quote(args.bed)}", flush=True)  # noqa: T201
    try:
        sender.run(show=lambda outcome: print(line_of(outcome), flush=True))  # noqa: T201
    except SourceError as error:
        print(f"cerebeam live: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
