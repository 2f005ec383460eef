"""Figures drawn to scale: lengths and places in the SVG against the numbers that they stand for."""

import re
from dataclasses import replace
from html import unescape
from math import log10
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.report.figures import AMBER, FATES, LEVELS, amplitude_plot, hours_plot, presence_map, quality_plot
from pipelines.runs.accounting import Hours, SiteCounts
from signals.description.systems import system_of
from signals.modality import EEG_1020
from signals.pages.svg import ACCENT, WIDTH
from signals.shards.tally import Sums

EMPTY = SiteCounts(
    files_accepted=1, files_quarantined=0, files_by_reason={}, hours=Hours(), windows=0, windows_rejected=0,
    windows_by_reason={}, n_bytes=0, shards=0, native_sfreqs={}, mains_hz={}, readers={}, notes={}, bad_channels={},
    amplitude_uv={}, subjects=0,
)  # fmt: skip
LEFT, RIGHT = 122.0, WIDTH - 18.0


def drawing(figure):
    """The SVG of a figure as a tree, without namespaces."""
    return ElementTree.fromstring(re.search(r"<svg.*</svg>", figure, re.DOTALL).group())


def bars(figure):
    """[title, [(colour, x, width, y, height)]] of each group of bars."""
    return [
        (
            group.findtext("title"),
            [
                (r.get("fill"), *(float(r.get(name)) for name in ("x", "width", "y", "height")))
                for r in group.findall("rect")
                if r.get("fill") != "none"
            ],
        )
        for group in drawing(figure).findall("g")
    ]


def words(figure):
    return {(t.text or t.findtext("title")): t for t in drawing(figure).iter("text")}


def legend_of(figure):
    return dict(reversed(pair) for pair in re.findall(r'<i style="background:(.*?)"></i>(.*?)</span>', figure))


def test_hours_lie_beside_each_other_to_scale():
    # Of 10 h: 5 in windows, 1 rejected, 2 in none, 2 left out; the axis ends at 10.
    north = replace(EMPTY, hours=Hours(accepted=8, covered=6, uncovered=2, quarantined=2, rejected=1))
    south = replace(EMPTY, hours=Hours(accepted=2.5, covered=2.5))
    figure = hours_plot({"north": north, "south": south})
    (title, rects), (other_title, other) = bars(figure)
    px = (RIGHT - LEFT) / 10
    assert [rect[0] for rect in rects] == list(FATES.values())
    assert [rect[1] for rect in rects] == pytest.approx([LEFT, LEFT + 5 * px, LEFT + 6 * px, LEFT + 8 * px], abs=0.06)
    assert [rect[2] for rect in rects] == pytest.approx([5 * px, px, 2 * px, 2 * px], abs=0.06)
    assert other == [(FATES["in windows"], LEFT, pytest.approx(2.5 * px, abs=0.06), 36.0, 15.0)]
    assert {(rect[3], rect[4]) for rect in rects} == {(12.0, 15.0)}
    assert title == (
        "north: 5.000 h in windows, 1.000 h windows rejected, 2.000 h no window fits, 2.000 h files left out"
    )
    assert other_title == "south: 2.500 h in windows"
    assert legend_of(figure) == dict(FATES)
    shown = words(figure)
    for hours in (0, 2, 4, 6, 8, 10):
        assert float(shown[f"{hours}"].get("x")) == pytest.approx(LEFT + hours * px, abs=0.06)
        assert (shown[f"{hours}"].get("y"), shown[f"{hours}"].get("text-anchor")) == ("72.0", "middle")
    assert (shown["hours"].get("x"), shown["hours"].get("y")) == (f"{RIGHT:.1f}", "89.0")
    lines = {tuple(float(each.get(k)) for k in ("x1", "y1", "x2", "y2")) for each in drawing(figure).findall("line")}
    assert (LEFT, 8.0, LEFT, 56.0) in lines
    assert len(lines) == 6
    assert (shown["north"].get("y"), shown["south"].get("y")) == ("23.0", "47.0")
    assert drawing(figure).get("viewBox") == f"0 0 {WIDTH} 96"


