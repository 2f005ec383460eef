"""cerebeam six-class build and read: a reader of the six classes as one bundle, and recordings read with it.

    cerebeam six-class build [--output DIR] [--segments N] [--carriers SHARDS --carrier-sites FAMILY=SITE,SITE ...]
        [--network] [--member DIR ...]
    cerebeam six-class read FILE [--bundle DIR] [--json]

The reader learns from generated segments alone (docs/six_class.md). It reads ten seconds, fifty, or any longer
recording, ten seconds after ten; reading needs neither torch nor the corpus.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from signals.command_line import Parser, count, positive, whole
from signals.json_output import add_json, print_json

if TYPE_CHECKING:
    from serving.bundle import Bundle
    from serving.prediction import Prediction

COMMANDS = {
    "build": "draw segments and make the reader's bundle, DIR/bundle",
    "read": "what the reader answers for a recording, ten seconds after ten",
}
"""What each command does."""
FOLDER = Path("six-class-reader")
_PYTHON = (sys.executable, "-m")


def build(args: argparse.Namespace) -> None:
    """Draw a corpus of segments and fit the reader on it; a corpus that is whole already is kept."""
    from cerebeam.demo import Stage, run_stage
    from signals.shards.manifest import COMPLETED

    out: Path = args.output
    bundle, corpus = out / "bundle", out / "corpus"
    for member in args.member:
        if not (member / "config.json").is_file():
            raise ValueError(f"{member} holds no saved model")
    if bundle.exists():
        raise ValueError(f"{bundle} exists already; choose another --output")
    out.mkdir(parents=True, exist_ok=True)
    todo = []
    if not (corpus / COMPLETED).is_file():
        carriers = ("--carriers", str(args.carriers)) if args.carriers else ()
        sites = ("--carrier-sites", *args.carrier_sites) if args.carrier_sites else ()
        todo.append(
            Stage("draw", "segments of generators with planted patterns", ((
                *_PYTHON, "synthetic.critical_corpus", "--output", str(corpus), "--segments", str(args.segments),
                "--held-out", str(args.held_out), "--seed", str(args.seed), "--simulate-missing", *carriers, *sites,
            ),))
        )  # fmt: skip
    network = ("--train-network", str(out / "network")) if args.network else ()
    saved = ("--network", *map(str, args.member)) if args.member else ()
    todo.append(
        Stage("fit", "members, their combination, calibration, graphs", ((
            *_PYTHON, "studies.six_class_reader", "--corpus", str(corpus), "--output", str(bundle),
            "--seed", str(args.seed), *network, *saved,
        ),))
    )  # fmt: skip
    for number, stage in enumerate(todo, start=1):
        run_stage(stage, number, len(todo), out / "logs")
    print((out / "logs" / f"{len(todo)}-fit-1.log").read_text(encoding="utf-8").split("\n", 1)[1], end="")  # noqa: T201


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A recording in a few numbers. Research use only."""

    n_segments: int
    read_s: tuple[float, float] | None
    """From the first second that an answer speaks of to the last, seconds; None where nothing was answered."""
    n_abstained: int
    """Segments whose confidence is below the bundle's limit."""
    n_unclear: int
    """Segments whose prediction set does not hold exactly one class."""
    by_class: dict[str, int]
    """Segments by their likeliest class, those that the reader abstains from left out."""
    mean_probabilities: dict[str, float]
    """Over all segments."""


def abstains(bundle: "Bundle", confidence: float) -> bool:
    """Return whether the bundle abstains from an answer of this confidence."""
    below = bundle.calibration.abstain_below
    return below is not None and confidence < below


def summary_of(bundle: "Bundle", prediction: "Prediction") -> Summary:
    """Return a recording's answers in a few numbers."""
    answers, spans = prediction.answers, prediction.spans_s
    given = [answer for answer in answers if not abstains(bundle, answer.confidence)]
    return Summary(
        n_segments=len(answers), read_s=(spans[0][0], spans[-1][1]) if spans else None,
        n_abstained=len(answers) - len(given),
        n_unclear=sum(answer.prediction_set is not None and len(answer.prediction_set) != 1 for answer in answers),
        by_class={name: sum(answer.predicted_class == name for answer in given) for name in prediction.classes},
        mean_probabilities={
            name: sum(answer.class_probabilities[name] for answer in answers) / max(len(answers), 1)
            for name in prediction.classes
        },
    )  # fmt: skip


def rows_of(bundle: "Bundle", prediction: "Prediction") -> list[dict[str, Any]]:
    """Return a row per segment: what stretch it is, its answer, and whether the reader abstains."""
    return [
        {"from_s": span[0], "to_s": span[1], "abstains": abstains(bundle, answer.confidence), **asdict(answer)}
        for answer, span in zip(prediction.answers, prediction.spans_s, strict=True)
    ]


