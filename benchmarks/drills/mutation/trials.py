"""One fault at a time: plant it, run the tests that may notice it, keep what came of it."""

import json
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.drills.mutation.faults import Fault, slug
from benchmarks.drills.mutation.reach import Reach, Selection, imports, mirrors, select, trace
from benchmarks.drills.mutation.tree import Run, Tree

BASELINE_LIMIT_S = 3600.0
START_S, SLOWER = 60.0, 5.0
"""A run of tests that takes longer than its start and five times what the tests took before is a hang."""
ELSEWHERE_LIMIT_S = 300.0
"""For tests of other rooms, whose time is not known."""


@dataclass(frozen=True)
class Room:
    """What is mutated, and the tests that should notice."""

    name: str
    tests: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """What became of a fault."""

    where: str
    """File and line."""
    kind: str
    before: str
    after: str
    killed: bool
    detail: str
    """The test that failed first, or what was tried without effect."""
    seconds: float


class Trials:
    """Tries the faults of one room in copies of the checkout, and remembers what came of each."""

    def __init__(self, trees: Sequence[Tree], room: Room, memory: Path, digest: str) -> None:
        self.trees, self.room, self.digest = trees, room, digest
        self.log = memory / f"{digest}.jsonl"
        self._lock = threading.Lock()
        self._known = dict(_stored(self.log))
        self.reach = self._reach(memory)
        self.imports = imports(trees[0].root)

    def _reach(self, memory: Path) -> Reach:
        """Return what the room's tests reach: from an earlier run on the same files, or by running them all once."""
        path = memory / f"{self.digest}-{slug(' '.join((self.room.name.split('/')[0], *self.room.tests)))}.json"
        if path.is_file():
            return Reach.load(path)
        sys.stderr.write(f"mutants: running {' '.join(self.room.tests)} without any fault\n")
        package = self.room.name.split("/")[0]
        reach = trace(self.trees[0], self.room.tests, (f"{package}/",), limit_s=BASELINE_LIMIT_S)
        reach.save(path)
        return reach

    def selection(self, fault: Fault) -> Selection:
        """Return the tests of a fault."""
        importers = {path for path, imported in self.imports.items() if fault.path in imported}
        own = {test.split("::")[0] for test in self.reach.seconds}
        elsewhere = [path for path in sorted(importers - own) if path.startswith("tests/") and "/test_" in path]
        mirror = mirrors(self.trees[0].root, fault.path)
        return select(fault, self.reach, mirror=mirror, importers=importers, elsewhere=elsewhere)

    def outcome(self, fault: Fault, tree: Tree) -> Outcome:
        """Return what becomes of a fault, from memory where it was tried on the same files."""
        key = json.dumps([self.room.tests, asdict(fault)])
        if key in self._known:
            return self._known[key]
        outcome = self._try(fault, tree)
        if not tree.is_stopped:
            with self._lock, self.log.open("a", encoding="utf-8") as log:
                log.write(json.dumps([key, asdict(outcome)]) + "\n")
        return outcome

    def _try(self, fault: Fault, tree: Tree) -> Outcome:
        before, after = fault.lines((tree.root / fault.path).read_bytes())
        selection, began = self.selection(fault), time.perf_counter()
        killed, detail = False, f"passed {selection.n_tests} tests" if selection.groups else "no test enters it"
        with tree.planted(fault):
            for group in selection.groups:
                run = tree.test(group, "-x", limit_s=self._limit_s(group))
                if not run.passed:
                    killed, detail = True, _cause(run)
                    break
        where, seconds = f"{fault.path}:{fault.line}", time.perf_counter() - began
        return Outcome(where, fault.kind, before, after, killed, detail, seconds)

    def _limit_s(self, tests: Sequence[str]) -> float:
        known = [self.reach.seconds[test] for test in tests if test in self.reach.seconds]
        return START_S + SLOWER * sum(known) + (0 if known else ELSEWHERE_LIMIT_S)


def _cause(run: Run) -> str:
    if run.is_hang:
        return f"hang of {run.seconds:.0f} s"
    return run.failures[0] if run.failures else f"pytest ended with code {run.code}"


def _stored(log: Path) -> Iterator[tuple[str, Outcome]]:
    if log.is_file():
        for line in log.read_text(encoding="utf-8").splitlines():
            key, stored = json.loads(line)
            yield key, Outcome(**stored)


def outcomes_of(trials: Trials, faults: Sequence[Fault], *, deadline: float) -> list[Outcome]:
    """Return the outcomes of faults, in their order, as many as were begun before the deadline (`time.monotonic`).

    Each copy of the checkout takes the next fault as soon as it is done with one.
    """
    waiting, lock = iter(enumerate(faults)), threading.Lock()
    done: dict[int, Outcome] = {}

    def work(tree: Tree) -> None:
        while not tree.is_stopped and time.monotonic() < deadline:
            with lock:
                number, fault = next(waiting, (-1, None))
            if fault is None:
                return
            outcome = trials.outcome(fault, tree)
            if tree.is_stopped:  # its tests were ended, so they show nothing
                return
            done[number] = outcome
            _show(outcome, len(done), len(faults))

    with ThreadPoolExecutor(len(trials.trees)) as pool:
        try:
            for future in [pool.submit(work, tree) for tree in trials.trees]:
                future.result()
        except BaseException:
            for tree in trials.trees:
                tree.stop()
            raise
    return [done[number] for number in sorted(done)]


def _show(outcome: Outcome, n_done: int, n: int) -> None:
    state = f"killed by {outcome.detail}" if outcome.killed else f"SURVIVED, {outcome.detail}"
    sys.stderr.write(f"{n_done}/{n} {outcome.where} {outcome.kind} ({outcome.seconds:.0f} s): {state}\n")
    sys.stderr.flush()
