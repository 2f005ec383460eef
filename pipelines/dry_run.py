"""python -m pipelines.dry_run: what would become of each file, without writing anything.

    python -m pipelines.dry_run --input DIR_OR_GLOB ... --profile pretrain

Prints a table in Markdown: read, quarantined with its reason, or side file. The verdict is that of the pipeline's own
first step (`pipelines.transforms.PlanFile`).
"""

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipelines.intake.inputs import FileRef, InputError, find_inputs
from pipelines.stages.plan_files import Accepted, PlanFile, Quarantined
from signals.command_line import Parser
from signals.windows.labels import LabelError, read_labels
from signals.windows.profiles import PROFILES, Profile


def verdict_of(ref: FileRef, profile: Profile) -> str:
    """Return the last two cells of a file's row."""
    # The salt decides identifiers only, and none is shown.
    outputs = [getattr(output, "value", output) for output in PlanFile(profile, salt="verdict").process(ref)]
    for output in outputs:
        if isinstance(output, Quarantined):
            return f"quarantined | `{output.reason}`: {output.detail}"
        if isinstance(output, Accepted):
            notes = f"; {', '.join(output.notes)}" if output.notes else ""
            return (
                f"read | {output.reader}, {output.n_channels} electrodes at {output.native_sfreq:g} Hz, "
                f"{output.n_windows} windows{notes}"
            )
    raise RuntimeError(f"the plan of {ref.uri} said nothing")


def table(inputs: Sequence[str], profile: Profile, *, labels: Path | None = None) -> Iterator[str]:
    """Yield the lines of a Markdown table, a row a file, in order of the paths below their common folder."""
    found = find_inputs(inputs, read_labels(labels) if labels else None)
    refs: dict[str, FileRef | None] = {file.uri: file for file in found.files} | dict.fromkeys(found.side_files)
    root = Path(os.path.commonpath([str(Path(uri).parent) for uri in refs]))
    yield "| file | verdict | |"
    yield "|---|---|---|"
    for uri in sorted(refs):
        ref = refs[uri]
        verdict = (
            "side file | belongs to another file or describes the folder" if ref is None else verdict_of(ref, profile)
        )
        yield f"| {Path(uri).relative_to(root)} | {verdict} |"


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; returns 0, or 2 with one line on standard error."""
    parser = Parser(prog="pipelines.dry_run", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--input", nargs="+", required=True, help="folders, files or globs")
    parser.add_argument("--labels", type=Path, help="label file, as for preprocess")
    parser.add_argument("--profile", choices=sorted(PROFILES), default="pretrain")
    args = parser.parse_args(argv)
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.WARNING)
    try:
        for line in table(args.input, PROFILES[args.profile], labels=args.labels):
            print(line, flush=True)  # noqa: T201
    except (InputError, LabelError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
