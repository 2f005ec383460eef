"""Laws of every drawing: values at their places, words inside and apart, legends in the colours of their lines."""

import re
from itertools import combinations, pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.report.drawing.figures import Figure, curves_plot, dot_plot
from evaluation.report.drawing.plots import band_plot, cloud_plot, strip_plot
from signals.pages.svg import WIDTH
from tests.evaluation.report.drawing.marks import (
    BAND,
    BINS,
    FIGURES,
    PLACES,
    at,
    at_corners,
    axis_of_dots,
    lines,
    numbers,
    parsed,
    polylines,
    word_boxes,
)


@pytest.mark.parametrize("kind", FIGURES)
def test_everything_is_inside_the_drawing(kind: str) -> None:
    drawing = parsed(FIGURES[kind])
    _, _, width, height = map(float, drawing.get("viewBox", "").split())
    assert width == WIDTH
    for _, left, top, right, bottom in word_boxes(drawing):
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
    for element in drawing.iter():
        for name in PLACES:
            if element.get(name) is not None:
                assert 0 <= float(element.get(name, "")) <= (width if name in ("x", "x1", "x2", "cx") else height)
    # And nothing but air between the last words and the lower edge: a drawing is not taller than what it shows.
    assert height - max(box[4] for box in word_boxes(drawing)) < 24


@pytest.mark.parametrize("kind", FIGURES)
def test_no_words_stand_on_others(kind: str) -> None:
    for (a, *one), (b, *two) in combinations(word_boxes(parsed(FIGURES[kind])), 2):
        apart = one[2] <= two[0] or two[2] <= one[0] or one[3] <= two[1] or two[3] <= one[1]
        assert apart, (a, b)


@pytest.mark.parametrize("kind", sorted(set(FIGURES) - {"clouds"}))
def test_each_number_of_an_axis_stands_at_its_line(kind: str) -> None:
    drawing = parsed(FIGURES[kind])
    marked = [e for e in drawing.iter("text") if re.fullmatch(r"-?[\d.]+", e.text or "") and e.get("class") == "soft"]
    up = [numbers(e, "x", "y") for e in marked if e.get("text-anchor") == "end" and float(e.get("x", "nan")) < 60]
    level = {y1 for x1, y1, x2, y2 in lines(drawing, dashed=False) if y1 == y2 and x2 - x1 > 100}
    assert len(up) > 2 or kind == "dots"
    for x, y in up:
        assert any(abs(y - 4 - line) < 0.11 for line in level)  # words hang 4 below the middle of their line
        assert 35 < x < 52
    assert {abs(b - a) > 1 for a, b in pairwise(sorted(level))} <= {True}


def test_rows_of_dots_stand_in_order_at_equal_distances() -> None:
    drawing = parsed(FIGURES["dots"])
    names = [at(drawing, words)[1] for words in ("north", "unknown", "one patient")]
    rows = [e for e in drawing.iter("text") if e.get("text-anchor") == "end" and "┊" not in (e.text or "")]
    heights = [numbers(e, "y")[0] for e in rows]
    assert len(rows) == 4
    steps = {round(b - a, 1) for a, b in pairwise(heights)}
    assert names == [heights[0], heights[2], heights[3]]
    assert len(steps) == 1
    assert steps.pop() > 20
    grid = [(y1, y2) for x1, y1, x2, y2 in lines(drawing, dashed=False) if x1 == x2]
    assert len(set(grid)) == 1
    top, bottom = grid[0]
    assert top < heights[0] - 12
    assert bottom > heights[-1] + 4
    dots = [numbers(e, "cx", "cy") for e in drawing.iter("circle")]
    assert [cy for _, cy in dots] == pytest.approx([heights[0] - 4, heights[1] - 4, heights[3] - 4])
    assert at(drawing, "undefined")[1] == heights[2]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-3, 9), st.floats(0.01, 4), st.floats(0.01, 4)), min_size=1, max_size=6),
    st.floats(-3, 9),
)
def test_dots_intervals_and_reference_lie_at_their_values(
    values: list[tuple[float, float, float]], reference: float
) -> None:
    rows = [(f"r{i}", {"value": v, "low": v - a, "high": v + b}) for i, (v, a, b) in enumerate(values)]
    drawing = parsed(dot_plot(rows, name="f", title="t", reference=(reference, "chance")))
    origin, scale = axis_of_dots(drawing)
    near = lambda value: pytest.approx(origin + scale * value, abs=0.02 * scale + 0.3)  # noqa: E731
    dots = [numbers(e, "cx", "cy") for e in drawing.iter("circle")]
    bars = [place for place in lines(drawing, dashed=False) if place[1] == place[3]]
    for (_, row), (cx, cy), bar in zip(rows, dots, bars, strict=True):
        assert cx == near(row["value"])
        assert bar == (near(row["low"]), cy, near(row["high"]), cy)
    [dashed] = lines(drawing, dashed=True)
    assert dashed[0] == dashed[2] == near(reference)
    everything = [0.0, *(place for row in [*bars, dashed] for place in (row[0], row[2]))]
    assert max(everything) <= WIDTH


