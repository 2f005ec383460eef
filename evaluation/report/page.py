"""The report as one HTML page, made from facts alone: no network, no script, printable."""

import json
from collections.abc import Iterator, Sequence
from html import escape

from evaluation.report.drawing.blocks import Block, Bullets, render
from evaluation.report.drawing.wording import Facts
from evaluation.report.sections.registry import SECTIONS, limitations
from signals.pages.page import document

LIMITATIONS = ("limitations", "Limitations")
"""Anchor and heading of the list of all caveats, which stands before the last section."""


def page(facts: Facts, *, title: str) -> str:
    """Return the whole page, with the facts embedded as JSON in the element #facts."""
    embedded = json.dumps(facts, ensure_ascii=False).replace("<", "\\u003c")
    body = "".join(_html(name, heading, blocks) for name, heading, blocks in sections(facts))
    return document(f'{body}<script type="application/json" id="facts">{embedded}</script>', title=title)


def sections(facts: Facts) -> Iterator[tuple[str, str, Sequence[Block]]]:
    """Yield anchor, heading and blocks of every section that has something to show, limitations before the last."""
    for section in SECTIONS:
        if section is SECTIONS[-1]:
            yield (*LIMITATIONS, [Bullets(tuple(limitations(facts)))])
        if blocks := section.render(facts):
            yield section.name, section.title, blocks


def _html(name: str, heading: str, blocks: Sequence[Block]) -> str:
    title = f"<h2>{escape(heading)}</h2>" if heading else ""
    return f'<section id="{name}">{title}{render(blocks)}</section>'
