"""Traces drawn to scale: where a channel's course, a flag and a missing row lie."""

import json
import re
from dataclasses import asdict, replace
from xml.etree import ElementTree

import numpy as np
import pytest

from pipelines.report.figures import AMBER, RED
from pipelines.report.report import choose
from pipelines.report.traces import COLOURS, Example, Row, courses, extremes, row_distance, traces
from signals.description.artifacts import BIT
from signals.pages.svg import INK, WIDTH
from signals.window import ABSENT, INTERPOLATED, MEASURED

LEFT, RIGHT = 58.0, WIDTH - 4.0
EXAMPLE = Example(
    site_id="north", recording_id="ab" * 8, label="LPD", start_s=130.5, native_sfreq=200.5, sfreq=256.0,
    band=(0.5, 90.0), mains_hz=50.0,
    before=(Row(name="Fp1", values=(0, 1000)), Row(name="F3", values=None)),
    after=(Row(name="Fp1", values=(0, 500)), Row(name="F3", values=(0, 0))),
    ch_state=(MEASURED, INTERPOLATED), flags=((0, int(BIT["flat"] | BIT["muscle"])), (0, 0)),
)  # fmt: skip


def drawing(figure):
    return ElementTree.fromstring(re.search(r"<svg.*</svg>", figure, re.DOTALL).group())


def points(svg):
    """The courses of an SVG as lists of pieces, each a list of (x, y) in pixels."""
    found = []
    for path in svg.findall("path"):
        pieces = []
        for kind, x, y in re.findall(r"([Ml])(-?\d+) (-?\d+)", path.get("d")):
            if kind == "M":
                pieces.append([(int(x) / 10, int(y) / 10)])
            else:
                last = pieces[-1][-1]
                pieces[-1].append((last[0] + int(x) / 10, last[1] + int(y) / 10))
        found.append(pieces)
    return found


def drawn(values, **options):
    given = {"row_uv": 100.0, "title": "t"} | options
    return drawing(courses([Row(name="Fp1", values=values)], [MEASURED], [[0, 0]], **given))


def test_a_swing_of_one_row_is_a_row_high():
    # 100 µV are 1,000 steps of 0.1 µV and, at 100 µV a row, 15 px; the row's middle lies at 20 + 7.5 px.
    ((course,),) = points(drawn((0, 1000, -500, 0)))
    assert [y for _, y in course] == pytest.approx([27.5, 12.5, 35.0, 27.5], abs=0.06)
    step = (RIGHT - LEFT) / 4
    assert [x for x, _ in course] == pytest.approx([LEFT + step * (i + 0.5) for i in range(4)], abs=0.11)


def test_what_leaves_its_row_by_far_is_cut_off():
    ((course,),) = points(drawn((10_000, -10_000)))
    assert [y for _, y in course] == pytest.approx([27.5 - 33.0, 27.5 + 33.0], abs=0.06)


def test_a_gap_interrupts_the_course():
    ((first, second),) = points(drawn((0, 0, None, 0, 0)))
    assert (len(first), len(second)) == (2, 2)
    assert second[0][0] > first[-1][0] + (RIGHT - LEFT) / 5


def test_rows_flags_and_seconds():
    figure = traces(EXAMPLE, "after", row_uv=50.0)
    svg = drawing(figure)
    assert "<figcaption>After: prepared, 256 Hz</figcaption>" in figure
    assert svg.get("aria-label") == "After: prepared, 256 Hz"
    assert svg.get("viewBox") == f"0 0 {WIDTH} 86"  # 20 + 2 x 15 + 36
    assert [path.get("stroke") for path in svg.findall("path")] == [INK, AMBER]
    names = svg.findall("text")[:2]
    assert [(n.text, n.get("y"), n.get("x")) for n in names] == [("Fp1", "31.5", "52"), ("F3", "46.5", "52")]
    assert [n.get("style").split("fill:")[1] for n in names] == [INK, AMBER]
    # The second of two seconds of Fp1 is shaded, nothing else.
    (flag,) = svg.findall("rect")
    half = (RIGHT - LEFT) / 2
    assert [float(flag.get(k)) for k in ("x", "y", "width", "height")] == [LEFT + half, 20.0, half, 15.0]
    assert (flag.get("fill"), flag.findtext("title")) == (RED, "Fp1, second 1: flat, muscle")
    grid = [(line.get("x1"), line.get("x2"), line.get("y1"), line.get("y2")) for line in svg.findall("line")]
    assert grid == [(f"{x:.1f}", f"{x:.1f}", "20.0", "50.0") for x in (LEFT, LEFT + half, RIGHT)]
    below = {text.text: (text.get("x"), text.get("y"), text.get("text-anchor")) for text in svg.findall("text")[2:]}
    assert below == {
        "0 s": ("58.0", "80.0", "start"), "2 s": ("436.0", "80.0", "end"),
        "rows lie 50 µV apart": ("247.0", "80.0", "middle"),
    }  # fmt: skip


