"""One-line faults of a Python file: each is a piece of its text replaced by another."""

import ast
import random
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import CodeType

from benchmarks.drills.mutation.edits import KINDS, Source
from benchmarks.drills.mutation.exclusions import Line, Place, excluded

MODULE = 0
"""Stands for the function of a line that runs at import."""


@dataclass(frozen=True)
class Fault:
    """A replaced piece of a file, in bytes of its UTF-8 text."""

    path: str
    """Relative to the root of the checkout."""
    line: int
    kind: str
    start: int
    end: int
    text: str
    function: int
    """First line of the function around it, decorators included; `MODULE` outside of any."""

    def apply(self, source: bytes) -> bytes:
        """Return the file with the fault in it; it has as many lines as before."""
        return source[: self.start] + self.text.encode() + source[self.end :]

    def lines(self, source: bytes) -> tuple[str, str]:
        """Return the first changed line before and after, without indentation."""
        pairs = zip(source.decode().splitlines(), self.apply(source).decode().splitlines(), strict=True)
        return next(((a.strip(), b.strip()) for a, b in pairs if a != b), ("", ""))


def candidates(path: str, octets: bytes) -> list[Fault]:
    """Return every fault of a file, in the order of its lines; some may change nothing (`changes`)."""
    source = Source.of(octets)
    unique: dict[tuple[int, int, str], Fault] = {}
    for place, function in _places(ast.parse(octets), source):
        for kind, edits in KINDS.items():
            for edit in edits(place, source):
                line = octets.count(b"\n", 0, edit.start) + 1
                fault = Fault(path, line, kind, edit.start, edit.end, edit.text, function)
                unique.setdefault((edit.start, edit.end, edit.text), fault)
    return sorted(unique.values(), key=lambda fault: (fault.line, fault.start, fault.end, fault.text))


def _places(tree: ast.Module, source: Source) -> Iterator[tuple[Place, int]]:
    """Yield each node that may be mutated, with the first line of its function."""
    stack = [(Place(tree, None, ""), MODULE, False)]
    while stack:
        place, function, raising = stack.pop()
        if excluded(place) or (isinstance(place.parent, ast.FormattedValue) and not source.holds(place.node)):
            continue
        yield place, function
        raising = raising or isinstance(place.node, ast.Raise)
        for field, value in ast.iter_fields(place.node):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    named = "error text" if raising and isinstance(child, ast.JoinedStr) else field
                    stack.append((Place(child, place.node, named), _function(place.node, field, function), raising))


def _function(parent: ast.AST, field: str, above: int) -> int:
    """Return the first line of a node's function: a default value belongs to the function that it is for."""
    if isinstance(parent, ast.FunctionDef | ast.AsyncFunctionDef) and field in {"body", "args"}:
        return min(line.lineno for line in (parent, *parent.decorator_list))
    return above


def _compiled(octets: bytes) -> CodeType:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return compile(octets, "mutant", "exec", dont_inherit=True)


def changes(fault: Fault, octets: bytes) -> bool:
    """Return whether a file with the fault compiles, without a warning, and to another program."""
    try:
        return _shape(_compiled(fault.apply(octets))) != _shape(_compiled(octets))
    except (SyntaxError, ValueError, SyntaxWarning):
        return False


def _shape(code: CodeType) -> tuple[object, ...]:
    """Return what a code object does, without the places in the text that it came from."""
    consts = tuple(_shape(const) if isinstance(const, CodeType) else repr(const) for const in code.co_consts)
    return code.co_name, code.co_code, consts, code.co_names, code.co_varnames, code.co_exceptiontable


def python_files(root: Path, room: str) -> list[str]:
    """Return the Python files of a room (a package, a folder below it, or one file), relative to the root."""
    whole = root / room
    paths = [whole] if whole.is_file() else sorted(whole.rglob("*.py"))
    return [path.relative_to(root).as_posix() for path in paths if path.suffix == ".py"]


def room_candidates(root: Path, room: str) -> list[Fault]:
    """Return every candidate of a room's files."""
    return [fault for path in python_files(root, room) for fault in candidates(path, (root / path).read_bytes())]


def draw(root: Path, room: str, *, seed: int, exclusions: Sequence[Line] = ()) -> Iterator[Fault]:
    """Yield one fault for each line that has any, in an order drawn by the seed: the first n are a sample of n.

    Every line is as likely as any, and on a line every kind of fault, however many faults of one kind it has.
    """
    rng = random.Random(f"{seed}/{room}")
    by_line: dict[tuple[str, int], list[Fault]] = {}
    for fault in room_candidates(root, room):
        by_line.setdefault((fault.path, fault.line), []).append(fault)
    lines = sorted(by_line)
    rng.shuffle(lines)
    for line in lines:
        octets = (root / line[0]).read_bytes()
        kinds = sorted({fault.kind for fault in by_line[line]})
        rng.shuffle(kinds)
        ordered = sorted(rng.sample(by_line[line], len(by_line[line])), key=lambda fault: kinds.index(fault.kind))
        yield from islice((fault for fault in ordered if _counts(fault, octets, exclusions)), 1)


def _counts(fault: Fault, octets: bytes, exclusions: Sequence[Line]) -> bool:
    before, after = fault.lines(octets)
    is_excluded = any(x.file == fault.path and x.before == before and x.after in {"", after} for x in exclusions)
    return not is_excluded and changes(fault, octets)


def slug(room: str) -> str:
    """Return a room as part of a figure's name."""
    return re.sub(r"\W+", "_", room.removesuffix(".py").strip("/"))
