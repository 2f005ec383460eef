"""What a section is built of: paragraphs, tables, figures. A page is their HTML; files are written from the same data.

Text is plain words with two marks, **bold** and `code`. It is escaped when it is rendered, so a name from a data file
can never become a tag.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

from evaluation.report.drawing import tables
from evaluation.report.drawing.figures import Figure
from evaluation.report.drawing.tables import Table
from signals.pages.page import key_values


@dataclass(frozen=True)
class Text:
    """A paragraph; `kind` is a class of the style sheet ("lead", "note", "use", "verdict", "verdict error")."""

    markup: str
    kind: str = ""


@dataclass(frozen=True)
class Heading:
    """A heading inside a section."""

    text: str


@dataclass(frozen=True)
class Pair:
    """Figures side by side, below one another on a narrow screen."""

    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class Bullets:
    """A list; each entry is marked-up text, with a label in front where `labels` has one."""

    items: tuple[str, ...]
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Code:
    """Preformatted text."""

    text: str


@dataclass(frozen=True)
class KeyValues:
    """Names and values in two columns."""

    values: Mapping[str, Any]


@dataclass(frozen=True)
class Details:
    """Blocks behind a line that opens them."""

    summary: str
    blocks: tuple["Block", ...]


Block = Text | Heading | Table | Figure | Pair | Bullets | Code | KeyValues | Details


def inline(markup: str) -> str:
    """Return escaped HTML with **bold** and `code` marked."""
    bold = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", escape(markup))
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", bold)


def render(blocks: Iterable[Block]) -> str:
    """Return blocks as HTML."""
    return "".join(_html(block) for block in blocks)


def _html(block: Block) -> str:
    match block:
        case Text():
            kind = f' class="{block.kind}"' if block.kind else ""
            return f"<p{kind}>{inline(block.markup)}</p>"
        case Heading():
            return f"<h4>{escape(block.text)}</h4>"
        case Table():
            return tables.html(block)
        case Figure():
            return block.html()
        case Pair():
            return f'<div class="pair">{"".join(figure.html() for figure in block.figures)}</div>'
        case Bullets():
            return _bullets(block)
        case Code():
            return f"<pre>{escape(block.text)}</pre>"
        case KeyValues():
            return key_values(block.values)
        case Details():
            return f"<details><summary>{escape(block.summary)}</summary>{render(block.blocks)}</details>"


def _bullets(block: Bullets) -> str:
    if not block.labels:
        return f"<ul>{''.join(f'<li>{inline(item)}</li>' for item in block.items)}</ul>"
    items = (
        f'<li><b class="{escape(label)}">{escape(label)}</b>{inline(item)}</li>'
        for item, label in zip(block.items, block.labels, strict=True)
    )
    return f'<ul class="findings">{"".join(items)}</ul>'


def tables_in(blocks: Iterable[Block]) -> Iterator[Table]:
    """Yield every table among blocks, nested ones included."""
    for block in blocks:
        if isinstance(block, Table):
            yield block
        elif isinstance(block, Details):
            yield from tables_in(block.blocks)


def figures_in(blocks: Iterable[Block]) -> Iterator[Figure]:
    """Yield every figure among blocks, nested ones included."""
    for block in blocks:
        if isinstance(block, Figure):
            yield block
        elif isinstance(block, Pair):
            yield from block.figures
        elif isinstance(block, Details):
            yield from figures_in(block.blocks)
