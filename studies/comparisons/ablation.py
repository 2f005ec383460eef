"""Ablations: one frozen probe on encoders that were pretrained with and without a part, seed by seed.

    python -m studies.study ablation --shards DIR --task T --group subject --output OUT/ablation.parquet \\
        --variants RUNS/full RUNS/without-graph

Each variant is a folder with a folder per seed, RUNS/full/0, RUNS/full/1, ..., each an encoder or the pretraining that
left one. "random" and "log-spectra/logistic" stand beside them as floors.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from model.saved import check_model_dir
from studies.baselines.candidates import METHODS, linear
from studies.engine.bench import Method
from studies.engine.command import line_of, open_design, parse_study, run_command
from studies.engine.study import Design
from studies.transfer import TransferCommand, make_table, scores

PROG = "cerebeam study ablation"
FLOORS = ("prior", "linear-probe/random", "log-spectra/logistic")


@dataclass(frozen=True, kw_only=True)
class AblationCommand(TransferCommand):
    """Compare encoders of different pretrainings by one probe."""

    variants: tuple[Path, ...]
    """Folders of variants, each with a folder per seed."""

    def seed_encoders(self) -> dict[str, list[Path]]:
        """Return the encoders of each variant; raises FileNotFoundError for a seed that is not there."""
        found = {}
        for folder in self.variants:
            runs = [folder / str(seed) for seed in range(self.seeds)]
            found[folder.name] = [check_model_dir(r / "encoder" if (r / "encoder").is_dir() else r) for r in runs]
        return found


def design_of(command: AblationCommand) -> Design:
    """Return the study of a linear probe on every variant, and the floors."""
    encoders = command.seed_encoders()
    candidates = METHODS["linear-probe/pretrained"].candidates
    probes = {name: Method(fit=linear(name), candidates=candidates, about="linear probe") for name in encoders}
    return open_design(command, {**{name: METHODS[name] for name in FLOORS}, **probes}, variants=encoders)


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = parse_study(AblationCommand, arguments, prog=PROG)

    def work() -> None:
        made = make_table(command, command_line=line_of(PROG, arguments), open_study=design_of)
        print(scores(made))  # noqa: T201

    run_command(PROG, work)


if __name__ == "__main__":
    main()
