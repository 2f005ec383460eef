"""What a report writes: facts, page, card, and every table and figure as a file of its own."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from evaluation.report.card import model_card
from evaluation.report.drawing.blocks import figures_in, tables_in
from evaluation.report.drawing.pdf import pdf_bytes
from evaluation.report.drawing.tables import csv_text, latex
from evaluation.report.drawing.wording import Facts
from evaluation.report.page import page, sections
from signals.files import atomic_file

FACTS, PAGE, CARD = "facts.json", "report.html", "MODEL_CARD.md"


def write_report(facts: Mapping[str, Any], output: Path, *, title: str) -> tuple[Path, ...]:
    """Write facts, page and card into a folder, tables and figures below it, each atomically; returns all paths.

    tables/NAME.csv and .tex, figures/NAME.svg and .pdf: the very tables and figures of the page.
    """
    # Everything is rendered before anything is written, from what a reader of facts.json would get.
    as_json = json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False)
    read = json.loads(as_json)
    contents: dict[str, str | bytes] = {
        FACTS: as_json,
        PAGE: page(read, title=title),
        CARD: model_card(read, title=title),
        **dict(_parts(read)),
    }
    for former in (*output.glob("tables/*.csv"), *output.glob("tables/*.tex"), *output.glob("figures/*.svg"),
                   *output.glob("figures/*.pdf")):  # fmt: skip
        if former.relative_to(output).as_posix() not in contents:
            former.unlink()  # of an earlier report in this folder: it would stand beside a page without it
    for name, content in contents.items():
        with atomic_file(output / name) as file:
            file.write(content if isinstance(content, bytes) else content.encode())
    return tuple(output / name for name in contents)


def _parts(facts: Facts) -> Iterator[tuple[str, str | bytes]]:
    """Yield the path and content of every table and figure."""
    for shown in sections(facts):
        for table in tables_in(shown.blocks):
            yield f"tables/{file_stem(table.name)}.csv", csv_text(table)
            yield f"tables/{file_stem(table.name)}.tex", latex(table)
        for figure in figures_in(shown.blocks):
            if figure.svg:
                yield f"figures/{file_stem(figure.name)}.svg", figure.standalone()
                yield f"figures/{file_stem(figure.name)}.pdf", pdf_bytes(figure.svg)


def file_stem(name: str) -> str:
    """Return a name as a file name: letters, digits and hyphens alone; a digest keeps replaced names apart."""
    stem = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")
    return stem if stem and stem == name else f"{stem}-{hashlib.sha256(name.encode()).hexdigest()[:6]}".strip("-")