def test_dots_say_what_they_show() -> None:
    drawing = parsed(FIGURES["dots"])
    assert [e.findtext("title") for e in drawing.iter("circle")] == [
        "north: 0.620 (0.510 to 0.700)", "a name that is too long: 0.800 (0.750 to 0.830)", "one patient: 0.450",
    ]  # fmt: skip
    filled = [e.get("fill") for e in drawing.iter("circle")]
    assert filled[0] == filled[1] != filled[2] == "#fff"  # hollow: no interval
    assert [e.findtext("title") for e in parsed(FIGURES["reliability"]).iter("circle")] == [
        "probability 0.15, right 0.30 of 4 windows", "probability 0.55, right 0.50 of 16 windows",
        "probability 0.90, right 0.70 of 64 windows",
    ]  # fmt: skip
    assert [e.findtext("title") for e in parsed(FIGURES["bands"]).iter("circle")][1:3] == [
        "encoder, 1: 0.700 (0.650 to 0.750)", "encoder, 4: 0.600",
    ]  # fmt: skip


@pytest.mark.parametrize("value", [0.2, 0.8])
def test_words_of_the_reference_stand_on_the_side_that_has_room(value: float) -> None:
    rows = [("a", {"value": 0.0, "low": None, "high": None}), ("b", {"value": 1.0, "low": None, "high": None})]
    drawing = parsed(dot_plot(rows, name="f", title="t", reference=(value, "what a coin would reach here")))
    [(words, left, _, right, _)] = [box for box in word_boxes(drawing) if "coin" in box[0]]
    # The mark in front or behind is that of the dashed line above it.
    end = f"what a coin would reach here {value:.2f}"
    assert words == (f"{end} ┊" if value > 0.5 else f"┊ {end}")
    [dashed] = lines(drawing, dashed=True)
    assert (right if value > 0.5 else left) == pytest.approx(dashed[0], abs=0.11)
    assert 0 <= left < right <= WIDTH


def test_the_area_of_a_dot_follows_its_windows() -> None:
    radii = [float(e.get("r", "nan")) for e in parsed(FIGURES["reliability"]).iter("circle")]
    # 4, 16 and 64 windows: beyond the smallest dot that is seen, radii as 1 to 2 to 4.
    small, middle, large = (radius - 3 for radius in radii)
    assert (middle / small, large / small) == pytest.approx((2.0, 4.0))
    assert large <= 8  # neighbouring bins do not hide one another


