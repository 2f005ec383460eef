"""Laws of lines with intervals, squares of shares, patients in columns and clouds."""

import re

import pytest

from evaluation.report.drawing.figures import dot_plot
from evaluation.report.drawing.plots import band_plot, cloud_plot, square_plot, strip_plot
from tests.evaluation.report.drawing.marks import (
    FIGURES,
    at,
    at_corners,
    lines,
    numbers,
    parsed,
    polylines,
)


def test_curves_of_shares_lie_on_the_square() -> None:
    drawing = parsed(FIGURES["squares"])
    (x0, y0), (x1, y1) = at_corners(drawing)
    for i, (_, points) in enumerate(polylines(drawing)):
        expected = [(0.0, 0.0), (0.2, 0.5 + 0.1 * i), (1.0, 1.0)]
        for point, (share, value) in zip(points, expected, strict=True):
            assert point == pytest.approx((x0 + (x1 - x0) * share, y0 + (y1 - y0) * value), abs=0.11)
    assert len(lines(drawing, dashed=True)) == 1
    without = square_plot({"a": [(0, 0)]}, name="f", title="t", x_label="x", y_label="y")
    assert lines(parsed(without), dashed=True) == []


def test_bands_lie_around_their_lines_where_both_ends_are_known() -> None:
    drawing = parsed(FIGURES["bands"])
    areas = [
        [tuple(map(float, p.split(","))) for p in (e.get("points") or "").split()] for e in drawing.iter("polygon")
    ]
    (_, encoder), (_, features) = polylines(drawing)
    assert [len(area) for area in areas] == [4, 6]  # the encoder's last interval is not known
    for area, line in zip(areas, (encoder, features), strict=True):
        n = len(area) // 2
        for (x, y), above, below in zip(line, area[:n], reversed(area[n:]), strict=False):
            assert above[0] == below[0] == x
            assert above[1] < y < below[1]
    # Steps of 1 and 3 across, 0.9 to 0.7 twice as long as 0.7 to 0.6
    assert (encoder[2][0] - encoder[1][0]) / (encoder[1][0] - encoder[0][0]) == pytest.approx(3.0, abs=0.01)
    assert (encoder[1][1] - encoder[0][1]) / (encoder[2][1] - encoder[1][1]) == pytest.approx(2.0, abs=0.02)
    [dashed] = lines(drawing, dashed=True)
    assert dashed[1] == dashed[3] > encoder[2][1]
    assert at(drawing, "chance")[1] == pytest.approx(dashed[1] - 5, abs=0.11)


def test_kinds_stand_below_their_points_in_two_rows() -> None:
    drawing = parsed(FIGURES["kinds"])
    (_, line), _ = polylines(drawing)
    places = [at(drawing, words) for words in ("none", "linked ears", "average")]
    assert [x for x, _ in places] == pytest.approx([x for x, _ in line], abs=0.11)
    assert places[0][1] == places[2][1] < places[1][1]
    anchors = [e.get("text-anchor") for e in drawing.iter("text") if e.text in ("none", "linked ears", "average")]
    assert anchors == ["start", "middle", "end"]


def test_a_curve_of_many_points_has_no_dots() -> None:
    def dots(n: int) -> int:
        return len(
            list(
                parsed(band_plot({"a": [(i, i, None, None) for i in range(n)]}, name="f", title="t", x_label="x")).iter(
                    "circle"
                )
            )
        )

    assert (dots(19), dots(20)) == (19, 0)


def test_patients_stand_in_their_column_side_by_side() -> None:
    drawing = parsed(FIGURES["strips"])
    dots: dict[str, list[tuple[float, float]]] = {}
    for e in drawing.iter("circle"):
        cx, cy = numbers(e, "cx", "cy")
        dots.setdefault((e.findtext("title") or "").split(":")[0], []).append((cx, cy))
    middles = [at(drawing, words)[0] for words in ("north", "south", "a hospital with…")]
    assert middles[1] - middles[0] == pytest.approx(middles[2] - middles[1], abs=0.11)
    assert [x for x, _ in dots["south"]] == [pytest.approx(middles[1], abs=0.11)]
    three = sorted(x - middles[0] for x, y in dots["north"] if y == dots["north"][1][1])
    assert three == pytest.approx([-7.0, 0.0, 7.0], abs=0.11)  # three patients of 0.5
    # Heights follow values: 0 at the foot, 1 on top, the reference at a third of the way.
    long = dots["a hospital with a long name"]
    foot, third, top = sorted((y for _, y in long), reverse=True)
    assert (foot - third) / (foot - top) == pytest.approx(0.3, abs=0.001)
    [dashed] = lines(drawing, dashed=True)
    assert (foot - dashed[1]) / (foot - top) == pytest.approx(1 / 3, abs=0.001)