def test_no_hours_at_all():
    assert bars(hours_plot({"west": EMPTY})) == [("west: ", [])]
    assert bars(hours_plot({})) == []


def test_quality_in_five_steps():
    # 10 bins, two of them a step: 4, 0, 2, 0, 2 of 8 windows.
    sites = {"north": replace(EMPTY, sums=Sums(quality=(1, 3, 0, 0, 0, 2, 0, 0, 1, 1))), "west": EMPTY}
    ((title, rects),) = bars(quality_plot(sites))
    levels = list(LEVELS.values())
    assert [rect[0] for rect in rects] == [levels[0], levels[2], levels[4]]
    span = RIGHT - LEFT
    assert [rect[1] for rect in rects] == pytest.approx([LEFT, LEFT + span / 2, LEFT + 0.75 * span], abs=0.06)
    assert [rect[2] for rect in rects] == pytest.approx([span / 2, span / 4, span / 4], abs=0.06)
    assert title == "north: 50.0% at 0–0.2, 25.0% at 0.4–0.6, 25.0% at 0.8–1"
    shown = words(quality_plot(sites))
    assert [float(shown[name].get("x")) for name in ("0%", "50%", "100%")] == [LEFT, LEFT + span / 2, RIGHT]
    assert shown["0%"].get("y") == "48.0"
    assert "west" not in shown
    assert legend_of(quality_plot(sites)) == dict(LEVELS)


def test_a_second_site_lies_below_the_first():
    for plot in (
        lambda sites: bars(quality_plot(sites)),
        lambda sites: bars(hours_plot(sites)),
    ):
        site = replace(EMPTY, hours=Hours(covered=1.0), sums=Sums(quality=(0,) * 9 + (3,)))
        rects = [each[0] for _, each in plot({"a": site, "b": site, "c": site})]
        assert [rect[3] for rect in rects] == [12.0, 36.0, 60.0]
        assert {rect[4] for rect in rects} == {15.0}


def test_a_cell_is_filled_by_the_share_of_windows():
    # Of four windows Fp1 was measured in 3 and interpolated in 1, F3 in 0 and 2, absent in the rest.
    presence = {"measured": (3, 0), "interpolated": (1, 2), "absent": (0, 2)}
    figure = presence_map({"north": replace(EMPTY, sums=Sums(presence=presence)), "west": EMPTY}, ("Fp1", "F3"))
    (first, filled), (second, half) = bars(figure)
    assert first == "north Fp1: measured 75%, interpolated 25%, absent 0%"
    assert second == "north F3: measured 0%, interpolated 50%, absent 50%"
    width = (WIDTH - 8.0 - LEFT) / 2
    assert filled == [
        (ACCENT, LEFT, width - 2, 34.0, 13.5), (AMBER, LEFT, width - 2, 47.5, 4.5),
    ]  # fmt: skip
    assert half == [(AMBER, LEFT + width, width - 2, 34.0, 9.0)]
    frames = [r for r in drawing(figure).iter("rect") if r.get("fill") == "none"]
    assert [(float(r.get("x")), float(r.get("width")), float(r.get("height"))) for r in frames] == [
        (LEFT, width - 2, 18.0), (LEFT + width, width - 2, 18.0),
    ]  # fmt: skip
    shown = words(figure)
    assert shown["Fp1"].get("transform") == f"translate({LEFT + width / 2 + 4:.1f},28.0) rotate(-90)"
    assert shown["F3"].get("transform") == f"translate({LEFT + 1.5 * width + 4:.1f},28.0) rotate(-90)"
    assert shown["north"].get("y") == "48.0"
    assert "west" not in shown
    assert legend_of(figure) == {"measured": ACCENT, "interpolated": AMBER, "absent": "#fff"}
    assert drawing(figure).get("viewBox") == f"0 0 {WIDTH} 60"


