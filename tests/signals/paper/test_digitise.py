import numpy as np
import pytest

from evaluation.measures.snr import snr_db
from signals.paper.digitise import digitise
from signals.paper.grid import flatten
from signals.paper.ink import UnreadablePageError, darkness
from signals.paper.layout import PaperScale
from signals.paper.overlay import overlay
from synthetic.heart.leads import NoiseLevels, generate
from synthetic.paper.draw import Style, draw
from synthetic.paper.wear import Wear, worn

PX = 6.0


@pytest.fixture(scope="module")
def x_mv():
    return generate(np.random.default_rng(1), "normal", noise=NoiseLevels(muscle=0.002, mains=0.0)).x_mv


@pytest.fixture(scope="module")
def page(x_mv):
    return draw(x_mv, 500.0, Style(px_per_mm=PX))


@pytest.fixture(scope="module")
def found(page):
    return digitise(page.image)


def ratios(page, found):
    return [snr_db(a, b, 500.0) for a, b in zip(page.shown, found.x_mv, strict=True)]


def test_a_clean_page_comes_back_in_millivolts(page, found):
    assert (found.layout, found.scale) == ("3x4", PaperScale(25.0, 10.0))
    assert found.px_per_mm == pytest.approx(PX, rel=1e-3)
    assert found.rotation_deg == pytest.approx(0.0, abs=0.02)
    np.testing.assert_array_equal(np.isfinite(found.x_mv), np.isfinite(page.shown))
    assert np.mean(ratios(page, found)) > 15.0  # 6 pixels a millimetre: 150 columns a second
    # in place, without the shift that the measure allows: a sample of the picture is 6.7 ms
    there = np.isfinite(page.shown[1])
    lags = [np.corrcoef(page.shown[1, 20:-20], found.x_mv[1, 20 + d : 4980 + d])[0, 1] for d in range(-10, 11)]
    assert abs(np.argmax(lags) - 10) <= 3
    assert abs((found.x_mv - page.shown)[1, there].mean()) < 0.02


def test_what_is_drawn_over_the_page_lies_on_its_ink(found):
    picture = overlay(found)
    drawn = picture[..., 0] != picture[..., 1]
    height, width = drawn.shape
    ink = (
        found.flat.ink[: 3 * height, : 3 * width].reshape(height, 3, width, 3).max(axis=(1, 3)) > 0.5 * found.flat.level
    )
    assert ink[drawn].mean() > 0.97
    assert ink[np.roll(drawn, 5, axis=0)].mean() < 0.6
    # Every column from the first sample to the last has all four rows.
    columns = drawn.any(axis=0)
    assert columns.sum() == pytest.approx(250 * 4, abs=2)  # 250 mm at 4 pixels


def test_a_crooked_page_in_perspective_is_made_flat(x_mv, page):
    rng = np.random.default_rng(0)
    crooked = worn(page, Wear(rotation_deg=-4.0, perspective=0.04, shadow=0.3, creases=1, noise=0.01), rng)
    found = digitise(crooked.image)
    assert found.rotation_deg == pytest.approx(-4.0, abs=1.5)  # perspective turns it, too, from place to place
    assert np.mean(ratios(page, found)) > 12.0


@pytest.mark.parametrize("n_turns", [1, 2])
def test_a_page_on_its_side_or_its_head_is_turned(page, n_turns):
    found = digitise(np.rot90(page.image, n_turns))
    assert found.rotation_deg % 360 == pytest.approx(90 * n_turns, abs=0.1)
    assert np.mean(ratios(page, found)) > 15.0


def test_gain_speed_and_layout_are_read_from_the_page(x_mv):
    scale = PaperScale(50.0, 5.0)
    page = draw(x_mv, 500.0, Style(px_per_mm=PX, scale=scale, layout="12x1", grid="blue"))
    found = digitise(page.image)
    assert (found.layout, found.scale) == ("12x1", scale)
    assert found.x_mv.shape == (12, 2500)  # 5 s at 50 mm/s
    assert np.median(ratios(page, found)) > 12.0


def test_a_grey_scan_is_read_too(x_mv):
    page = draw(x_mv, 500.0, Style(px_per_mm=PX, grid="grey"))
    found = digitise(worn(page, Wear(grey=True, noise=0.01), np.random.default_rng(1)).image)
    assert np.mean(ratios(page, found)) > 14.0


def test_the_grid_gives_scale_and_rotation(page):
    turned = worn(page, Wear(rotation_deg=3.0), np.random.default_rng(0))
    flat = flatten(darkness(turned.image))
    assert flat.rotation_deg == pytest.approx(3.0, abs=0.05)
    corner = turned.traces[0].xy_px
    length = np.hypot(*(corner[-1] - corner[0])[:2]) / np.hypot(*(page.traces[0].xy_px[-1] - page.traces[0].xy_px[0]))
    assert flat.px_per_mm == pytest.approx(PX * length, rel=0.01)


def test_a_lead_that_is_scratched_out_is_refused(page):
    image = page.image.copy()
    image[:, 700:900] = 255
    with pytest.raises(UnreadablePageError, match=r"^the trace of lead \S+ is lost in \d+% of its length$"):
        digitise(image)


HOSTILE = {
    "no trace found": np.full((600, 900, 3), 250, dtype=np.uint8),
    "no grid found": np.random.default_rng(0).integers(0, 255, (700, 900, 3)).astype(np.uint8),
    "too small": np.zeros((200, 200, 3), dtype=np.uint8),
}


@pytest.mark.parametrize("reason", HOSTILE)
def test_what_is_no_page_is_refused_in_one_line(reason):
    with pytest.raises(UnreadablePageError, match=reason) as caught:
        digitise(HOSTILE[reason])
    assert "\n" not in str(caught.value)


def test_pages_without_pulses_and_with_unknown_rows_are_refused(page):
    without = page.image.copy()
    without[:, : round(20.5 * PX)] = without[:, round(260 * PX) : round(260 * PX) + round(20.5 * PX)]
    with pytest.raises(UnreadablePageError, match="no calibration pulses"):
        digitise(without)
    short = page.image.copy()
    row = slice(round(165 * PX), round(190 * PX))  # the last row's pulse
    short[row] = short[: row.stop - row.start]
    with pytest.raises(UnreadablePageError, match="3 rows with a calibration pulse found; layouts are 3x4 of 4"):
        digitise(short)
    with pytest.raises(UnreadablePageError, match="4 rows with a calibration pulse found, and 12x1 was given"):
        digitise(page.image, layout="12x1")
