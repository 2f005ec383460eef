"""python -m pipelines.dry_run: what would become of each file, without writing anything.

    python -m pipelines.dry_run --input DIR_OR_GLOB ... --profile pretrain

Prints a table in Markdown: read, quarantined with its reason, or side file. The decision is that of the pipeline's own
first step (`pipelines.stages.plan_files.plan_file`).
"""

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipelines.intake.cards import read_cards
from pipelines.intake.inputs import FileRef, InputError, find_inputs
from pipelines.intake.profile import fitting_profile
from pipelines.stages.outcome import Refused
from pipelines.stages.plan_files import plan_file
from signals.command_line import Parser
from signals.sites.card import CardError, SiteCard
from signals.windows.labels import LabelError, read_labels
from signals.windows.profiles import PROFILES, Profile


def decision(ref: FileRef, profile: Profile, *, has_card: bool = False) -> str:
    """Return the last two cells of a file's row; where a card speaks of it, with what that gives."""
    # The salt decides identifiers only, and none is shown.
    planned = plan_file(ref, profile, salt="dry run")
    file = planned.file
    if isinstance(file, Refused):
        return f"quarantined | `{file.reason}`: {file.detail}"
    notes = f"; {', '.join(file.notes)}" if file.notes else ""
    if planned.labels:
        notes += f"; {len(planned.labels)} labels refused, `{planned.labels[0].reason}`: {planned.labels[0].detail}"
    given = _given(ref, subject_known=file.subject_known) if has_card else ""
    return (
        f"read | {file.reader}, {file.n_channels} electrodes at {file.native_sfreq:g} Hz, "
        f"{file.n_windows} windows{given}{notes}"
    )


def _given(ref: FileRef, *, subject_known: bool) -> str:
    """Return what is known of a file from outside of it: its site, whether its subject, its labels, its mains."""
    names = list(dict.fromkeys(label.label for label in ref.labels))
    labels = f"{len(ref.labels)} labels ({', '.join(names[:3])})" if len(ref.labels) > 1 else ", ".join(names)
    mains = f", mains {ref.mains_hz:g} Hz" if ref.mains_hz else ""
    subject = "subject known" if subject_known else "subject unknown"
    return f"; site {ref.site_id}, {subject}, {f'label {labels}' if labels else 'no label'}{mains}"


def table(
    inputs: Sequence[str], profile: Profile | None, *, labels: Path | None = None, cards: Sequence[SiteCard] = ()
) -> Iterator[str]:
    """Yield the lines of a Markdown table, a row per file, in order of the paths below their common folder.

    Without a profile it is the one that a run would take.
    """
    inputs_read = find_inputs(inputs, read_labels(labels) if labels else None, cards)
    chosen = profile or fitting_profile(inputs_read.files)
    refs: dict[str, FileRef | None] = {file.uri: file for file in inputs_read.files} | dict.fromkeys(
        inputs_read.side_files
    )
    carded = inputs_read.carded_sites
    root = Path(os.path.commonpath([str(Path(uri).parent) for uri in refs]))
    yield "| file | decision | |"
    yield "|---|---|---|"
    for uri in sorted(refs):
        ref = refs[uri]
        cells = "side file | belongs to another file or describes the folder"
        if ref is not None:
            cells = decision(ref, chosen, has_card=ref.site_id in carded)
        yield f"| {Path(uri).relative_to(root)} | {cells} |"


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; returns 0, or 2 with one line on standard error."""
    parser = Parser(prog="cerebeam dry-run", description="what would become of each file, without writing anything")
    parser.add_argument("--input", nargs="+", metavar="PATH", required=True, help="folders, files or globs")
    parser.add_argument("--labels", type=Path, help="label file, as for preprocess")
    parser.add_argument("--site-card", nargs="+", default=[], metavar="FILE", help="site cards, or folders of them")
    parser.add_argument(
        "--profile", choices=sorted(PROFILES), help="how windows are prepared; by default as in preprocess"
    )
    args = parser.parse_args(argv)
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.WARNING)
    try:
        cards = read_cards(args.site_card)
        profile = PROFILES[args.profile] if args.profile else None
        for line in table(args.input, profile, labels=args.labels, cards=cards):
            print(line, flush=True)  # noqa: T201
    except (InputError, LabelError, CardError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
