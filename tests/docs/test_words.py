"""Pages use the field's words: CONTRIBUTING.md's table, applied to all prose."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
UNITS = r"ms|MB|kB|GB|s|µs|numbers?|values?|vectors?|features|tokens|rows?|EEG-hours"
NOUNS = r"window|channel|batch|step|epoch|class|site|subject|patient|fold|file|recording|token|core|request|process"
PER = rf"\b(?:\d[\d.,-]*|[Oo]ne) (?:{UNITS}) an? (?:{NOUNS})\b"
QUOTED = {"docs/compliance.md": {"told"}, "docs/benchmarks.md": {PER}}
"""What a generated page takes from elsewhere, and the record of older figures."""


def words():
    """Return the left side of the table, each as a pattern."""
    table = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("| not | but |")[2]
    left = re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE)
    return [word for cell in left if not cell[0].isdigit() for word in cell.split(", ")]


def prose(text):
    """Return a page without fenced and indented blocks, code, and the targets of links."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`]*`|\]\([^)]*\)|^ {4}.*$", "", text, flags=re.MULTILINE)


def found(text, quoted=()):
    """Return what a text holds of the left side."""
    patterns = [rf"\b{re.escape(word)}\b" for word in words() if word not in quoted]
    patterns += [PER] if PER not in quoted else []
    return [hit for pattern in patterns for hit in re.findall(pattern, prose(text), re.IGNORECASE)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_uses_the_fields_words(page):
    quoted = QUOTED.get(page.relative_to(ROOT).as_posix(), ())
    assert found(page.read_text(encoding="utf-8"), quoted) == []


@pytest.mark.parametrize(
    "text", ["He told it.", "16 ms a window", "One number a channel and", "the verdict", "it lacks"]
)
def test_a_planted_word_is_found(text):
    assert found(text)


def test_code_is_left_alone():
    assert found("`told` and [a](told.md)\n\n    told\n\n```\ntold\n```\n") == []
    assert len(words()) >= 8
