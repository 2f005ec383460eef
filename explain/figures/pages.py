"""Pages of explanations: one per sample and an index; no network, no script."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

from explain.gates.card import GATES, VALIDATED, ExplanationCard
from signals.pages.page import document, key_values, table
from signals.pages.svg import number

CSS = """
figure.wide{max-width:none}.maps{display:grid;grid-template-columns:repeat(4,minmax(0,1fr));gap:10px}.maps figure{margin:0}
.status{font-weight:650}.status.not{color:var(--bad)}
@media screen and (max-width:720px){.maps{grid-template-columns:repeat(2,minmax(0,1fr))}figure.wide{overflow-x:auto}figure.wide svg{min-width:620px}
figure.wide figcaption{position:sticky;left:0}figure.wide figcaption::after{content:" Scroll sideways for the rest →";font-weight:400;color:var(--soft)}}
"""
SCOPE = (
    "A map shows what this model's answer depends on in this window. It does not show that a finding is there, nor why. "
    "Research use only. Not a medical device."
)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One drawing of a sample."""

    file: str
    """Name within the sample's folder."""
    svg: str = field(repr=False)
    caption: str
    group: str = ""
    """Figures of one group stand beside each other."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One explained window."""

    name: str
    """Name of its folder and page."""
    title: str
    """Heading of the page: which recording, and which seconds of it."""
    facts: Mapping[str, str | float | int]
    figures: Sequence[Figure] = field(repr=False)
    methods: Sequence[str]
    summary: str = field(repr=False, default="")
    """Markdown."""


def sample_page(sample: Sample, card: ExplanationCard) -> str:
    """Return a sample's page."""
    body = [f'<p class="use">{escape(SCOPE)}</p>', _statuses(sample.methods, card), markdown(sample.summary)]
    done: set[str] = set()
    for figure in sample.figures:
        if not figure.group:
            body.append(_figure(figure, "wide"))
        elif figure.group not in done:
            done.add(figure.group)
            inner = "".join(_figure(each, "") for each in sample.figures if each.group == figure.group)
            body.append(f'<h3>{escape(figure.group)}</h3><div class="maps">{inner}</div>')
    body += ["<h2>Facts</h2>", key_values(sample.facts), '<p class="note"><a href="index.html">All samples</a></p>']
    return document("".join(body), title=sample.title, css=CSS)


def index_page(samples: Sequence[Sample], card: ExplanationCard, *, title: str) -> str:
    """Return the index: a row per sample, and what each method reached on the model's card."""
    rows = []
    for sample in samples:
        name = escape(sample.name)
        cells = [escape(str(sample.facts.get(key, "–"))) for key in ("start_s", "label", "predicted", "probability")]
        rows.append(
            f'<tr><td><a href="{name}.html">{name}</a></td>' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
        )
    body = [f'<p class="use">{escape(SCOPE)}</p>']
    body.append(table(["window", "start, s", "label", "predicted", "probability, uncalibrated"], rows))
    body += ["<h2>Validation of methods</h2>", card_table(card)]
    return document("".join(body), title=title, css=CSS)


def card_table(card: ExplanationCard) -> str:
    """Return what each method reached at each gate, missed gates marked, and its label."""
    if not card.methods:
        return (
            f"<p>{escape(card.about[:1].upper() + card.about[1:] or 'The bundle has no card')}: "
            "<b>no map here is validated.</b></p>"
        )
    rows = []
    for method in card.methods:
        missed = set(method.failed())
        cells = []
        for gate in GATES:
            value = method.value(gate.name)
            shown = "–" if value != value else number(value)
            cells.append(f'<td class="error">{shown}</td>' if gate.name in missed else f"<td>{shown}</td>")
        rows.append(f"<tr><td>{escape(method.method)}<small>{escape(method.status)}</small></td>{''.join(cells)}</tr>")
    head = [
        "method",
        *(f"{g.name.replace('_', ' ')}<small>{'≤' if g.at_most else '≥'} {g.limit:g}</small>" for g in GATES),
    ]
    return table(head, rows)


def markdown(text: str) -> str:
    """Return the headings and paragraphs of a summary as HTML; nothing else of Markdown is read."""
    parts = []
    for block in text.strip().split("\n\n"):
        if block.startswith("## "):
            parts.append(f"<h3>{escape(block[3:].strip())}</h3>")
        elif block:
            parts.append(f"<p>{escape(block)}</p>")
    return "".join(parts)


def _statuses(methods: Sequence[str], card: ExplanationCard) -> str:
    rows = []
    for method in methods:
        status = card.status(method)
        kind = "status" if status == VALIDATED else "status not"
        rows.append(f'<tr><td>{escape(method)}</td><td class="{kind}">{escape(status)}</td></tr>')
    return table(["method", "state"], rows)


def _figure(figure: Figure, kind: str) -> str:
    return f'<figure class="{kind}"><figcaption>{escape(figure.caption)}</figcaption>{figure.svg}</figure>'
