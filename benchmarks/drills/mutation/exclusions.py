"""What is never mutated, each rule with its reason: lines that run no code, and faults that change nothing."""

import ast
import re
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

LINES = "benchmarks/drills/mutation/excluded_lines.toml"
TINY = 1e-6
_WORDING = {"help", "metavar", "prog", "description", "epilog", "usage"}
_RESOURCES = {"maxsize", "copy", "chunksize", "buffering", "stacklevel", "daemon", "flush", "check_same_thread"}
_REPRESENTATIONS = {"__repr__", "__str__"}
_MEASURED = re.compile(r"_(s|ms|us|hz|uv|mv|db|mm|cm|share|ratio)$|(^|_)(freqs?|sfreq|amplitude|power|density)(_|$)")
_COMMUTATIVE = {
    "max",
    "min",
    "maximum",
    "minimum",
    "hypot",
    "gcd",
    "lcm",
    "isclose",
    "allclose",
    "logaddexp",
    "samefile",
}


@dataclass(frozen=True)
class Place:
    """A node of the syntax tree with the node above it and the field in which it stands there."""

    node: ast.AST
    parent: ast.AST | None
    field: str


@dataclass(frozen=True)
class Rule:
    """What is left alone, and why."""

    name: str
    reason: str
    matches: Callable[[Place], bool]


def _callee(node: ast.AST) -> str:
    return ast.unparse(node.func) if isinstance(node, ast.Call) else ""


def _is_text(place: Place) -> bool:
    return isinstance(place.node, ast.Expr) and isinstance(place.node.value, ast.Constant)


def _is_typing(place: Place) -> bool:
    return place.field in {"annotation", "returns", "type_comment"} or (
        isinstance(place.node, ast.If) and ast.unparse(place.node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}
    )


def _is_logging(place: Place) -> bool:
    called = _callee(place.node.value if isinstance(place.node, ast.Expr) else place.node)
    return called.split(".")[0] in {"logger", "logging", "warnings"}


def _is_error_text(place: Place) -> bool:
    return isinstance(place.node, ast.JoinedStr) and place.field in {"args", "error text"}


def _is_program_start(place: Place) -> bool:
    return isinstance(place.node, ast.If) and ast.unparse(place.node.test) == "__name__ == '__main__'"


def is_wording(keyword: ast.keyword) -> bool:
    """Return whether a keyword holds what people read on a command line."""
    return keyword.arg in _WORDING


def _is_wording(place: Place) -> bool:
    return isinstance(place.node, ast.keyword) and is_wording(place.node)


def _is_resource(place: Place) -> bool:
    return isinstance(place.node, ast.keyword) and place.node.arg in _RESOURCES


def _is_tiny(place: Place) -> bool:
    return (
        isinstance(place.node, ast.Constant)
        and isinstance(place.node.value, float)
        and 0 < abs(place.node.value) < TINY
    )


NODES = (
    Rule("docstrings and other text that stands alone", "runs no code", _is_text),
    Rule("type hints", "run no code", _is_typing),
    Rule("imports", "a wrong one ends at once", lambda p: isinstance(p.node, ast.Import | ast.ImportFrom)),
    Rule("logging and warnings", "wording for people", _is_logging),
    Rule("f-strings within a raise", "wording for people; that it raises is mutated", _is_error_text),
    Rule("wording of command lines (help=, prog=, ...)", "wording for people", _is_wording),
    Rule("__repr__ and __str__", "wording for people", lambda p: getattr(p.node, "name", "") in _REPRESENTATIONS),
    Rule("repr= of a field", "wording for people, as __repr__", lambda p: getattr(p.node, "arg", "") == "repr"),
    Rule("assert", "an invariant of our own, true whatever the input", lambda p: isinstance(p.node, ast.Assert)),
    Rule("decorators", "caches and dataclass flags: cost or type checks only", lambda p: p.field == "decorator_list"),
    Rule('if __name__ == "__main__"', "what it calls is mutated", _is_program_start),
    Rule("maxsize=, copy=, chunksize=, buffering=, ...", "cost, not result", _is_resource),
    Rule("strict= of zip", "an invariant of our own", lambda p: getattr(p.node, "arg", "") == "strict"),
    Rule("numbers below 1e-6 in size", "guards against division by zero; twice as much is as small", _is_tiny),
)  # fmt: skip
"""Parts of the syntax tree that are passed over with all that stands below them."""

FAULTS = (
    ("< for <= where an operand has a unit or a fraction", "two measured quantities are never equal"),
    ("swapped arguments of max, hypot, isclose, ...", "the same in either order"),
    ("swapped rows of a table, swapped names for equal values", "the same in either order"),
    ("swapped values of a table behind `in`", "found in either order"),
    ("swapped exceptions of an except clause", "caught in either order"),
    ("None for a returned False, 0 or empty text", "as false as that"),
    ('encoding="utf-8" left out', "the default where this runs"),
    ("an integer from 1000 on raised by one", "a limit of 262,145 is as good; doubled instead"),
)
"""Faults that are not planted since they change nothing; `benchmarks.drills.mutation.edits` leaves them out."""


def excluded(place: Place) -> bool:
    """Return whether a rule passes over this node and what stands below it."""
    return any(rule.matches(place) for rule in NODES)


def is_measured(node: ast.expr) -> bool:
    """Return whether an operand is a measured quantity: a number with a fraction, or a name that ends in a unit.

    `<` for `<=` between two of them is no fault that data can show: they are never equal.
    """
    if isinstance(node, ast.Constant):
        return isinstance(node.value, float)
    names = [child.id for child in ast.walk(node) if isinstance(child, ast.Name)]
    names += [child.attr for child in ast.walk(node) if isinstance(child, ast.Attribute)]
    return any(_MEASURED.search(name.lower()) for name in names)


def is_commutative(call: ast.Call) -> bool:
    """Return whether swapping two arguments of a call changes nothing."""
    return _callee(call).split(".")[-1] in _COMMUTATIVE


def is_default_keyword(keyword: ast.keyword) -> bool:
    """Return whether dropping a keyword changes nothing: UTF-8 is the default where this runs."""
    return keyword.arg == "encoding" and isinstance(keyword.value, ast.Constant)


@dataclass(frozen=True)
class Line:
    """A fault on one line of a file that changes nothing, and why."""

    file: str
    before: str
    reason: str
    after: str = ""
    """The mutated line; empty excludes every fault on this line."""


def excluded_lines(root: Path) -> tuple[Line, ...]:
    """Return the exclusions of a checkout's single lines."""
    path = root / LINES
    entries = tomllib.loads(path.read_text(encoding="utf-8")).get("line", []) if path.is_file() else []
    return tuple(Line(**entry) for entry in entries)


def stale(lines: Sequence[Line], root: Path) -> list[str]:
    """Return one sentence for each exclusion whose line is no longer in its file, or that gives no reason."""
    problems = []
    for line in lines:
        path = root / line.file
        present = path.is_file() and line.before in {text.strip() for text in path.read_text("utf-8").splitlines()}
        if not present:
            problems.append(f"{line.file} has no line {line.before!r}: correct or remove its exclusion")
        elif not line.reason.strip():
            problems.append(f"{line.file}: the exclusion of {line.before!r} gives no reason")
    return problems
