"""python -m pipelines.dry_run: what would become of each file, without writing anything.

    python -m pipelines.dry_run --input DIR_OR_GLOB ... --profile pretrain

Prints a table in Markdown: read, quarantined with its reason, or side file. The decision is that of the pipeline's own
first step (`pipelines.stages.plan_files.plan_file`).
"""

import logging
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.intake.cards import read_cards
from pipelines.intake.inputs import FileRef, InputError, find_inputs
from pipelines.intake.profile import fitting_profile
from pipelines.stages.outcome import Refused
from pipelines.stages.plan_files import plan_file
from signals.command_line import Parser
from signals.json_output import add_json, print_json
from signals.sites.card import CardError, SiteCard
from signals.windows.labels import LabelError, read_labels
from signals.windows.profiles import PROFILES, Profile


@dataclass(frozen=True, kw_only=True)
class FileDecision:
    """What would become of one file."""

    file: str
    """Its path below the folder that all files are in."""
    decision: str
    """"read", "quarantined" or "side file"."""
    detail: str
    reason: str = ""
    """Code of a quarantined file."""
    reader: str = ""
    n_channels: int = 0
    sfreq: float = 0.0
    """Hz."""
    n_windows: int = 0

    @property
    def row(self) -> str:
        """The file's row of the table."""
        detail = f"`{self.reason}`: {self.detail}" if self.reason else self.detail
        return f"| {self.file} | {self.decision} | {detail} |"


def decision(name: str, ref: FileRef, profile: Profile, *, has_card: bool = False) -> FileDecision:
    """Return what would become of a file; where a card speaks of it, with what that gives."""
    # The salt decides identifiers only, and none is shown.
    planned = plan_file(ref, profile, salt="dry run")
    file = planned.file
    if isinstance(file, Refused):
        return FileDecision(file=name, decision="quarantined", reason=file.reason, detail=file.detail)
    notes = f"; {', '.join(file.notes)}" if file.notes else ""
    if planned.labels:
        notes += f"; {len(planned.labels)} labels refused, `{planned.labels[0].reason}`: {planned.labels[0].detail}"
    given = _given(ref, subject_known=file.subject_known) if has_card else ""
    detail = f"{file.reader}, {file.n_channels} electrodes at {file.native_sfreq:g} Hz, {file.n_windows} windows"
    return FileDecision(
        file=name, decision="read", detail=f"{detail}{given}{notes}", reader=file.reader, n_channels=file.n_channels,
        sfreq=file.native_sfreq, n_windows=file.n_windows,
    )  # fmt: skip


def _given(ref: FileRef, *, subject_known: bool) -> str:
    """Return what is known of a file from outside of it: its site, whether its subject, its labels, its mains."""
    names = list(dict.fromkeys(label.label for label in ref.labels))
    labels = f"{len(ref.labels)} labels ({', '.join(names[:3])})" if len(ref.labels) > 1 else ", ".join(names)
    mains = f", mains {ref.mains_hz:g} Hz" if ref.mains_hz else ""
    subject = "subject known" if subject_known else "subject unknown"
    return f"; site {ref.site_id}, {subject}, {f'label {labels}' if labels else 'no label'}{mains}"


def decisions(
    inputs: Sequence[str], profile: Profile | None, *, labels: Path | None = None, cards: Sequence[SiteCard] = ()
) -> Iterator[FileDecision]:
    """Yield what would become of each file, in order of the paths below their common folder.

    Without a profile it is the one that a run would take.
    """
    inputs_read = find_inputs(inputs, read_labels(labels) if labels else None, cards)
    chosen = profile or fitting_profile(inputs_read.files)
    refs: dict[str, FileRef | None] = {file.uri: file for file in inputs_read.files} | dict.fromkeys(
        inputs_read.side_files
    )
    carded = inputs_read.carded_sites
    root = Path(os.path.commonpath([str(Path(uri).parent) for uri in refs]))
    for uri in sorted(refs):
        ref, name = refs[uri], str(Path(uri).relative_to(root))
        if ref is None:
            detail = "belongs to another file or describes the folder"
            yield FileDecision(file=name, decision="side file", detail=detail)
        else:
            yield decision(name, ref, chosen, has_card=ref.site_id in carded)


def table(found: Iterable[FileDecision]) -> Iterator[str]:
    """Yield the lines of a Markdown table, a row per file."""
    yield "| file | decision | |"
    yield "|---|---|---|"
    yield from (one.row for one in found)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; returns 0, or 2 with one line on standard error."""
    parser = Parser(prog="cerebeam dry-run", description="what would become of each file, without writing anything")
    parser.add_argument("--input", nargs="+", metavar="PATH", required=True, help="folders, files or globs")
    parser.add_argument("--labels", type=Path, help="label file, as for preprocess")
    parser.add_argument("--site-card", nargs="+", default=[], metavar="FILE", help="site cards, or folders of them")
    parser.add_argument(
        "--profile", choices=sorted(PROFILES), help="how windows are prepared; by default as in preprocess"
    )
    add_json(parser, "how many files have which decision, and the files")
    args = parser.parse_args(argv)
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.WARNING)
    try:
        cards = read_cards(args.site_card)
        profile = PROFILES[args.profile] if args.profile else None
        found = decisions(args.input, profile, labels=args.labels, cards=cards)
        if args.json:
            files = list(found)
            print_json({"decisions": Counter(one.decision for one in files), "files": files})
        else:
            for line in table(found):
                print(line, flush=True)  # noqa: T201
    except (InputError, LabelError, CardError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