def test_bars_of_reliability_reach_from_low_to_high() -> None:
    drawing = parsed(FIGURES["reliability"])
    (x0, y0), (x1, y1) = at_corners(drawing)
    bars = [place for place in lines(drawing, dashed=False) if place[0] == place[2] and abs(place[1] - place[3]) < 100]
    assert bars == [
        pytest.approx((x, y0 + (y1 - y0) * b["accuracy_low"], x, y0 + (y1 - y0) * b["accuracy_high"]), abs=0.11)
        for b in BINS
        for x in [x0 + (x1 - x0) * b["confidence"]]
    ]
    [diagonal] = lines(drawing, dashed=True)
    assert diagonal == pytest.approx((x0, y0, x1, y1), abs=0.11)


@pytest.mark.parametrize("kind", ["curves", "bands", "squares"])
def test_a_legend_has_the_colours_of_its_lines_in_order(kind: str) -> None:
    drawing = parsed(FIGURES[kind])
    colours = [colour for colour, _ in polylines(drawing)]
    assert len(set(colours)) == len(colours)
    swatches = [e for e in drawing.iter("line") if e.get("stroke-width") == "3"]
    assert [e.get("stroke") for e in swatches] == colours
    names = {"curves": ("loss", "held out"), "bands": tuple(BAND), "squares": tuple(f"class {i}" for i in range(5))}[
        kind
    ]
    words = [(e.text or "", *numbers(e, "x", "y")) for e in drawing.iter("text")]
    for name, swatch in zip(names, swatches, strict=True):
        x1, y1, x2, y2 = numbers(swatch, "x1", "y1", "x2", "y2")
        [(_, x, y)] = [entry for entry in words if re.fullmatch(rf"{name}(: .*)?", entry[0])]
        assert y1 == y2 == pytest.approx(y - 4, abs=0.11)
        assert 0 < x - x2 < 10 < x2 - x1 < 30


def test_curves_reach_over_the_steps_and_state_their_ends() -> None:
    drawing = parsed(FIGURES["curves"])
    first, second = (points for _, points in polylines(drawing))
    (left, _), (right, _) = at(drawing, "step 0"), at(drawing, "step 50")
    assert [x for x, _ in first] == pytest.approx([left, left + (right - left) / 5, right], abs=0.11)
    assert [x for x, _ in second] == pytest.approx([left, right], abs=0.11)
    # 3.0, 2.0 and 1.5 on an axis that grows upwards
    assert (first[1][1] - first[0][1]) / (first[2][1] - first[1][1]) == pytest.approx(2.0, abs=0.02)
    assert first[0][1] < first[1][1]
    assert "loss: 3 at step 0, 1.5 at step 50" in [e.text for e in drawing.iter("text")]
    flat = parsed(curves_plot({"loss": [(0, 0.0), (0, 0.0)]}, name="f", title="t"))
    assert len(polylines(flat)[0][1]) == 2


@pytest.mark.parametrize(
    "empty",
    [
        dot_plot([("a", {"value": None, "low": None, "high": None})], name="f", title="t <b>"),
        band_plot({}, name="f", title="t <b>", x_label="x"),
        strip_plot({"a": []}, name="f", title="t <b>", y_label="y", reference=(0.5, "r")),
        cloud_plot([], [], name="f", title="t <b>"),
    ],
)
def test_nothing_to_draw_is_a_sentence(empty: Figure) -> None:
    assert empty.svg == ""
    assert empty.html() == f'<p class="note">t &lt;b&gt;: {empty.note}.</p>'
    assert empty.note


def test_a_file_of_its_own_has_fonts_and_is_svg() -> None:
    alone = FIGURES["dots"].standalone()
    root = ElementTree.fromstring(alone.encode())
    assert alone.startswith('<?xml version="1.0" encoding="UTF-8"?>\n<svg xmlns="http://www.w3.org/2000/svg" ')
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert ".soft{" in (root[0].text or "")
    assert len(root) == len(parsed(FIGURES["dots"])) + 1
    assert FIGURES["dots"].html() == f'<figure id="figure-f"><figcaption>t</figcaption>{FIGURES["dots"].svg}</figure>'
