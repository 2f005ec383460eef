"""Label curves: how well models do that learn from 8, 16, ... 192 people.

    python -m studies.study curve --shards DIR --task six-class --encoder DIR --output OUT/curve.parquet

Each seed draws its people anew; those of a smaller number are among those of a larger one. Settings are tuned among the
drawn people alone. Test sides are whole, the same for every number. Models are named "model@n".
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

from evaluation.schemas.predictions import Predictions
from studies.baselines.candidates import METHODS
from studies.engine.bench import Method
from studies.engine.command import line_of, parse_study, run_command
from studies.engine.few import check_numbers, named, numbers_within
from studies.engine.study import Design
from studies.transfer import TransferCommand, make_table, scores
from studies.transfer import design_of as transfer_design

PROG = "cerebeam study curve"


@dataclass(frozen=True, kw_only=True)
class CurveCommand(TransferCommand):
    """Compare models that learn from few people."""

    subjects: tuple[int, ...] = (8, 16, 32, 64, 128, 192)
    """Numbers of training people; those that a fold has not are left out."""
    models: tuple[str, ...] = ("linear-probe/random", "log-spectra/logistic", "resnet-gru")
    """Any of studies.baselines.candidates."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.subjects:
            raise ValueError("subjects=() must be numbers of people")
        check_numbers(self.subjects)


def of_few(name: str, n_subjects: int) -> Method:
    """Return a model that learns from so many people, drawn by the seed, which then matters to all."""
    return replace(METHODS[name], n_subjects=n_subjects, seeded=True)


def design_of(command: CurveCommand) -> Design:
    """Return the study of every model at every number of people; "prior" learns from all."""
    design = transfer_design(command)
    numbers = numbers_within(design, command.subjects)
    curves = {named(name, n): of_few(name, n) for name in design.models for n in numbers}
    return replace(design, models={"prior": METHODS["prior"], **curves})


def make_curve(command: CurveCommand, *, command_line: str) -> Predictions:
    """Fit everything, write the predictions and return them."""
    return make_table(command, command_line=command_line, open_study=design_of)


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = parse_study(CurveCommand, arguments, prog=PROG)
    run_command(PROG, lambda: print(scores(make_curve(command, command_line=line_of(PROG, arguments)))))  # noqa: T201


if __name__ == "__main__":
    main()
