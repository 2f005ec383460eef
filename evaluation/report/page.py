"""The report as one HTML page, made from facts alone: no network, no script, printable."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from evaluation.report.drawing.abbreviations import used_in
from evaluation.report.drawing.blocks import Block, Bullets, render, tables_in
from evaluation.report.drawing.tables import Table, is_wide
from evaluation.report.drawing.wording import Facts
from evaluation.report.sections.registry import SECTIONS, limitations
from evaluation.report.sections.section import APPENDIX, PARTS, TOP
from signals.pages.page import document

LIMITATIONS = ("limitations", "Limitations")
ABBREVIATIONS = ("abbreviations", "Abbreviations")
"""Anchors and headings of what is gathered from the other sections; both stand before the last one."""


CSS = """
h2.part{font-size:26px;border-top:0;padding-top:0;margin-top:64px}
section>h3{font-size:21px;margin:48px 0 10px;padding-top:14px;border-top:2px solid var(--accent);font-weight:650}
h2.part+section>h3{margin-top:14px}
h4{font-size:16px;margin:26px 0 6px}
.contents{display:flex;flex-wrap:wrap;gap:0 48px;margin:28px 0;padding:14px 18px;background:#f4f6f7;font-size:14.5px}
.contents ul{list-style:none;padding:0;margin:4px 0 8px;columns:2;column-gap:32px}.contents li{break-inside:avoid;padding:1px 0}
.contents a{color:var(--accent);text-decoration:none}.contents a:hover{text-decoration:underline}
thead th{white-space:normal;min-width:4.6em;vertical-align:bottom}td:first-child small{white-space:normal}
.scroll{background:linear-gradient(to right,#fff 30%,transparent) left/40px 100%,linear-gradient(to left,#fff 30%,transparent) right/40px 100%,
linear-gradient(to right,rgba(29,36,41,.28),transparent) left/14px 100%,linear-gradient(to left,rgba(29,36,41,.28),transparent) right/14px 100%;
background-repeat:no-repeat;background-attachment:local,local,scroll,scroll}
.hint{display:none;color:var(--soft);font-size:12.5px;margin:0 0 2px}
details{margin:12px 0}summary{cursor:pointer;color:var(--accent)}
@media screen and (min-width:721px) and (max-width:1060px){.wide .hint{display:block}}
@media screen and (max-width:720px){.contents ul{columns:1}.scroll table:not(.confusion) td:first-child{background:transparent;position:static}
.wide table,.wide tbody,.wide tr{display:block}.wide thead{display:none}.wide tr{padding:7px 0;border-bottom:1px solid var(--rule)}
.wide td{display:flex;flex-wrap:wrap;justify-content:flex-end;align-items:baseline;gap:0 10px;border:0;padding:1px 0;white-space:normal}
.wide td::before{flex:1 1 40%;text-align:left;color:var(--soft);font-weight:400}
.wide td:first-child{display:block;font-weight:650}.wide td:first-child::before{content:none}}
@media print{.contents{display:none}.hint{display:none}.scroll{background:none}
tr{break-inside:avoid}details::details-content{display:block;content-visibility:visible}
.scroll table{font-size:8pt}.scroll th,.scroll td,.scroll td small{white-space:normal}.scroll th,.scroll td{padding:2px 4px}
thead th{min-width:0;overflow-wrap:anywhere}td small{font-size:7pt}h2.part{break-before:page}h3,h4{break-after:avoid}}
"""
"""Added to the common sheet: parts, contents, the shade at the side of a table that goes on, rows as blocks on a phone."""


@dataclass(frozen=True)
class Shown:
    """One section as it is shown."""

    name: str
    heading: str
    part: str
    blocks: tuple[Block, ...]


def page(facts: Facts, *, title: str) -> str:
    """Return the whole page, with the facts embedded as JSON in the element #facts."""
    embedded = json.dumps(facts, ensure_ascii=False).replace("<", "\\u003c")
    shown = list(sections(facts))
    body = "".join(_part(part, [entry for entry in shown if entry.part == part], shown) for part in PARTS)
    css = f"{CSS}{phone_labels(table for entry in shown for table in tables_in(entry.blocks))}"
    return document(f'{body}<script type="application/json" id="facts">{embedded}</script>', title=title, css=css)


def phone_labels(tables: Iterable[Table]) -> str:
    """Return the style that names each number where a wide table's rows stand below one another, as on a phone."""
    rules = (
        f'[id="table-{_css(table.name)}"] td:nth-child({i})::before{{content:"{_css(column)}"}}'
        for table in tables
        if is_wide(table)
        for i, column in enumerate(table.columns[1:], start=2)
    )
    return f"@media screen and (max-width:720px){{{''.join(rules)}}}"


def _css(text: str) -> str:
    """Return text for a string of a style sheet: nothing in it can end the string or the sheet."""
    return re.sub(r'[\\"<>&\x00-\x1f]', lambda match: f"\\{ord(match.group()):x} ", text)


def sections(facts: Facts) -> Iterator[Shown]:
    """Yield every section that has something to show, limitations and abbreviations before the last."""
    text = ""
    for section in SECTIONS:
        if section is SECTIONS[-1]:
            known = tuple(limitations(facts))
            yield Shown(*LIMITATIONS, APPENDIX, (Bullets(known),))
            yield _abbreviations(f"{text} {' '.join(known)}")
        if blocks := section.render(facts):
            text += f" {section.title} {re.sub('<[^>]*>', ' ', render(blocks))}"
            yield Shown(section.name, section.title, section.part, tuple(blocks))


def _abbreviations(text: str) -> Shown:
    return Shown(*ABBREVIATIONS, APPENDIX, (Bullets(tuple(f"**{short}**: {full}" for short, full in used_in(text))),))


def _part(part: str, inside: Sequence[Shown], shown: Sequence[Shown]) -> str:
    """Return one part of the page; the contents follow the top."""
    heading = f'<h2 class="part" id="{part}">{escape(PARTS[part])}</h2>' if PARTS[part] and inside else ""
    body = "".join(
        f'<section id="{entry.name}">{f"<h3>{escape(entry.heading)}</h3>" if entry.heading else ""}'
        f"{render(entry.blocks)}</section>"
        for entry in inside
    )
    return heading + body + (_contents(shown) if part == TOP else "")


def _contents(shown: Sequence[Shown]) -> str:
    parts = []
    for part, heading in PARTS.items():
        links = "".join(
            f'<li><a href="#{entry.name}">{escape(entry.heading)}</a></li>'
            for entry in shown
            if entry.part == part and entry.heading
        )
        parts.append(f"<div><b>{escape(heading)}</b><ul>{links}</ul></div>" if links else "")
    return f'<nav class="contents" aria-label="Contents">{"".join(parts)}</nav>'
