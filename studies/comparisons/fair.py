"""The fair table: every model trained as well as it can be, on the same folds, beside an honest floor.

    python -m studies.study fair --shards DIR --task T [--encoder DIR] --output OUT/fair.parquet [--group subject]

Settings of each model are tuned alike on training people, three seeds, intervals that resample people (segments where
people are not known). OUT/fair.parquet holds the predictions, for `evaluation.report --transfer`; OUT/fair.md the table
with its configuration, commit and date; OUT/fair.json its numbers.

Exit code 75: a signal stopped it; the same command goes on in the middle of the fit.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from signals.files import atomic_file
from studies.baselines.candidates import METHODS, TRIVIAL
from studies.comparisons.table import fair_table, markdown
from studies.engine.command import line_of, parse_study, run_command
from studies.transfer import TransferCommand, make_table

PROG = "cerebeam study fair"


@dataclass(frozen=True, kw_only=True)
class FairCommand(TransferCommand):
    """Compare everything there is with the best trivial prediction."""

    models: tuple[str, ...] = ()
    """Any of studies.baselines.candidates; all by default."""
    inner_rounds: int = 3
    """How many of the inner folds are used."""
    n_boot: int = 2000
    """Resamples of people."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not set(self.chosen) & set(TRIVIAL):
            raise ValueError(f"the table needs a floor: give one of {', '.join(TRIVIAL)} among --models")

    @property
    def chosen(self) -> tuple[str, ...]:
        """The models that are compared."""
        return self.models or tuple(n for n in METHODS if self.has_encoder or not METHODS[n].needs_encoder)


def make_fair_table(command: FairCommand, *, command_line: str) -> str:
    """Fit everything, write predictions, table and numbers, and return the table."""
    predictions = make_table(command, command_line=command_line)
    table = fair_table(predictions, n_boot=command.n_boot)
    text = markdown(table)
    for suffix, content in ((".md", text), (".json", json.dumps(asdict(table), indent=1) + "\n")):
        with atomic_file(command.output.with_suffix(suffix)) as file:
            file.write(content.encode())
    return text


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = parse_study(FairCommand, arguments, prog=PROG)
    run_command(PROG, lambda: print(make_fair_table(command, command_line=line_of(PROG, arguments))))  # noqa: T201


if __name__ == "__main__":
    main()
