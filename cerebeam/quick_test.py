"""cerebeam quick-test: every family of models once forward and backward on noise, as a table.

    cerebeam quick-test [--only WORD]

Small forms on one core, about as long as the libraries take to load. Ends with 1 where a family fails, and the table
states why.
"""

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from signals.command_line import Parser
from signals.json_output import add_json, print_json

if TYPE_CHECKING:
    from model.families.trials import Trial

PROG = "cerebeam quick-test"


def parser() -> Parser:
    """Return the command's parser."""
    made = Parser(prog=PROG, description="every family of models once forward and backward on noise, as a table")
    made.add_argument("--only", default="", metavar="WORD", help="families whose name holds this word")
    add_json(made, "each family's parameters, milliseconds and problem")
    return made


def table(trials: Sequence["Trial"]) -> str:
    """Return a row per family."""
    width = max(len(trial.family) for trial in trials)
    lines = [f"{'family':<{width}}  {'parameters':>10}  {'forward':>10}  {'backward':>10}  "]
    for trial in trials:
        lines.append(
            f"{trial.family:<{width}}  {trial.n_parameters:>10,}  {trial.forward_ms:>7.1f} ms  "
            f"{trial.backward_ms:>7.1f} ms  {trial.problem or 'ok'}"
        )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the families; returns 1 where one fails."""
    args = parser().parse_args(argv)
    started = time.perf_counter()
    from model.families.trials import families, try_family

    chosen = {name: build for name, build in families().items() if args.only in name}
    if not chosen:
        print(f"{PROG}: no family holds {args.only!r}; families are {', '.join(families())}", file=sys.stderr)  # noqa: T201
        return 2
    trials = [try_family(name, build) for name, build in chosen.items()]
    failed = [trial.family for trial in trials if trial.problem]
    seconds = time.perf_counter() - started
    if args.json:
        print_json({"families": trials, "n_failed": len(failed), "seconds": round(seconds, 3)})
    else:
        print(table(trials))  # noqa: T201
        print(f"{len(trials) - len(failed)} of {len(trials)} families ran in {seconds:.1f} s")  # noqa: T201
    if failed:
        print(f"{PROG}: {', '.join(failed)} failed", file=sys.stderr)  # noqa: T201
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
