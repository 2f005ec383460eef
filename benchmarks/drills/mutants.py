"""Do a room's tests notice a fault? Plants one-line faults and runs the tests that cover them.

    python -m benchmarks mutants [--seed N] [--rooms signals pipelines ...] [--per-room 20] [--minutes M] [--jobs 2]

Faults are drawn by the seed, one at most a line, from the lines of a room that run code, and planted one at a time
into a copy of the checkout. Killed is a fault that makes a test fail or hang, a survivor is one that none notices. A
room may be a folder below a package or one file; --tests narrows the tests that are looked at.
"""

import argparse
import contextlib
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from benchmarks.drills.mutation.exclusions import FAULTS, NODES, excluded_lines, stale
from benchmarks.drills.mutation.faults import Fault, draw, python_files, room_candidates, slug
from benchmarks.drills.mutation.reach import BaselineError
from benchmarks.drills.mutation.tree import Tree, digest
from benchmarks.drills.mutation.trials import Outcome, Room, Trials, outcomes_of
from benchmarks.harness import figure, machine

ROOMS = ("signals", "pipelines", "evaluation")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks mutants", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, help="which faults are drawn (default: a new seed, which is printed)")
    parser.add_argument("--rooms", nargs="+", default=list(ROOMS), help="packages, folders below them, or files")
    parser.add_argument("--per-room", type=int, default=20, help="faults planted in each")
    parser.add_argument("--minutes", type=float, default=120.0, help="start no fault later than this")
    parser.add_argument("--jobs", type=int, default=1, help="faults tried side by side")
    parser.add_argument("--tests", nargs="+", help="test folders or files (default: those of each room's package)")
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="checkout to plant into a copy of")
    parser.add_argument("--memory", type=Path, help="where maps and outcomes are kept (default: bench-output/mutants)")
    parser.add_argument("--list", action="store_true", help="print the faults that the seed draws, and plant none")
    parser.add_argument("--rules", action="store_true", help="print what is never mutated, and why")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Plant faults and print figures; returns 2 where the tests fail before any fault or an option is wrong."""
    args = _parser().parse_args(argv)
    if args.rules:
        _print_rules(args.root)
        return 0
    problem = _problem(args)
    if problem:
        sys.stderr.write(f"mutants: {problem}\n")
        return 2
    seed = random.SystemRandom().randrange(10**6) if args.seed is None else args.seed
    if args.list:
        _print_drawn(args, seed)
        return 0
    print(f"{machine()}, seed {seed}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        _measure(args, seed)
    except BaselineError as error:
        sys.stderr.write(f"mutants: {error}\n")
        return 2
    return 0


def _problem(args: argparse.Namespace) -> str:
    """Return what is wrong with the options, or nothing."""
    for room in args.rooms:
        if not python_files(args.root, room):
            return f"{args.root / room} holds no Python file: give packages, folders below them, or files"
        if not args.tests and not (args.root / "tests" / Path(room).parts[0]).is_dir():
            return f"{args.root / 'tests' / Path(room).parts[0]} is no folder: name the tests of {room} with --tests"
    if args.per_room < 1 or args.jobs < 1:
        return f"--per-room {args.per_room} and --jobs {args.jobs} must be at least 1"
    return "; ".join(stale(excluded_lines(args.root), args.root))


def _print_rules(root: Path) -> None:
    for name, reason in (*((rule.name, rule.reason) for rule in NODES), *FAULTS):
        print(f"{name}: {reason}")
    for line in excluded_lines(root):
        print(f"{line.file}: {line.before} -> {line.after or 'any'}: {line.reason}")


def _print_drawn(args: argparse.Namespace, seed: int) -> None:
    for room in args.rooms:
        candidates = room_candidates(args.root, room)
        print(f"{room}: {len(candidates)} faults on {len({(fault.path, fault.line) for fault in candidates})} lines")
        for fault in _drawn(args, room, seed):
            before, after = fault.lines((args.root / fault.path).read_bytes())
            print(f"  {fault.path}:{fault.line} ({fault.kind}): {before} -> {after}")


def _drawn(args: argparse.Namespace, room: str, seed: int) -> list[Fault]:
    return list(islice(draw(args.root, room, seed=seed, exclusions=excluded_lines(args.root)), args.per_room))


def _measure(args: argparse.Namespace, seed: int) -> None:
    deadline = time.monotonic() + 60 * args.minutes
    memory = args.memory or args.root / "bench-output" / "mutants"
    everything: list[Outcome] = []
    files = digest(args.root)  # those that are copied now, whatever becomes of the checkout meanwhile
    rooms = [(name, _drawn(args, name, seed)) for name in args.rooms]
    with _trees(args.root, args.jobs) as trees:
        for name, drawn in rooms:
            room = Room(name, tuple(args.tests or [f"tests/{Path(name).parts[0]}"]))
            trials = Trials(trees, room, memory, files)
            outcomes = outcomes_of(trials, drawn, deadline=deadline)
            _report(room, outcomes, len(drawn))
            everything += outcomes
    if everything:
        figure("mutants_planted", len(everything), "count")
        figure("mutants_killed_share", _share(everything), "share")


@contextlib.contextmanager
def _trees(root: Path, n: int) -> Iterator[list[Tree]]:
    """Hold n copies of a checkout; they and what runs in them are gone afterwards, however it ends."""
    with tempfile.TemporaryDirectory(prefix="mutants-", ignore_cleanup_errors=True) as folder:
        trees = [Tree.copy(root, Path(folder) / str(number)) for number in range(n)]
        try:
            yield trees
        finally:
            for tree in trees:
                tree.stop()


def _share(outcomes: Sequence[Outcome]) -> float:
    return sum(outcome.killed for outcome in outcomes) / len(outcomes)


def _report(room: Room, outcomes: Sequence[Outcome], n_drawn: int) -> None:
    """Print a room's survivors and figures."""
    for outcome in outcomes:
        if not outcome.killed:
            print(f"survived {outcome.where} ({outcome.kind}; {outcome.detail}): {outcome.before} -> {outcome.after}")
    if len(outcomes) < n_drawn:
        print(f"{room.name}: {n_drawn - len(outcomes)} of {n_drawn} faults were not planted: --minutes is over")
    if outcomes:
        figure(f"mutants_planted_{slug(room.name)}", len(outcomes), "count")
        figure(f"mutants_killed_share_{slug(room.name)}", _share(outcomes), "share")


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
