"""cerebeam predict BUNDLE FILE: one answer per window of a recording, without torch or Beam."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from serving.prediction import Event, Prediction, Seconds, predict_recording, spoken_of
from serving.runtime import PROVIDER_EXIT, ProviderError, embed
from signals.bundles.bundle import Bundle, BundleError, load_bundle
from signals.bundles.inputs import kept_for, windows_of_recording, with_person
from signals.command_line import Parser, positive
from signals.recording.recording import UnreadableError
from signals.sites.card import CardError
from signals.sites.opening import open_source


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = Parser(prog="cerebeam predict", description="one answer per window of a recording, without torch or Beam")
    parser.add_argument("bundle", type=Path, help="folder made by cerebeam export")
    parser.add_argument("file", help="a recording: EDF, BDF, FIF, BrainVision, EEGLAB, ...")
    parser.add_argument(
        "--hop", type=float, help="seconds between windows; by default as long as what an answer speaks of"
    )
    parser.add_argument("--site-card", default="", metavar="FILE", help="card of the recording's site (docs/sites.md)")
    parser.add_argument(
        "--metadata", nargs="+", default=[], metavar="NAME=VALUE", type=_field,
        help="of the person, for a bundle that reads it, in place of the file's: age=71 sex=female height_cm=170",
    )  # fmt: skip
    parser.add_argument("--per-second", action="store_true", help="print an answer per second instead")
    parser.add_argument("--mains-hz", type=positive, help="mains frequency, Hz; detected if not given")
    parser.add_argument(
        "--json",
        action="store_true",
        help="JSON objects, one per window or second; always of an encoder",
    )
    return parser.parse_args(argv)


def _field(text: str) -> tuple[str, float | str]:
    """Return name and value of NAME=VALUE; a number where it is one."""
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE")
    try:
        return name, float(value)
    except ValueError:
        return name, value


def table(bundle: Bundle, prediction: Prediction) -> str:
    """Return the answers as a table for a terminal: the stretch that each speaks of, and what it is."""
    classes = bundle.classes
    widths = [max(len(name), 5) for name in classes]
    widest = max(map(len, classes))
    head = "  ".join(name.rjust(width) for name, width in zip(classes, widths, strict=True))
    lines = [f"{'from s':>9}  {'to s':>9}  {'class':<{widest}}  {head}  {'unsure':>6}  set; recommendation"]
    for answer, span in zip(prediction.answers, prediction.spans_s, strict=True):
        values = zip(classes, widths, strict=True)
        probs = "  ".join(f"{answer.class_probabilities[c]:.3f}".rjust(width) for c, width in values)
        inside = "-" if answer.prediction_set is None else "{" + ", ".join(answer.prediction_set) + "}"
        lines.append(
            f"{span[0]:9.2f}  {span[1]:9.2f}  {answer.predicted_class:<{widest}}  {probs}  "
            f"{answer.uncertainty['total']:6.3f}  {inside}; {answer.clinical_recommendation}"
        )
    return "\n".join(lines)


def events_table(events: Sequence[Event]) -> str:
    """Return the events as lines for a terminal."""
    lines = [
        f"{event.onset_s:9.0f}  {event.onset_s + event.duration_s:9.0f}  {event.label}, up to {event.probability:.3f}"
        for event in events
    ]
    counted = f"{len(events)} event{'' if len(events) == 1 else 's'}"
    return "\n".join([f"{counted} (neighbouring seconds of one finding):", *lines])


def second_rows(classes: Sequence[str], seconds: Seconds) -> list[dict[str, object]]:
    """Return a row per second for JSON."""
    return [
        {"onset_s": int(onset), "class_probabilities": dict(zip(classes, probs.tolist(), strict=True))}
        for onset, probs in zip(seconds.onsets_s, seconds.probabilities, strict=True)
    ]


def seconds_table(classes: Sequence[str], seconds: Seconds) -> str:
    """Return the answers per second as a table for a terminal."""
    lines = ["   second  " + "  ".join(name[:7].rjust(7) for name in classes)]
    for onset, probs in zip(seconds.onsets_s, seconds.probabilities, strict=True):
        lines.append(f"{onset:9d}  " + "  ".join(f"{value:7.3f}" for value in probs))
    return "\n".join(lines)


def answer_file(args: argparse.Namespace) -> str:
    """Return what is printed; raises BundleError, UnreadableError or CardError where there is no answer."""
    bundle = load_bundle(args.bundle)
    opened = open_source(args.file, site_card=args.site_card, keep=kept_for(bundle.graphs))
    recording = with_person(opened.recording, bundle.graphs, dict(args.metadata))
    mains_hz = opened.mains_hz if args.mains_hz is None else args.mains_hz
    if bundle.task is None:
        windows = windows_of_recording(bundle.profile, recording, source_sha256=opened.sha256, mains_hz=mains_hz)
        return "\n".join(json.dumps(asdict(vector)) for vector in embed(bundle, windows))
    prediction = predict_recording(bundle, recording, hop_s=args.hop, mains_hz=mains_hz, sha256=opened.sha256)
    return printed(bundle, prediction, as_json=args.json, per_second=args.per_second)


def printed(bundle: Bundle, prediction: Prediction, *, as_json: bool, per_second: bool) -> str:
    """Return a prediction as text."""
    if as_json and per_second:
        return "\n".join(map(json.dumps, second_rows(prediction.classes, prediction.seconds)))
    if as_json:
        return "\n".join(
            json.dumps({**asdict(answer), "span_s": span, "hop_s": prediction.hop_s})
            for answer, span in zip(prediction.answers, prediction.spans_s, strict=True)
        )
    rows = seconds_table(prediction.classes, prediction.seconds) if per_second else table(bundle, prediction)
    parts = [spoken_of(prediction), rows, events_table(prediction.events)]
    return "\n".join([*parts, "Research use only. Not a medical device."])


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line; returns 0, or 2 with one line on standard error."""
    try:
        print(answer_file(parse_args(argv)))  # noqa: T201
    except ProviderError as error:
        print(f"cerebeam predict: {error}", file=sys.stderr)  # noqa: T201
        return PROVIDER_EXIT
    except (BundleError, UnreadableError, CardError) as error:
        print(f"cerebeam predict: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
