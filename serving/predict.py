"""python -m serving.predict BUNDLE FILE: class, probabilities and times of each window, without torch or Beam."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from serving.bundle import Bundle, BundleError, load_bundle
from serving.runtime import Answer, run, windows_of_file
from signals.command_line import Parser
from signals.recording import UnreadableError


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = Parser(prog="serving.predict", description=__doc__)
    parser.add_argument("bundle", type=Path, help="folder made by model.export")
    parser.add_argument("file", help="a recording: EDF, BDF, FIF, BrainVision, EEGLAB, ...")
    parser.add_argument("--mains-hz", type=float, help="mains frequency, Hz; detected if not given")
    parser.add_argument("--json", action="store_true", help="one JSON object a window instead of a table")
    return parser.parse_args(argv)


def table(bundle: Bundle, answers: Sequence[Answer]) -> str:
    """Return the answers as a table for a terminal."""
    classes = bundle.task.classes
    widths = [max(len(name), 5) for name in classes]
    head = "  ".join(name.rjust(width) for name, width in zip(classes, widths, strict=True))
    lines = [f"{'start s':>9}  {'stop s':>9}  {'class':<{max(map(len, classes))}}  {head}"]
    for answer in answers:
        probs = "  ".join(
            f"{answer.probabilities[c]:.3f}".rjust(width) for c, width in zip(classes, widths, strict=True)
        )
        name = answer.predicted_class.ljust(max(map(len, classes)))
        lines.append(f"{answer.start_s:9.2f}  {answer.stop_s:9.2f}  {name}  {probs}")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line; returns 0, or 2 with one line on standard error."""
    args = parse_args(argv)
    try:
        bundle = load_bundle(args.bundle)
        answers = list(run(bundle, windows_of_file(bundle, args.file, mains_hz=args.mains_hz)))
    except (BundleError, UnreadableError) as error:
        print(f"serving.predict: {error}", file=sys.stderr)  # noqa: T201
        return 2
    if args.json:
        print("\n".join(json.dumps(asdict(answer)) for answer in answers))  # noqa: T201
    else:
        print(table(bundle, answers))  # noqa: T201
        print("Research use only. Not a medical device.")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