def test_many_equal_patients_stay_in_their_column() -> None:
    drawing = parsed(strip_plot({"a": [0.5] * 80, "b": [0.5]}, name="f", title="t", y_label="y", reference=(0.5, "r")))
    middle = (at(drawing, "a")[0] + at(drawing, "b")[0]) / 2
    xs = [numbers(e, "cx")[0] for e in drawing.iter("circle") if (e.findtext("title") or "").startswith("a")]
    assert len(xs) == 80
    assert max(xs) < middle - 3


def test_many_columns_name_themselves_in_two_rows() -> None:
    def rows(n: int) -> int:
        groups = {f"site {i}": [0.5] for i in range(n)}
        drawing = parsed(strip_plot(groups, name="f", title="t", y_label="y", reference=(0.5, "r")))
        return len({at(drawing, name)[1] for name in groups})

    assert (rows(4), rows(5)) == (1, 2)


def test_points_of_a_cloud_keep_their_order_and_the_legend_counts_them() -> None:
    points = [(0.0, 0.0), (1.0, 5.0), (4.0, 10.0)]
    drawing = parsed(cloud_plot(points, ["b", "a", "b"], name="f", title="t"))
    circles = [(e.get("fill"), *numbers(e, "cx", "cy")) for e in drawing.iter("circle")]
    (b, x0, y0), (a, x1, y1), (again, x2, y2) = circles[:3]
    assert a != b == again
    assert (x1 - x0) / (x2 - x0) == pytest.approx(0.25, abs=0.001)
    assert (y1 - y0) / (y2 - y0) == pytest.approx(0.5, abs=0.001)
    assert y2 < y1 < y0
    assert [(e.text, e.get("class")) for e in drawing.iter("text")] == [("a (1)", ""), ("b (2)", "")]
    assert [colour for colour, *_ in circles[3:]] == [a, b]
    [frame] = drawing.iter("rect")
    left, top, wide, high = numbers(frame, "x", "y", "width", "height")
    assert left < x0 < x2 < left + wide
    assert top < y2 < y0 < top + high
    alone = parsed(cloud_plot([(1.0, 1.0)], [""], name="f", title="t"))
    assert [e.text for e in alone.iter("text")] == ["no label (1)"]


def test_groups_of_a_cloud_never_look_alike() -> None:
    drawing = parsed(cloud_plot([(i, i) for i in range(24)], [f"g{i:02d}" for i in range(24)], name="f", title="t"))
    shapes = [
        (e.tag, e.get("fill"), re.sub(r"^M\S+ [-\d.]+", "", e.get("d") or ""))
        for e in drawing
        if e.tag in ("circle", "path")
    ]
    assert len(shapes) == 48
    assert len(set(shapes[:24])) == 24
    assert shapes[:24] == shapes[24:]  # the legend, in the same order


def test_long_labels_are_cut_where_there_is_no_room_for_them() -> None:
    def labels(n: int) -> list[str]:
        names = {f"site-{k}-{'x' * 21}": [0.5] for k in range(n)}  # 28 characters
        drawn = strip_plot(names, name="s", title="t", y_label="y", reference=(0.5, "chance"))
        return [each for each in re.findall(r">([^<]*)</text>", drawn.svg) if each.startswith("site-")]

    # 376 points of width, 7.5 a character: 25 in one of two columns, 16 in one of three; 20 in every second of five.
    assert [len(each) for each in labels(1)] == [28]
    assert [len(each) for each in labels(2)] == [25, 25]
    assert {len(each) for each in labels(3)} == {16}
    assert {len(each) for each in labels(5)} == {20}
    assert all(each.endswith("…") for each in labels(2))


def test_rows_labels_take_the_room_they_need() -> None:
    row = {"value": 0.5, "low": 0.4, "high": 0.6}
    for n, is_cut in ((4, False), (26, False), (27, True)):
        drawn = dot_plot([("x" * n, row), ("y", row)], name="d", title="t")
        [(at_x, label)] = re.findall(r'<text x="([0-9.]+)"[^>]*>(x+…?)</text>', drawn.svg)
        assert (label == "x" * n) is not is_cut
        assert len(label) == min(n, 26)
        assert float(at_x) - 7.0 * len(label) > 0  # within the drawing
        assert float(at_x) <= 440 / 2
