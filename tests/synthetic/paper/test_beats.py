import numpy as np
import pytest

from signals.modality import ECG_12
from signals.paper.layout import LAYOUTS
from synthetic.heart.leads import WITHOUT_P
from synthetic.heart.person import CONDITIONS
from synthetic.paper.beats import BEFORE_S, draw_beat, from_picture, ink_of, on_picture, panel


@pytest.mark.parametrize("condition", CONDITIONS)
def test_points_lie_on_the_drawn_line_and_follow_each_other(condition):
    picture = draw_beat(np.random.default_rng(4), condition, image_px=256)
    points_lie_on_the_line(picture)
    assert picture.image.shape == (256, 256, 3)
    assert len(picture.points) <= 60
    assert ("P" in {point.wave for point in picture.points}) == (condition not in WITHOUT_P)
    for lead in {point.lead for point in picture.points}:
        own = {point.wave: point for point in picture.points if point.lead == lead}
        times = [own[wave].at_s for wave in "PQRST" if wave in own]
        assert times == sorted(times), lead
        assert all(point.span_s[0] <= point.at_s <= point.span_s[1] for point in own.values())


def points_lie_on_the_line(picture):
    dark = picture.image.max(axis=2) < 180
    for point in picture.points:
        x, y = on_picture(point.lead, point.at_s, point.mv, picture.layout)
        column, row = int(x * 256), int(y * 256)
        assert dark[max(row - 2, 0) : row + 3, max(column - 1, 0) : column + 2].any(), point
        if -1.75 < point.mv < 2.15:  # beyond, a panel shows its edge
            lead, at_s, mv = from_picture(float(x), float(y), picture.layout)
            assert (lead, at_s, mv) == (point.lead, pytest.approx(point.at_s), pytest.approx(point.mv))


@pytest.mark.parametrize("layout", ["12x1", "6x2"])
def test_points_lie_on_the_line_in_other_layouts_and_each_lead_inks_its_own_panel(layout):
    picture = draw_beat(np.random.default_rng(4), "infarction", layout=layout)
    points_lie_on_the_line(picture)
    n_rows = len(LAYOUTS[layout].panels)
    for lead, values in zip(ECG_12.ch_names, picture.x_mv, strict=True):
        row, column = panel(lead, layout)
        y, x = np.nonzero(ink_of({lead: values}, 240, layout) > 0.5)
        assert len(y)
        assert set((y * n_rows / 240).astype(int)) == {row}
        assert set((x * len(LAYOUTS[layout].panels[0]) / 240).astype(int)) == {column}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_lead_has_one_panel(layout):
    panels = LAYOUTS[layout].panels
    assert sorted(lead for row in panels for lead in row) == sorted(ECG_12.ch_names)
    assert len({len(row) for row in panels}) == 1


def test_panels_do_not_share_places_and_the_complex_begins_where_it_should():
    places = {panel(lead) for lead in ("I", "V6", "aVR")}
    assert places == {(0, 0), (2, 3), (0, 1)}
    picture = draw_beat(np.random.default_rng(0), "normal")
    r = [point.at_s for point in picture.points if point.wave == "R"]
    assert all(BEFORE_S <= at < BEFORE_S + 0.1 for at in r)
    # 0.9 s and 4 mV to a panel, of which there are four in a row and three in a column
    assert on_picture("I", 0.9, 0.0)[0] - on_picture("I", 0.0, 0.0)[0] == pytest.approx(1 / 4)
    assert on_picture("I", 0.0, 0.0)[1] - on_picture("I", 0.0, 1.0)[1] == pytest.approx(1 / 12)
