"""cerebeam explain BUNDLE FILE --output DIR: what a model's answers on a recording depend on, as figures and pages.

Occlusion needs the bundle alone. With --model, the folder of the network that the bundle was exported from,
integrated gradients and class activation maps are drawn too (needs torch). Every map carries the state of its method
on the bundle's card of explanations; without a card none is validated.
"""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from signals.command_line import Parser
from signals.json_output import add_json, print_json


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = Parser(prog="cerebeam explain", description=(__doc__ or "").split(": ", 1)[1])
    parser.add_argument("bundle", type=Path, help="folder made by cerebeam export")
    parser.add_argument("file", help="a recording: EDF, BDF, FIF, BrainVision, EEGLAB, ...")
    parser.add_argument("--output", type=Path, required=True, help="folder of the pages; must not exist yet")
    parser.add_argument("--windows", type=int, default=4, help="how many windows, the surest findings first; 4")
    parser.add_argument("--start", type=float, help="the one window that begins nearest to this second instead")
    parser.add_argument("--target", help="class to explain; by default the predicted one of each window")
    parser.add_argument("--background", help="recording of another patient without findings, to replace parts with")
    parser.add_argument("--model", type=Path, help="folder of the network, for maps that need its gradients")
    parser.add_argument("--shapley", action="store_true", help="grouped Shapley values too: many more answers")
    add_json(parser, "the page, and the facts of each window")
    args = parser.parse_args(argv)
    if args.windows < 1:
        parser.error(f"--windows {args.windows} must be at least 1")
    if args.start is not None and not 0 <= args.start < math.inf:
        parser.error(f"--start {args.start} must be a number of seconds of at least 0")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line; returns 0, or 2 with one line on standard error."""
    args = parse_args(argv)
    from cerebeam.explaining.explanation import ExplainError, explain_file
    from signals.bundles.bundle import BundleError

    try:
        samples = explain_file(args)
    except (BundleError, ExplainError) as error:
        print(f"cerebeam explain: {error}", file=sys.stderr)  # noqa: T201
        return 2
    index = args.output / "index.html"
    if args.json:
        print_json({"page": index, "windows": [{"sample": sample.name, **sample.facts} for sample in samples]})
        return 0
    for sample in samples:
        print(json.dumps({"sample": sample.name, **sample.facts}))  # noqa: T201
    print(f"{index}: {len(samples)} windows. Research use only. Not a medical device.")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