def test_cells_of_states_that_never_occurred():
    figure = presence_map({"north": replace(EMPTY, sums=Sums(presence={"measured": (2,)}))}, ("Fp1",))
    ((title, rects),) = bars(figure)
    assert title == "north Fp1: measured 100%, interpolated 0%, absent 0%"
    assert len(rects) == 1


def test_sizes_on_a_log_axis():
    sizes = {"min": 0.1, "q25": 1.0, "median": 10.0, "q75": 100.0, "max": 1e9}
    figure = amplitude_plot({"north": replace(EMPTY, amplitude_uv=sizes), "west": EMPTY}, system_of(EEG_1020))

    def at(value):
        return LEFT + (log10(value) + 2) / 6 * (RIGHT - LEFT)

    svg = drawing(figure)
    (shade,) = svg.findall("rect")
    assert float(shade.get("x")) == pytest.approx(at(0.2), abs=0.06)
    assert float(shade.get("width")) == pytest.approx(at(1000.0) - at(0.2), abs=0.06)
    assert (shade.get("y"), shade.get("height")) == ("4.0", "28.0")
    (group,) = svg.findall("g")
    whole, half = group.findall("line")
    # What lies beyond 10,000 µV is drawn at the axis' end.
    assert [float(whole.get(k)) for k in ("x1", "x2", "y1", "y2")] == pytest.approx(
        [at(0.1), at(1e4), 19, 19], abs=0.06
    )
    assert [float(half.get(k)) for k in ("x1", "x2")] == pytest.approx([at(1), at(100)], abs=0.06)
    assert (whole.get("stroke-width"), half.get("stroke-width")) == ("1.5", "7")
    assert float(group.find("circle").get("cx")) == pytest.approx(at(10), abs=0.06)
    assert float(group.find("circle").get("cy")) == 19.0
    assert group.findtext("title") == (
        "north: median 10 µV, half of the recordings within 1 to 100, all within 0.1 to 1e+09"
    )
    shown = words(figure)
    for value in ("0.01", "0.1", "1", "10", "100", "1000", "10000"):
        assert float(shown[value].get("x")) == pytest.approx(at(float(value)), abs=0.06)
        assert shown[value].get("y") == "48.0"
    assert len(svg.findall("line")) == 7
    assert {(each.get("y1"), each.get("y2")) for each in svg.findall("line")} == {("4.0", "32.0")}
    assert "west" not in shown
    assert shown["north"].get("y") == "23.0"
    assert float(shown["µV, log scale; taken as EEG where shaded"].get("y")) == 65.0


@pytest.mark.parametrize(
    ("site", "shown"), [("a" * 18, "a" * 18), ("a" * 19, "a" * 17 + "…"), ("<b>" + "a" * 20, "<b>" + "a" * 14 + "…")]
)
def test_long_names_of_sites_are_cut_and_kept_whole_in_the_title(site, shown):
    figure = hours_plot({site: EMPTY})
    (name,) = [t for t in drawing(figure).iter("text") if t.find("title") is not None]
    assert name.findtext("title") == site
    assert name.find("title").tail == shown
    assert (name.get("x"), name.get("text-anchor")) == (f"{LEFT - 8:.0f}", "end")


@given(st.lists(st.floats(0, 1e4), min_size=4, max_size=4))
def test_a_bar_is_as_long_as_its_hours(hours):
    covered, uncovered, quarantined, rejected = hours
    site = replace(EMPTY, hours=Hours(covered=covered, uncovered=uncovered, quarantined=quarantined, rejected=rejected))
    figure = hours_plot({"a": site})
    ((_, rects),) = bars(figure)
    marks = [float(t.text) for t in drawing(figure).iter("text") if re.fullmatch(r"[\d.e+-]+", t.text or "")]
    assert max(marks) >= site.hours.readable * 0.999999
    drawn = sum(rect[2] for rect in rects)
    assert drawn == pytest.approx(site.hours.readable / max(marks) * (RIGHT - LEFT), abs=0.2)
    assert unescape(figure).count("<svg") == 1
