"""Tables are data: the same cells as HTML, CSV and LaTeX; names from files stay text in all three."""

import csv
import io
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from evaluation.report.drawing.blocks import Details, Text, inline, render, tables_in
from evaluation.report.drawing.tables import (
    Row,
    Table,
    csv_text,
    estimate,
    html,
    latex,
    latex_escape,
    share,
    words,
)
from evaluation.report.files import file_stem

HOSTILE = 'a <b> & "c", 5% of $x_1'


def table() -> Table:
    known = {"value": 1 / 3, "low": 0.25, "high": 0.5, "reason": ""}
    unknown = {"value": None, "low": None, "high": None, "reason": "no windows"}
    rows = (
        Row(cells=(words(HOSTILE, "n = 3"), estimate(known), share(0.125)), main=True),
        Row(cells=(words("plain"), estimate(unknown), share(None))),
    )
    return Table(name="t", columns=("Name", "KL ↓", "Share"), rows=rows, caption="About µV")


def test_csv_has_full_precision_and_splits_intervals() -> None:
    lines = list(csv.DictReader(io.StringIO(csv_text(table()))))
    assert lines[0]["Name"] == HOSTILE
    assert lines[0]["Name note"] == "n = 3"
    assert float(lines[0]["KL ↓"]) == 1 / 3
    assert (lines[0]["KL ↓ low"], lines[0]["KL ↓ high"], lines[0]["Share"]) == ("0.25", "0.5", "0.125")
    assert (lines[1]["KL ↓"], lines[1]["KL ↓ note"], lines[1]["Share"]) == ("", "no windows", "")


def test_latex_is_escaped_and_keeps_the_interval() -> None:
    text = latex(table())
    assert r"a \textless{}b\textgreater{} \& " in text
    assert r"5\% of \$x\_1" in text
    assert "0.333 (0.250 to 0.500)" in text
    assert r"KL $\downarrow$" in text
    assert text.count(r"\\") == 3  # the heading and two rows
    assert latex_escape("\\") == r"\textbackslash{}"


def test_html_is_escaped_and_marks_the_main_row() -> None:
    text = html(table())
    assert "<b>" not in text
    assert "<tr class=main><td>a &lt;b&gt; &amp; " in text
    assert text.count("<tr class=main>") == 1
    assert "<small class=why>no windows</small>" in text


def test_a_row_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="table t: 1 cells do not fit 2 columns"):
        Table(name="t", columns=("a", "b"), rows=(Row(cells=(words("x"),)),))


def test_text_is_escaped_before_it_is_marked_up() -> None:
    assert inline("**a<b>** `c&d`") == "<b>a&lt;b&gt;</b> <code>c&amp;d</code>"
    assert render([Text("x", "note")]) == '<p class="note">x</p>'


def test_tables_inside_details_are_found() -> None:
    assert [t.name for t in tables_in([Details("more", (table(),))])] == ["t"]


def test_names_that_differ_never_share_a_file() -> None:
    stems = {file_stem(name) for name in ("a b", "a-b", "a/b", "../a", "a.b", "", ".")}
    assert len(stems) == 7
    assert all(stem and set(stem) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") for stem in stems)


def test_every_table_and_figure_of_the_page_is_a_file(six_class: Any) -> None:
    folder: Path = six_class.folder
    assert {path.stem for path in folder.glob("tables/*.csv")} == set(six_class.page.tables)
    assert {path.stem for path in folder.glob("tables/*.tex")} == set(six_class.page.tables)
    assert {path.stem for path in folder.glob("figures/*.svg")} == set(six_class.page.figures)
    for path in folder.glob("figures/*.svg"):
        root = ElementTree.parse(path).getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert root.get("viewBox")
    for name, parsed in six_class.page.tables.items():
        with (folder / "tables" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
        assert len(rows) == len(parsed.rows) + 1
        assert [row[0] for row in rows[1:]] == [cells[0].text for cells in parsed.rows]