def test_before_preparation_nothing_is_flagged_or_interpolated():
    figure = traces(EXAMPLE, "before", row_uv=100.0)
    svg = drawing(figure)
    assert "<figcaption>Before: as read, 200.5 Hz</figcaption>" in figure
    assert svg.findall("rect") == []
    assert [path.get("stroke") for path in svg.findall("path")] == [INK]
    (missing,) = [text for text in svg.findall("text") if text.get("class") == "over"]
    assert (missing.text, missing.get("x"), missing.get("y")) == ("not recorded", "64.0", "46.5")
    (dashes,) = [line for line in svg.findall("line") if line.get("stroke-dasharray")]
    assert [dashes.get(k) for k in ("x1", "y1", "x2", "y2")] == ["58.0", "42.5", "436.0", "42.5"]
    absent = courses([Row(name="F3", values=None)], [ABSENT], [[0]], row_uv=1, title="t", width=200)
    assert ">absent</text>" in absent
    assert 'viewBox="0 0 200 71"' in absent


def test_examples_go_through_json():
    assert Example.from_dict(json.loads(json.dumps(asdict(EXAMPLE)))) == EXAMPLE


@pytest.mark.parametrize(
    ("sizes", "expected"),
    # 90% of each row's swings lie below the size; the middle row's, times 2.2, rounded up to 1, 2 or 5.
    [([], 1.0), ([0.4], 1.0), ([0.5], 2.0), ([10], 50.0), ([20], 50.0), ([23], 100.0), ([1, 10, 200], 50.0),
     ([10, 200], 500.0), ([3000], 10000.0), ([1e5], 10000.0)],
)  # fmt: skip
def test_the_distance_of_rows(sizes, expected):
    rows = [Row(name="a", values=(*(round(10 * s) for _ in range(10)), 10**6, None)) for s in sizes]
    assert row_distance([*rows, Row(name="b", values=None), Row(name="c", values=(None,))]) == expected


def test_the_distance_is_set_by_nine_tenths_of_a_row():
    # Of 20 values the 19th largest counts, whatever their sign.
    values = (*([-10] * 18), 1000, 5000)
    assert row_distance([Row(name="a", values=values)]) == 500.0


def test_extremes_in_order_of_time():
    x = np.array([0.0, 5.0, -3.0, 1.0, 2.0, -9.0, 7.0, 0.0])
    assert extremes(x, 2) == (50, -30, -90, 70)
    assert extremes(x[:1], 9) == (0, 0)
    assert extremes(np.array([np.nan, np.nan, 1.0, 2.0]), 2) == (None, None, 10, 20)
    # Never more bins than pairs of samples.
    assert len(extremes(np.arange(1000.0))) == 440
    assert len(extremes(np.arange(100.0))) == 100


def test_examples_are_spread_over_the_sites():
    examples = [replace(EXAMPLE, site_id=name) for name in "hgfedcba"]
    assert "".join(each.site_id for each in choose(examples, 4)) == "aceg"
    assert "".join(each.site_id for each in choose(examples, 3)) == "acf"
    assert "".join(each.site_id for each in choose(examples, 12)) == "abcdefgh"
    assert choose([], 12) == ()


def test_colours_of_the_legend():
    assert COLOURS["measured"] == INK
    assert COLOURS["interpolated"] == AMBER
