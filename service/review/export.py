"""cerebeam reviews export: what reviewers saw, as the label file that preprocess and fine-tuning take.

    cerebeam reviews export --data var --output labels.csv
    cerebeam preprocess --input RECORDINGS --labels labels.csv --profile six-class --output shards

A row is a window whose middle 10 s were reviewed, with a vote per reviewer. Withdrawn reviews are left out.
"""

import csv
import io
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine

from service.records.database import RecordsError, open_database
from service.records.reviews import reviews_of
from service.records.studies import list_studies
from service.records.tables import Study
from service.refusals import Refusal
from service.review.agreement import UNIT_S, units_of
from service.settings import SettingsError, load_settings
from signals.command_line import Parser
from signals.files import atomic_file
from signals.json_output import add_json, print_json
from signals.tasks import SIX_CLASS
from signals.windows.profiles import SIX_CLASS as PROFILE

VOTES = tuple(f"{name.lower()}_vote" for name in SIX_CLASS.classes)
COLUMNS = ("file", "onset_s", *VOTES, "label_source")
_MOST_STUDIES = 100_000


@dataclass(frozen=True)
class LabelRow:
    """One window's votes."""

    file: str
    onset_s: float
    votes: tuple[int, ...]
    """In the order of `SIX_CLASS.classes`."""


def label_rows(engine: Engine, *, reviewers: Sequence[str] = ()) -> list[LabelRow]:
    """Return the rows of all studies, of these reviewers or of all.

    Of several studies of one file the newest counts: the file changed, and seconds may not mean the same any more.
    """
    newest: dict[str, Study] = {}
    for study in list_studies(engine, limit=_MOST_STUDIES):
        newest.setdefault(study.file, study)
    rows: list[LabelRow] = []
    for study in sorted(newest.values(), key=lambda one: one.file):
        rows += _rows_of(engine, study, reviewers)
    return rows


def _rows_of(engine: Engine, study: Study, reviewers: Sequence[str]) -> Iterable[LabelRow]:
    assert PROFILE.label_span_s is not None  # the profile has one
    before = PROFILE.label_span_s[0]
    units = units_of(reviews_of(engine, study.id, reviewer=None))
    votes: dict[int, Counter[str]] = {}
    for reviewer, labels in units.items():
        if reviewers and reviewer not in reviewers:
            continue
        for number, label in labels.items():
            votes.setdefault(number, Counter())[label] += 1
    for number, counted in sorted(votes.items()):
        onset_s = number * UNIT_S - before
        if 0 <= onset_s <= study.duration_s - PROFILE.window_s:
            yield LabelRow(study.file, onset_s, tuple(counted[name] for name in SIX_CLASS.classes))


def write_labels(rows: Iterable[LabelRow], path: Path) -> int:
    """Write a label file, whole or not at all; returns how many rows."""
    text, n_rows = io.StringIO(), 0
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([row.file, f"{row.onset_s:g}", *row.votes, "experts"])
        n_rows += 1
    with atomic_file(path) as file:
        file.write(text.getvalue().encode())
    return n_rows


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line; returns 0, or 2 with one line on standard error."""
    parser = Parser(prog="cerebeam reviews", description=__doc__)
    parser.add_argument("command", choices=("export",))
    parser.add_argument("--output", type=Path, required=True, help="label file to write, .csv")
    parser.add_argument("--data", type=Path, help="the server's data folder, var by default")
    parser.add_argument("--reviewer", action="append", default=[], help="of this reviewer alone; may be repeated")
    parser.add_argument("--config", type=Path, help="YAML file of five sections")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="any key")
    add_json(parser, "the file, and how many windows it has")
    args = parser.parse_args(argv)
    try:
        own = [f"system.data={args.data}"] if args.data else []
        settings = load_settings(args.config, [*own, *args.set])
        if not settings.system.database and not (settings.system.data / "records.db").is_file():
            raise SettingsError(f"{settings.system.data} has no records: give the server's folder with --data")
        n_rows = write_labels(label_rows(open_database(settings.database_url), reviewers=args.reviewer), args.output)
    except (SettingsError, RecordsError, Refusal, OSError) as error:
        print(f"cerebeam reviews: {getattr(error, 'error', error)}", file=sys.stderr)  # noqa: T201
        return 2
    if args.json:
        print_json({"output": args.output, "n_windows": n_rows})
    else:
        print(f"{args.output}: {n_rows} windows")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
