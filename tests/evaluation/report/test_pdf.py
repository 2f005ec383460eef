"""PDF figures: the SVG's numbers at the SVG's places, in a file whose table of places is right."""

import re
from pathlib import Path

import matplotlib as mpl
import pytest

from evaluation.report.drawing.figures import dot_plot
from evaluation.report.drawing.pdf import FONT_SIZE, pdf_bytes, text_width
from evaluation.report.drawing.plots import cloud_plot
from signals.pages.svg import svg


def stream(raw: bytes) -> str:
    length = int(re.search(rb"/Length (\d+)", raw)[1])  # type: ignore[index]
    start = raw.index(b"stream\n") + 7
    assert raw[start + length : start + length + 10] == b"\nendstream"
    return raw[start : start + length].decode("cp1252")


def drawn(body: str, *, height: float = 100) -> str:
    return stream(pdf_bytes(svg(height, body, "a figure")))


def test_every_object_is_where_the_table_says() -> None:
    raw = pdf_bytes(svg(80, "", "empty"))
    assert raw.startswith(b"%PDF-1.4\n")
    assert raw.endswith(b"%%EOF\n")
    assert b"/MediaBox [0 0 440 80]" in raw
    start = int(re.search(rb"startxref\n(\d+)", raw)[1])  # type: ignore[index]
    assert raw[start:].startswith(b"xref\n0 5\n")
    places = [int(place) for place in re.findall(rb"(\d{10}) 00000 n", raw)]
    assert len(places) == 4
    for number, place in enumerate(places, start=1):
        assert raw[place:].startswith(b"%d 0 obj" % number)
    assert raw == pdf_bytes(svg(80, "", "empty"))


@pytest.mark.parametrize(
    ("element", "operators"),
    [
        ('<line x1="1" y1="2" x2="30" y2="4" stroke="#ff0000" stroke-width="2"/>', "1.000 0.000 0.000 RG 2 w\n1 2 m 30 4 l\nS"),
        ('<line x1="1" y1="2" x2="3" y2="4" stroke="#000" stroke-dasharray="3 3"/>', "[3 3] 0 d\n1 2 m 3 4 l\nS"),
        ('<polyline points="0,1 2,3 4,5" fill="none" stroke="#000000"/>', "0 1 m\n2 3 l\n4 5 l\nS"),
        ('<polygon points="0,1 2,3 4,5" fill="#00ff00"/>', "0.000 1.000 0.000 rg\n0 1 m\n2 3 l\n4 5 l\nh\nf"),
        ('<rect x="1" y="2" width="3" height="4" fill="none" stroke="#000"/>', "1 2 3 4 re\nS"),
        ('<rect x="1" y="2" width="3" height="4" fill="#fff" stroke="#000"/>', "1 2 3 4 re\nB"),
        ('<path d="M1 2h6v6h-6z" fill="#000"/>', "1 2 m\n7 2 l\n7 8 l\n1 8 l\nh\nf"),
        ('<path d="M5.0 1.0l4 4l-4 4l-4 -4z" fill="#000"/>', "5 1 m\n9 5 l\n5 9 l\n1 5 l\nh\nf"),
    ],
)  # fmt: skip
def test_shapes_are_those_of_the_drawing(element: str, operators: str) -> None:
    content = drawn(element)
    assert content.startswith("1 0 0 -1 0 100 cm\nq\n")  # SVG counts downwards
    assert operators in content


def test_a_circle_is_four_curves_around_its_middle() -> None:
    content = drawn('<circle cx="50" cy="40" r="10" fill="#000"><title>never drawn</title></circle>')
    assert "60.000 40.000 m" in content
    ends = [line.split()[4:6] for line in content.splitlines() if line.endswith(" c")]
    assert ends == [["50.000", "50.000"], ["40.000", "40.000"], ["50.000", "30.000"], ["60.000", "40.000"]]
    assert "never drawn" not in content


def test_transparency_is_declared_once_and_used() -> None:
    dots = '<circle cx="1" cy="1" r="1" fill="#000" fill-opacity="0.65"/>' * 2
    raw = pdf_bytes(svg(10, dots + '<polygon points="0,0 1,1" fill="#000" opacity="0.13"/>', "t"))
    assert raw.count(b"/ca 0.65") == raw.count(b"/ca 0.13") == 1
    assert stream(raw).count("/A0 gs") == 2
    assert stream(raw).count("/A1 gs") == 1


def test_words_stand_where_their_anchor_says_and_are_escaped() -> None:
    # Helvetica: "A" is 667 thousandths of 12.5 points, 8.34 points.
    assert text_width("A") == pytest.approx(8.3375)
    assert text_width("Äi") == pytest.approx((556 + 222) * 0.0125)
    placed = {
        anchor: drawn(f'<text x="100" y="20" text-anchor="{anchor}">A</text>') for anchor in ("start", "middle", "end")
    }
    assert "1 0 0 -1 100.00 20.00 Tm" in placed["start"]
    assert "1 0 0 -1 95.83 20.00 Tm" in placed["middle"]
    assert "1 0 0 -1 91.66 20.00 Tm" in placed["end"]
    assert r"(a \(b\) \\ – kappa ? µ) Tj" in drawn('<text x="0" y="0">a (b) \\ − κ 漢 µ</text>')


def test_soft_words_are_grey_and_words_over_lines_have_a_rim() -> None:
    assert "0.365 0.416 0.447 rg" in drawn('<text x="0" y="0" class="soft">x</text>')  # 5d, 6a, 72 of 255
    over = drawn('<text x="0" y="0" class="over">x</text>')
    assert over.index("1 1 1 RG") < over.index("1 Tr (x) Tj") < over.index("0 Tr (x) Tj")
    assert "1 Tr" not in drawn('<text x="0" y="0">x</text>')


@pytest.mark.parametrize("element", ['<image href="x"/>', '<path d="M0 0C1 1 2 2 3 3" fill="#000"/>'])
def test_what_has_no_form_is_refused(element: str) -> None:
    with pytest.raises(ValueError, match="which has no form in PDF"):
        drawn(element)


def test_figures_of_a_page_have_one() -> None:
    plot = dot_plot([("a", {"value": 0.5, "low": 0.4, "high": 0.6})], name="n", title="t", reference=(0.5, "chance"))
    assert "(chance 0.50 |) Tj" in stream(pdf_bytes(plot.svg))
    cloud = cloud_plot([(i, i) for i in range(24)], [f"g{i:02d}" for i in range(24)], name="n", title="t")
    assert stream(pdf_bytes(cloud.svg)).count("(g07 \\(1\\)) Tj") == 1


def test_widths_are_those_of_adobes_font_metrics() -> None:
    afm = (Path(mpl.get_data_path()) / "fonts/pdfcorefonts/Helvetica.afm").read_text()
    metrics = re.findall(r"^C (-?\d+) ; WX (\d+) ; N (\w+)", afm, flags=re.MULTILINE)
    by_code, by_name = {int(c): int(w) for c, w, _ in metrics}, {name: int(w) for _, w, name in metrics}
    for code in range(32, 127):
        # The PDF's encoding has straight marks where the font's own has curly ones.
        width = {39: by_name["quotesingle"], 96: by_name["grave"]}.get(code, by_code[code])
        assert text_width(chr(code)) == pytest.approx(width * FONT_SIZE / 1000), chr(code)
