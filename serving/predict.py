"""python -m serving.predict BUNDLE FILE: one answer per window of a recording, without torch or Beam."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from serving.runtime import PROVIDER_EXIT, Answer, ProviderError, embed, run, windows_of_file
from signals.bundles.bundle import Bundle, BundleError, load_bundle
from signals.command_line import Parser
from signals.recording.recording import UnreadableError


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = Parser(prog="serving.predict", description=__doc__)
    parser.add_argument("bundle", type=Path, help="folder made by cerebeam export")
    parser.add_argument("file", help="a recording: EDF, BDF, FIF, BrainVision, EEGLAB, ...")
    parser.add_argument("--mains-hz", type=float, help="mains frequency, Hz; detected if not given")
    parser.add_argument(
        "--json", action="store_true", help="one JSON object a window instead of a table; always of an encoder"
    )
    return parser.parse_args(argv)


def table(bundle: Bundle, answers: Sequence[Answer]) -> str:
    """Return the answers as a table for a terminal."""
    classes = bundle.classes
    widths = [max(len(name), 5) for name in classes]
    widest = max(map(len, classes))
    head = "  ".join(name.rjust(width) for name, width in zip(classes, widths, strict=True))
    lines = [f"{'start s':>9}  {'stop s':>9}  {'class':<{widest}}  {head}  {'unsure':>6}  set; recommendation"]
    for answer in answers:
        values = zip(classes, widths, strict=True)
        probs = "  ".join(f"{answer.class_probabilities[c]:.3f}".rjust(width) for c, width in values)
        inside = "-" if answer.prediction_set is None else "{" + ", ".join(answer.prediction_set) + "}"
        lines.append(
            f"{answer.start_s:9.2f}  {answer.stop_s:9.2f}  {answer.predicted_class:<{widest}}  {probs}  "
            f"{answer.uncertainty['total']:6.3f}  {inside}; {answer.clinical_recommendation}"
        )
    return "\n".join(lines)


def answer_file(args: argparse.Namespace) -> str:
    """Return what is printed; raises BundleError or UnreadableError where there is no answer."""
    bundle = load_bundle(args.bundle)
    windows = windows_of_file(bundle, args.file, mains_hz=args.mains_hz)
    if bundle.task is None:
        return "\n".join(json.dumps(asdict(vector)) for vector in embed(bundle, windows))
    answers = list(run(bundle, windows))
    if args.json:
        return "\n".join(json.dumps(asdict(answer)) for answer in answers)
    return f"{table(bundle, answers)}\nResearch use only. Not a medical device."


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line; returns 0, or 2 with one line on standard error."""
    try:
        print(answer_file(parse_args(argv)))  # noqa: T201
    except ProviderError as error:
        print(f"serving.predict: {error}", file=sys.stderr)  # noqa: T201
        return PROVIDER_EXIT
    except (BundleError, UnreadableError) as error:
        print(f"serving.predict: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
