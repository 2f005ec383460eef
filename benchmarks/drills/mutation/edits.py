"""The kinds of faults: each takes a node of the syntax tree and yields pieces of text to put in place of others."""

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from benchmarks.drills.mutation.exclusions import (
    Place,
    excluded,
    is_commutative,
    is_default_keyword,
    is_measured,
    is_wording,
)

LARGE = 1000
"""An integer from here on is doubled, not raised by one: a limit of 262,144 bytes may as well be 262,145."""

_NEGATED = {
    ast.Lt: ("<", ">="), ast.LtE: ("<=", ">"), ast.Gt: (">", "<="), ast.GtE: (">=", "<"), ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="), ast.In: ("in", "not in"), ast.NotIn: (r"not\s+in", "in"), ast.Is: ("is", "is not"),
    ast.IsNot: (r"is\s+not", "is"),
}  # fmt: skip
_BOUNDARY = {ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"), ast.Gt: (">", ">="), ast.GtE: (">=", ">")}
_ARITHMETIC = {
    ast.Add: (r"\+", "-"), ast.Sub: ("-", "+"), ast.Mult: (r"\*", "/"), ast.Div: ("/", "*"), ast.Mod: ("%", "//"),
    ast.Pow: (r"\*\*", "*"), ast.BitAnd: ("&", "|"), ast.BitOr: (r"\|", "&"), ast.BitXor: (r"\^", "&"),
    ast.LShift: ("<<", ">>"), ast.RShift: (">>", "<<"),
}  # fmt: skip
_CALLS = (
    ("min", "max"), ("any", "all"), ("minimum", "maximum"), ("argmin", "argmax"), ("nanmin", "nanmax"),
    ("floor", "ceil"), ("sum", "mean"), ("mean", "median"), ("hstack", "vstack"), ("lstrip", "rstrip"),
    ("startswith", "endswith"), ("removeprefix", "removesuffix"), ("union", "intersection"), ("lower", "upper"),
)  # fmt: skip
_WORDS = (
    ("start", "stop"), ("start_s", "stop_s"), ("first", "last"), ("low", "high"), ("lower", "upper"),
    ("best", "worst"), ("left", "right"), ("before", "after"), ("rows", "columns"), ("true", "predicted"),
    ("l_freq", "h_freq"), ("↑", "↓"),
)  # fmt: skip


def _both_ways(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {b: a for a, b in pairs} | dict(pairs)


_OPPOSITE_CALLS, _OPPOSITE_WORDS = _both_ways(_CALLS), _both_ways(_WORDS)
_SIMPLE = ast.expr_context | ast.operator | ast.cmpop | ast.boolop | ast.unaryop


@dataclass(frozen=True)
class Edit:
    """Bytes `start` to `end` of a file, replaced by a text."""

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Source:
    """A file's bytes and where each of its lines begins."""

    octets: bytes
    starts: tuple[int, ...]

    @classmethod
    def of(cls, octets: bytes) -> "Source":
        """Return the source of a file's bytes."""
        starts = [0]
        for line in octets.splitlines(keepends=True):
            starts.append(starts[-1] + len(line))
        return cls(octets, tuple(starts))

    def span(self, node: ast.AST) -> tuple[int, int]:
        """Return the bytes from a node's first to its last."""
        first = self.starts[node.lineno - 1] + node.col_offset  # type: ignore[attr-defined]
        return first, self.starts[node.end_lineno - 1] + node.end_col_offset  # type: ignore[attr-defined]

    def text(self, node: ast.AST) -> str:
        """Return a node as it is written."""
        start, end = self.span(node)
        return self.octets[start:end].decode()

    def edit(self, start: int, end: int, text: str) -> Edit:
        """Return an edit that leaves the number of lines as it is."""
        missing = self.octets.count(b"\n", start, end) - text.count("\n")
        return Edit(start, end, text + "\n" * max(missing, 0))

    def replace(self, node: ast.AST, text: str) -> Edit:
        """Return the edit that writes a text for a node."""
        return self.edit(*self.span(node), text)

    def between(self, left: ast.AST, right: ast.AST, token: str, text: str) -> Iterator[Edit]:
        """Yield the edit of the operator between two operands, comments aside."""
        start, end = self.span(left)[1], self.span(right)[0]
        gap = re.sub(rb"#[^\n]*", lambda comment: b" " * len(comment.group()), self.octets[start:end])
        match = re.search(token.encode(), gap)
        if match:
            yield self.edit(start + match.start(), start + match.end(), text)

    def swap(self, left: ast.AST, right: ast.AST) -> Iterator[Edit]:
        """Yield the edit that writes each of two nodes in the other's place, if they differ and share a line."""
        (start, middle), (gap, end) = self.span(left), self.span(right)
        a, b = self.octets[start:middle], self.octets[gap:end]
        if a != b and middle <= gap and b"\n" not in self.octets[start:end]:
            yield self.edit(start, end, (b + self.octets[middle:gap] + a).decode())

    def remove(self, number: int, spans: list[tuple[int, int]]) -> Edit:
        """Return the edit that removes one of several spans with the comma behind it, or before the last one."""
        start, end = spans[number]
        comma = re.match(rb"\s*,[ ]?", self.octets[end:])
        if comma:
            end += comma.end()
        elif number:
            start = spans[number - 1][1]
        return self.edit(start, end, "")

    def holds(self, node: ast.AST) -> bool:
        """Return whether a node stands where its position claims: within f-strings Python 3.11 is not always right."""
        try:
            written = ast.parse(f"({self.text(node)})", mode="eval").body
        except (SyntaxError, ValueError, IndexError, UnicodeDecodeError):
            return False
        return ast.dump(written) == ast.dump(node)


Edits = Iterator[Edit]


def _comparisons(node: ast.AST, table: dict[type[ast.cmpop], tuple[str, str]], source: Source) -> Edits:
    if isinstance(node, ast.Compare):
        for (left, right), operator in zip(pairwise([node.left, *node.comparators]), node.ops, strict=True):
            measured = table is _BOUNDARY and (is_measured(left) or is_measured(right))
            if type(operator) in table and not measured:
                yield from source.between(left, right, *table[type(operator)])


def comparison(place: Place, source: Source) -> Edits:
    """`a < b` for `a >= b`, `in` for `not in`, `is` for `is not`."""
    yield from _comparisons(place.node, _NEGATED, source)


def boundary(place: Place, source: Source) -> Edits:
    """`a < b` for `a <= b`, unless both are measured quantities."""
    yield from _comparisons(place.node, _BOUNDARY, source)


def arithmetic(place: Place, source: Source) -> Edits:
    """`a + b` for `a - b` and the like; rounding up for rounding down."""
    node = place.node
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.FloorDiv):
        yield source.replace(node, f"(-(-({source.text(node.left)}) // ({source.text(node.right)})))")
    elif isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        yield from source.between(node.left, node.right, *_ARITHMETIC[type(node.op)])
    elif isinstance(node, ast.AugAssign) and type(node.op) in _ARITHMETIC:
        token, text = _ARITHMETIC[type(node.op)]
        yield from source.between(node.target, node.value, f"{token}=", f"{text}=")


def constant(place: Place, source: Source) -> Edits:
    """A number one larger, doubled, or 0 for 1; True for False."""
    value = getattr(place.node, "value", None)
    if not isinstance(place.node, ast.Constant) or isinstance(place.parent, ast.JoinedStr | ast.FormattedValue):
        return
    if isinstance(value, bool):
        yield source.replace(place.node, str(not value))
    elif isinstance(value, int):
        yield source.replace(place.node, str(value + 1 if abs(value) < LARGE else 2 * value))
        if value == 1:
            yield source.replace(place.node, "0")
    elif isinstance(value, float):
        yield source.replace(place.node, repr(2 * value if value else 1.0))


def swapped(place: Place, source: Source) -> Edits:
    """Neighbouring arguments, values of keywords, names of a tuple, indices or values of an f-string, swapped."""
    node = place.node
    groups: list[list[ast.expr]] = []
    if isinstance(node, ast.Call) and not is_commutative(node):
        groups = [node.args, [keyword.value for keyword in node.keywords if keyword.arg and not is_wording(keyword)]]
    elif (
        isinstance(node, ast.Tuple | ast.List)
        and not all(map(_is_constant, node.elts))
        and not _alike(place)
        and place.field != "type"
    ):
        groups = [node.elts]
    elif isinstance(node, ast.Subscript) and isinstance(node.value, ast.Subscript):
        groups = [[node.value.slice, node.slice]]
    elif isinstance(node, ast.JoinedStr):
        values = [part.value for part in node.values if isinstance(part, ast.FormattedValue)]
        groups = [values] if all(map(source.holds, values)) else []
    for group in groups:
        for left, right in pairwise(group):
            if not isinstance(left, ast.Starred | ast.Slice) and not isinstance(right, ast.Starred | ast.Slice):
                yield from source.swap(left, right)


def _alike(place: Place) -> bool:
    """Return whether a tuple has no order: it takes equal values, as in `a, b = [], []`, or names exceptions."""
    if isinstance(place.parent, ast.ExceptHandler):
        return True
    value = place.parent.value if isinstance(place.parent, ast.Assign) and place.field == "targets" else None
    return isinstance(value, ast.Tuple | ast.List) and len({ast.unparse(element) for element in value.elts}) == 1


def dropped(place: Place, source: Source) -> Edits:
    """A statement that is not carried out: a call for its effect, an update, a jump, a raise, an early return."""
    if _may_be_dropped(place):
        yield source.replace(place.node, "pass")


def _may_be_dropped(place: Place) -> bool:
    node = place.node
    if isinstance(node, ast.Assign):
        targets = {ast.unparse(target) for target in node.targets}
        updates = targets & {ast.unparse(child) for child in ast.walk(node.value) if isinstance(child, ast.Name)}
        return bool(updates) or all(isinstance(target, ast.Subscript | ast.Attribute) for target in node.targets)
    if isinstance(node, ast.Return):
        return isinstance(place.parent, ast.If)
    return isinstance(node, ast.Expr | ast.AugAssign | ast.Continue | ast.Break | ast.Raise | ast.Delete)


def negated(place: Place, source: Source) -> Edits:
    """A condition turned round; a comparison has kinds of its own."""
    node, conditions = place.node, []
    if isinstance(node, ast.If | ast.While | ast.IfExp):
        conditions = [node.test]
    elif isinstance(node, ast.comprehension):
        conditions = node.ifs
    for condition in conditions:
        if isinstance(condition, ast.UnaryOp) and isinstance(condition.op, ast.Not):
            yield source.replace(condition, source.text(condition.operand))
        elif not isinstance(condition, ast.Compare):
            yield source.replace(condition, f"(not ({source.text(condition)}))")


def boolean(place: Place, source: Source) -> Edits:
    """`and` for `or`."""
    if isinstance(place.node, ast.BoolOp):
        token, text = ("and", "or") if isinstance(place.node.op, ast.And) else ("or", "and")
        for left, right in pairwise(place.node.values):
            yield from source.between(left, right, rf"\b{token}\b", text)


def opposite(place: Place, source: Source) -> Edits:
    """`min` for `max`, `start` for `stop`, "best" for "worst": a name, attribute or word for its opposite."""
    node, is_called = place.node, isinstance(place.parent, ast.Call) and place.field == "func"
    table = _OPPOSITE_CALLS if is_called else _OPPOSITE_WORDS
    if isinstance(node, ast.Name) and is_called and node.id in table:
        yield source.replace(node, table[node.id])
    elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and node.attr in table:
        end = source.span(node)[1]
        yield source.edit(end - len(node.attr.encode()), end, table[node.attr])
    elif isinstance(node, ast.Constant) and node.value in table and not isinstance(place.parent, ast.JoinedStr):
        yield source.replace(node, f'"{table[node.value]}"')


def slice_bound(place: Place, source: Source) -> Edits:
    """A slice that begins one later or ends one earlier."""
    if not isinstance(place.node, ast.Slice):
        return
    for bound, sign in ((place.node.lower, "+"), (place.node.upper, "-")):
        if bound is not None and not _is_constant(bound):
            yield source.replace(bound, f"({source.text(bound)}) {sign} 1")


def returned(place: Place, source: Source) -> Edits:
    """A returned value replaced: a truth negated, a number changed, a text or list emptied, anything else None."""
    value = place.node.value if isinstance(place.node, ast.Return) else None
    if value is not None and not (isinstance(value, ast.Constant) and not value.value):  # None is as false as False
        text = "None"
        if isinstance(value, ast.Compare | ast.BoolOp):
            text = f"not ({source.text(value)})"
        elif isinstance(value, ast.ListComp | ast.List | ast.DictComp | ast.Dict | ast.JoinedStr):
            text = {ast.ListComp: "[]", ast.List: "[]", ast.JoinedStr: '""'}.get(type(value), "{}")
        elif isinstance(value, ast.BinOp):
            text = f"2 * ({source.text(value)})"
        yield source.replace(value, text)


def keyword(place: Place, source: Source) -> Edits:
    """A keyword argument left out, so that its default holds."""
    if not isinstance(place.node, ast.Call):
        return
    parts: list[ast.AST] = [*place.node.args, *place.node.keywords]
    spans = [source.span(part) for part in parts]
    for number, part in enumerate(parts):
        is_named = isinstance(part, ast.keyword) and part.arg is not None and not is_default_keyword(part)
        if is_named and not excluded(Place(part, place.node, "keywords")):
            yield source.remove(number, spans)


def table(place: Place, source: Source) -> Edits:
    """An entry of a table left out, or two neighbouring values of it swapped; whole rows of a table have no order."""
    node = place.node
    if isinstance(node, ast.Dict) and len(node.values) > 1 and None not in node.keys:
        keys = [key for key in node.keys if key is not None]
        entries = [(source.span(key)[0], source.span(value)[1]) for key, value in zip(keys, node.values, strict=True)]
        values: list[ast.expr] = node.values
    elif isinstance(node, ast.Set | ast.List | ast.Tuple) and all(map(_is_constant, node.elts)):
        entries = (
            [source.span(element) for element in node.elts] if len(node.elts) > 2 and place.field != "slice" else []
        )
        is_ordered = not (isinstance(node, ast.Set) or _is_searched(place))
        is_ordered = is_ordered and not any(isinstance(element, ast.Tuple) for element in node.elts)
        values = node.elts if is_ordered else []
    else:
        return
    for number, (start, end) in enumerate(entries):
        if b"\n" not in source.octets[start:end]:
            yield source.remove(number, entries)
    for left, right in pairwise(values):
        yield from source.swap(left, right)


def _is_searched(place: Place) -> bool:
    """Return whether a table stands behind `in`, where its order is nothing."""
    return isinstance(place.parent, ast.Compare) and isinstance(place.parent.ops[0], ast.In | ast.NotIn)


def _is_constant(node: ast.AST) -> bool:
    """Return whether an expression is made of constants only, which makes a list of such a table."""
    return all(isinstance(child, ast.Constant | ast.Tuple | ast.UnaryOp | _SIMPLE) for child in ast.walk(node))


KINDS: dict[str, Callable[[Place, Source], Edits]] = {
    "comparison": comparison,
    "boundary": boundary,
    "arithmetic": arithmetic,
    "constant": constant,
    "swapped": swapped,
    "dropped": dropped,
    "negated": negated,
    "boolean": boolean,
    "opposite": opposite,
    "slice": slice_bound,
    "returned": returned,
    "keyword": keyword,
    "table": table,
}
"""Every kind of fault, by its name."""
