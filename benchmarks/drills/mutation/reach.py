"""Which tests enter which function, and so which of them may notice a fault."""

import ast
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from benchmarks.drills.mutation.faults import MODULE, Fault
from benchmarks.drills.mutation.tree import TRACING, Tree


class BaselineError(Exception):
    """Tests fail, or there are none, before any fault is planted."""


@dataclass(frozen=True)
class Reach:
    """The tests of a room, and the functions that each of them enters."""

    seconds: dict[str, float]
    """Of each test, in the order of their run."""
    tests: dict[str, dict[int, list[str]]]
    """By file and first line of a function: the tests that enter it."""

    def save(self, path: Path) -> None:
        """Write it to a file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(asdict(self)), encoding="utf-8")
        partial.replace(path)

    @classmethod
    def load(cls, path: Path) -> "Reach":
        """Return what `save` wrote."""
        stored = json.loads(path.read_text(encoding="utf-8"))
        tests = {file: {int(line): names for line, names in of.items()} for file, of in stored["tests"].items()}
        return cls(stored["seconds"], tests)

    def of_file(self, path: str) -> set[str]:
        """Return the tests that enter any function of a file."""
        return {test for line, tests in self.tests.get(path, {}).items() if line for test in tests}


def trace(tree: Tree, tests: Sequence[str], rooms: Sequence[str], *, limit_s: float) -> Reach:
    """Run tests of an unchanged copy and return what they reach.

    Raises `BaselineError` if one fails, and fails again without the tracer.
    """
    log = tree.root.with_name("reached")
    environ = {
        "CEREBEAM_REACHED": str(log),
        "CEREBEAM_REACHED_ROOT": str(tree.root),
        "CEREBEAM_REACHED_ROOMS": os.pathsep.join(rooms),
        "PYTHONPATH": os.pathsep.join((str(TRACING), str(tree.root))),
    }
    run = tree.test(tests, "-p", "reached", limit_s=limit_s, environ=environ)
    if run.is_hang:
        raise BaselineError(f"the tests of {' '.join(tests)} took more than {limit_s:.0f} s without any fault planted")
    if not Path(f"{log}.json").is_file():
        raise BaselineError(f"pytest did not run {' '.join(tests)}: {run.output.strip()[-300:]}")
    noted = json.loads(Path(f"{log}.json").read_text(encoding="utf-8"))
    failed = noted["failed"]
    if failed and not (again := tree.test(failed, limit_s=limit_s)).passed:
        names = again.failures or failed
        raise BaselineError(f"{len(names)} tests fail without any fault planted, {names[0]} first: repair them")
    if not noted["seconds"]:
        raise BaselineError(f"{' '.join(tests)} holds no test")
    return Reach(noted["seconds"], _by_function(log, noted["fixtures"]))


def _by_function(log: Path, fixtures: dict[str, list[str]]) -> dict[str, dict[int, list[str]]]:
    """Return {file: {first line of a function: tests}}; what a fixture enters is entered by each test that uses it."""
    users = defaultdict(list)
    for test, names in fixtures.items():
        for name in names:
            users[name].append(test)
    entered: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    for line in log.read_text(encoding="utf-8").splitlines() if log.is_file() else ():
        who, path, first = line.rsplit("\t", 2)
        if who.startswith("fixture "):
            _, name, base = (who + " ").split(" ", 2)
            tests = [test for test in users[name] if test.startswith(base.strip())]
        else:
            tests = [who] if who else []
        entered[path][int(first)].update(tests)
    return {path: {first: sorted(tests) for first, tests in of.items()} for path, of in entered.items()}


def imports(root: Path) -> dict[str, set[str]]:
    """Return for each Python file of a tree the files of the tree that it imports by name."""
    paths = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.py"))
    return {path: _imported(root, path) for path in paths}


def _imported(root: Path, path: str) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse((root / path).read_bytes())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.update([node.module, *(f"{node.module}.{alias.name}" for alias in node.names)])
    files = {f"{name.replace('.', '/')}.py" for name in names}
    return {file for file in files if (root / file).is_file()}


def mirrors(root: Path, path: str) -> list[str]:
    """Return the test files whose place and name mirror a file's."""
    file = PurePosixPath(path)
    folder = root / "tests" / file.parent
    return [found.relative_to(root).as_posix() for found in sorted(folder.glob(f"test_{file.stem}.py"))]


@dataclass(frozen=True)
class Selection:
    """The tests of a fault in their order, in groups: the next one runs only if the fault survived the one before."""

    groups: tuple[tuple[str, ...], ...]

    @property
    def n_tests(self) -> int:
        """How many there are in all; whole files of unknown length count once."""
        return sum(map(len, self.groups))


def select(
    fault: Fault, reach: Reach, *, mirror: Sequence[str], importers: Iterable[str], elsewhere: Sequence[str]
) -> Selection:
    """Return the tests that may notice a fault.

    They are those of the room that enter its function - for a line that runs at import, any function of its file or of
    a file that imports it, and whatever stands in the mirror file - with those of the mirror file first. Where none
    does, they are the test files of other rooms that import the file.
    """
    entered = reach.tests.get(fault.path, {}).get(fault.function)
    if fault.function == MODULE or entered == []:  # a function of the second kind runs at import only
        tests = reach.of_file(fault.path).union(*(reach.of_file(path) for path in importers))
        tests |= {test for test in reach.seconds if test.split("::")[0] in {*importers, *mirror}}
    else:
        tests = set(entered or ())
    near = {test for test in tests if test.split("::")[0] in mirror}
    groups = [_by_file(part, reach) for part in (near, tests - near) if part]
    return Selection(tuple(map(tuple, groups)) or ((tuple(elsewhere),) if elsewhere else ()))


def _by_file(tests: set[str], reach: Reach) -> list[str]:
    """Return tests with those of the fastest file first, each file's in their own order."""
    cost: dict[str, float] = defaultdict(float)
    for test in tests:
        cost[test.split("::")[0]] += reach.seconds[test]
    place = {test: number for number, test in enumerate(reach.seconds)}
    return sorted(tests, key=lambda test: (cost[test.split("::")[0]], test.split("::")[0], place[test]))
