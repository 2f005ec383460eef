import numpy as np
import pytest
from scipy import ndimage

from signals.modality import ECG_12
from signals.paper.layout import LAYOUTS, PaperScale
from synthetic.heart.leads import generate
from synthetic.paper.draw import GRIDS, PAGE_MM, Style, draw, printed
from synthetic.paper.wear import Wear, drawn_wear, worn

SMALL = Style(px_per_mm=4.0)


@pytest.fixture(scope="module")
def x_mv():
    return generate(np.random.default_rng(3), "infarction").x_mv


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_sample_lies_on_ink(x_mv, layout):
    page = draw(x_mv, 500.0, Style(px_per_mm=4.0, layout=layout))
    assert page.image.shape == (round(4 * PAGE_MM[1]), round(4 * PAGE_MM[0]), 3)
    assert {trace.lead for trace in page.traces} == set(ECG_12.ch_names)
    dark = page.image.max(axis=2) < 150
    for trace in page.traces:
        x, y = np.round(trace.xy_px).astype(int).T
        inside = (y >= 0) & (y < len(dark))
        near = ndimage.binary_dilation(dark)[y[inside], x[inside]]
        assert near.all(), trace.lead


@pytest.mark.parametrize(("speed", "gain"), [(25.0, 5.0), (50.0, 20.0)])
def test_a_millivolt_and_a_second_have_their_size(speed, gain):
    step = np.zeros((12, 5000))
    step[:, 1000:] = 0.5  # at second 2
    page = draw(step, 500.0, Style(px_per_mm=4.0, scale=PaperScale(speed, gain), layout="12x1"))
    for trace in page.traces:
        rise = trace.xy_px[999, 1] - trace.xy_px[1000, 1]
        assert rise == pytest.approx(0.5 * gain * 4.0)
        assert trace.xy_px[500, 0] - trace.xy_px[0, 0] == pytest.approx(speed * 4.0)
    assert page.shown.shape == (12, round(250 / speed * 500))


def test_a_page_shows_each_lead_where_the_layout_has_it(x_mv):
    shown = draw(x_mv, 500.0, SMALL).shown
    there = np.isfinite(shown)
    # 3 x 4: 2.5 s a lead, lead II in full as the rhythm strip
    assert there.sum(axis=1).tolist() == [1250, 5000] + [1250] * 10
    assert there[ECG_12.ch_names.index("V6"), 3750:].all()
    np.testing.assert_array_equal(shown[there], x_mv[:, :5000][there])


def test_lines_of_the_grid_are_a_millimetre_apart():
    blank = draw(np.zeros((12, 5000)), 500.0, Style(px_per_mm=6.0, labels=False)).image.min(axis=2)
    row = blank[2].astype(float)  # above everything that is drawn
    size = np.abs(np.fft.rfft(row - row.mean()))
    # 297 periods of 1 mm on the page, and lines at every fifth
    assert np.argmax(size[200:400]) + 200 == 297
    assert size[round(297 / 5)] > 20 * np.median(size)


def test_the_worn_page_keeps_the_truth_of_its_samples(x_mv):
    rng = np.random.default_rng(0)
    page = draw(x_mv, 500.0, SMALL)
    crooked = worn(page, Wear(rotation_deg=5.0, perspective=0.05), rng)
    dark = ndimage.binary_dilation(crooked.image.max(axis=2) < 150)
    hits = []
    for trace in crooked.traces:
        x, y = np.round(trace.xy_px).astype(int).T
        hits.append(dark[y, x].mean())
    assert min(hits) > 0.97
    # anticlockwise: to the right is up
    first = crooked.traces[-1].xy_px
    slope = np.polyfit(*first.T, 1)[0]
    assert -np.tan(np.deg2rad(8)) < slope < -np.tan(np.deg2rad(2))


def test_the_same_seed_wears_alike_and_each_kind_of_wear_changes_the_page(x_mv):
    page = draw(x_mv, 500.0, SMALL)
    wear = drawn_wear(np.random.default_rng(5))
    a, b = (worn(page, wear, np.random.default_rng(1)).image for _ in range(2))
    np.testing.assert_array_equal(a, b)
    for one in (
        {"creases": 1}, {"shadow": 0.3}, {"rotation_deg": 1.0}, {"perspective": 0.02}, {"blur_px": 1.0},
        {"noise": 0.02}, {"jpeg_quality": 50}, {"grey": True},
    ):  # fmt: skip
        changed = worn(page, Wear(**one), np.random.default_rng(2)).image
        assert changed.shape == page.image.shape
        assert (changed != page.image).mean() > 0.005, one
    np.testing.assert_array_equal(worn(page, Wear(), np.random.default_rng(0)).image, page.image)


def test_the_printer_takes_off_what_is_above_150_hz():
    t = np.arange(5000) / 500
    x = np.sin(2 * np.pi * 20 * t) + np.sin(2 * np.pi * 220 * t)
    left = np.abs(np.fft.rfft(printed(np.tile(x, (12, 1)), 500.0)[0]))
    assert left[200] > 0.99 * 2500
    assert left[2200] < 0.1 * 2500
    low = np.ones((12, 1000))
    assert printed(low, 250.0) is low


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"layout": "2x6"}, "is none of 3x4"),
        ({"grid": "pink"}, "is none of red"),
        ({"px_per_mm": 1.0}, "between 2 and 24"),
    ],
)
def test_a_style_that_cannot_be_drawn_is_refused(options, reason):
    with pytest.raises(ValueError, match=reason):
        Style(**options)


def test_scales_that_no_paper_has_and_short_records_are_refused(x_mv):
    with pytest.raises(ValueError, match="speed=30"):
        PaperScale(30.0, 10.0)
    with pytest.raises(ValueError, match="gain=7"):
        PaperScale(25.0, 7.0)
    with pytest.raises(ValueError, match="12 leads of at least 5000"):
        draw(x_mv[:, :4999], 500.0)
    with pytest.raises(ValueError, match="12 leads"):
        draw(x_mv[:8], 500.0)
    assert set(GRIDS) >= {"red", "grey"}
