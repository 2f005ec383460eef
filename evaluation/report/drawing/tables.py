"""Tables as data: built once, and rendered to HTML, CSV and LaTeX from the same cells."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from signals.pages.svg import INK, number

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "−": "$-$",
    "–": "--", "κ": r"$\kappa$", "µ": r"\textmu{}", "²": "$^2$", "’": "'", "<": r"\textless{}", ">": r"\textgreater{}",
    "≤": r"$\leq$", "≥": r"$\geq$", "→": r"$\rightarrow$",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell: what is shown, a second line below it, and the numbers behind both."""

    text: str
    below: str = ""
    numbers: tuple[float | None, ...] = ()
    """(value,) or (value, low, high) in full precision; empty for a cell of words."""
    reason: str = ""
    """Why a number or its interval is missing."""
    shade: float | None = None
    """Strength of the background in [0, 1]; None for none."""
    marked: bool = False
    """Outlined, as grave confusions are."""
    hover: str = ""
    """Shown when the pointer rests on the cell."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of cells; `main` emphasises it."""

    cells: tuple[Cell, ...]
    main: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table by name, so that it can be written as a file and found by a test.

    Raises ValueError for a row whose cells are not as many as the columns.
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    caption: str = ""
    matrix: bool = False
    """Drawn as a square matrix whose first column is a heading."""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row.cells) != len(self.columns):
                raise ValueError(f"table {self.name}: {len(row.cells)} cells do not fit {len(self.columns)} columns")


def words(text: Any, below: str = "") -> Cell:
    """Return a cell of words."""
    return Cell(text=str(text), below=below)


def count(n: float) -> Cell:
    """Return a cell with a whole number."""
    return Cell(text=f"{n:,.0f}", numbers=(float(n),))


def value(x: float | None, digits: int = 3, *, below: str = "", reason: str = "") -> Cell:
    """Return a cell with one number; "–" and the reason where it is undefined."""
    return Cell(text=number(x, digits), below=below, numbers=(x,), reason=reason)


def share(x: float | None, digits: int = 1, *, below: str = "") -> Cell:
    """Return a cell with a percentage."""
    return Cell(text="–" if x is None else f"{x:.{digits}%}", below=below, numbers=(x,))


def estimate(entry: Mapping[str, Any], digits: int = 3, *, percent: bool = False) -> Cell:
    """Return a cell with an estimate: its value, below it the interval or the reason for none."""

    def shown(x: float | None) -> str:
        return number(x, digits) if x is None or not percent else f"{x:.1%}"

    below = "" if entry["low"] is None else f"{shown(entry['low'])} to {shown(entry['high'])}"
    numbers = (entry["value"], entry["low"], entry["high"])
    return Cell(text=shown(entry["value"]), below=below, numbers=numbers, reason=entry["reason"])


def html(table: Table) -> str:
    """Return a table that scrolls sideways where the screen is narrow."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in table.columns)
    body = "".join(_html_row(row, matrix=table.matrix) for row in table.rows)
    caption = f"<caption>{escape(table.caption)}</caption>" if table.caption else ""
    kind = ' class="confusion"' if table.matrix else ""
    return (
        f'<div class="{"wide" if is_wide(table) else "narrow"}"><p class="hint">Scroll sideways for more columns →</p><div class="scroll"><table id="table-{escape(table.name)}"{kind}>{caption}'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div></div>"
    )


def is_wide(table: Table) -> bool:
    """Return whether a table does not fit a phone: its rows become blocks there."""
    return len(table.columns) > 3 and not table.matrix


def _html_row(row: Row, *, matrix: bool) -> str:
    first = f'<th scope="row">{escape(row.cells[0].text)}</th>' if matrix else _html_cell(row.cells[0])
    return f"<tr{' class=main' if row.main else ''}>{first}{''.join(_html_cell(cell) for cell in row.cells[1:])}</tr>"


def _html_cell(cell: Cell) -> str:
    below = "; ".join(part for part in (cell.below, cell.reason) if part)
    small = f"<small{' class=why' if cell.reason else ''}>{escape(below)}</small>" if below else ""
    attributes = ' class="grave"' if cell.marked else ""
    if cell.shade is not None:
        colour = "#fff" if cell.shade > 0.5 else INK
        attributes += f' style="background:rgba(23,86,118,{0.04 + 0.86 * cell.shade:.2f});color:{colour}"'
    attributes += f' title="{escape(cell.hover)}"' if cell.hover else ""
    return f"<td{attributes}>{escape(cell.text)}{small}</td>"


def csv_text(table: Table) -> str:
    """Return the table as CSV (RFC 4180), numbers in full precision.

    A column of estimates becomes three, "X", "X low" and "X high"; further words below a cell get a column "X note".
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    columns = list(zip(*(row.cells for row in table.rows), strict=True)) or [()] * len(table.columns)
    writer.writerow(
        [name for title, cells in zip(table.columns, columns, strict=True) for name in _names(title, cells)]
    )
    for row in table.rows:
        writer.writerow(
            [field for cell, cells in zip(row.cells, columns, strict=True) for field in _fields(cell, cells)]
        )
    return out.getvalue()


def _names(title: str, cells: Sequence[Cell]) -> Iterator[str]:
    yield title
    if any(len(cell.numbers) == 3 for cell in cells):
        yield f"{title} low"
        yield f"{title} high"
    if any(_note(cell) for cell in cells):
        yield f"{title} note"


def _fields(cell: Cell, cells: Sequence[Cell]) -> Iterator[str]:
    numbers = ["" if x is None else repr(float(x)) for x in cell.numbers]
    yield numbers[0] if numbers else cell.text
    if any(len(other.numbers) == 3 for other in cells):
        yield from numbers[1:] if len(numbers) == 3 else ("", "")
    if any(_note(other) for other in cells):
        yield _note(cell)


def _note(cell: Cell) -> str:
    below = "" if len(cell.numbers) == 3 else cell.below
    return "; ".join(part for part in (below, cell.reason) if part)


def latex(table: Table) -> str:
    """Return the table as LaTeX for the package booktabs, intervals in brackets behind their values."""
    lines = [
        r"\begin{table}",
        rf"\caption{{{latex_escape(table.caption or table.name)}}}",
        rf"\label{{tab:{table.name}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(table.columns) - 1)}}}",
        r"\toprule",
        " & ".join(latex_escape(name) for name in table.columns) + r" \\",
        r"\midrule",
        *(" & ".join(_latex_cell(cell) for cell in row.cells) + r" \\" for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _latex_cell(cell: Cell) -> str:
    note = "; ".join(part for part in (cell.below, cell.reason) if part)
    return latex_escape(cell.text) + (f" ({latex_escape(note)})" if note else "")


def latex_escape(text: str) -> str:
    """Return text with LaTeX's special characters escaped."""
    return "".join(_LATEX.get(character, character) for character in text)