def read(args: argparse.Namespace) -> None:
    """Print what the reader's bundle answers for a recording."""
    from serving.bundle import load_bundle
    from signals.tasks import SIX_CLASS

    if not args.bundle.is_dir():
        raise ValueError(f"{args.bundle} does not exist: make a reader with cerebeam six-class build, or give --bundle")
    bundle = load_bundle(args.bundle)
    if bundle.task != SIX_CLASS:
        raise ValueError(f"{args.bundle} does not answer the six classes")
    prediction = bundle.predict(args.file, hop_s=args.hop, mains_hz=args.mains_hz, site_card=args.site_card)
    rows, summary = rows_of(bundle, prediction), summary_of(bundle, prediction)
    if args.json:
        print_json({"segments": rows, "summary": summary})
    else:
        print("\n".join([*table(rows), *described(summary)]))  # noqa: T201


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return a line per segment for a terminal; of its uncertainty, nats, what members disagree about stands apart."""
    lines = [f"{'from s':>8}  {'to s':>8}  {'class':<8}  {'prob.':>5}  {'total':>5}  {'disag.':>6}  set"]
    for row in rows:
        doubt, inside = row["uncertainty"], row["prediction_set"]
        name = "abstains" if row["abstains"] else row["predicted_class"]
        apart = "-" if doubt["epistemic"] is None else f"{doubt['epistemic']:.2f}"
        classes = "-" if inside is None else "{" + ", ".join(inside) + "}"
        lines.append(
            f"{row['from_s']:8.1f}  {row['to_s']:8.1f}  {name:<8}  {row['confidence']:5.2f}  {doubt['total']:5.2f}  "
            f"{apart:>6}  {classes}"
        )
    return lines


def described(summary: Summary) -> list[str]:
    """Return a summary as lines for a terminal."""
    if summary.read_s is None:
        return ["nothing could be read", "Research use only. Not a medical device."]
    counts = ", ".join(f"{name} {count}" for name, count in summary.by_class.items() if count)
    mean = ", ".join(f"{name} {value:.2f}" for name, value in summary.mean_probabilities.items())
    return [
        f"{summary.n_segments} segments, seconds {summary.read_s[0]:g} to {summary.read_s[1]:g}: "
        f"{counts or 'none answered'}; abstains from {summary.n_abstained}; more or fewer than one class possible in "
        f"{summary.n_unclear}",
        f"mean probabilities: {mean}",
        "Research use only. Not a medical device.",
    ]


def command_parser() -> Parser:
    """Return the parser of both commands."""
    parser = Parser(prog="cerebeam six-class", description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("build", description=COMMANDS["build"])
    make.add_argument("--output", type=Path, default=FOLDER, help="folder of corpus and bundle")
    make.add_argument("--segments", type=count, default=240, help="of each family that members learn from")
    make.add_argument("--held-out", type=count, default=90, help="of each family that decides about them")
    make.add_argument("--carriers", type=Path, help="shard set of real recordings, as backgrounds; no label is read")
    make.add_argument("--carrier-sites", nargs="+", default=[], metavar="FAMILY=SITE,SITE", help="of each family")
    make.add_argument(
        "--network", action="store_true", help="train a ResNet1D-GRU as a member too (10 minutes and more)"
    )
    make.add_argument(
        "--member", type=Path, nargs="+", default=[], metavar="DIR",
        help="saved models on samples that join the members, such as release/six_class",
    )  # fmt: skip
    make.add_argument("--seed", type=whole, default=0, help="of everything that is drawn")
    make.set_defaults(run=build)
    look = commands.add_parser("read", description=COMMANDS["read"])
    look.add_argument("file", help="a recording: EDF, BDF, FIF, BrainVision, EEGLAB, parquet, ...")
    look.add_argument("--bundle", type=Path, default=FOLDER / "bundle", help="the reader")
    look.add_argument("--hop", type=positive, help="seconds from one answer to the next; 10 if not given")
    look.add_argument("--mains-hz", type=positive, help="mains frequency, Hz; detected if not given")
    look.add_argument("--site-card", default="", metavar="FILE", help="card of the recording's site (docs/sites.md)")
    add_json(look, "segments and summary")
    look.set_defaults(run=read)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the commands; returns 0, or 2 with one line on standard error."""
    args = command_parser().parse_args(argv)
    from cerebeam.demo import DemoError
    from signals.recording.recording import UnreadableError

    try:
        args.run(args)
    except (DemoError, UnreadableError, ValueError, OSError) as error:
        print(f"cerebeam six-class {args.command}: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0
