"""The viewer in a real browser: what is drawn, what keys do, what a hostile file cannot do."""

import re

import numpy as np
import pytest

from service.viewer.pages import STATIC
from tests.service.test_gate import keys, token  # noqa: F401
from tests.service.viewer.conftest import HOSTILE, READY, opened, settings_for, start


@pytest.fixture(scope="session")
def session_page(browser, shown):
    """One page for all tests that only look."""
    page = opened(browser, shown.page())
    yield page
    page.context.close()


@pytest.fixture
def page(session_page):
    """The page as it was opened: 10 s from the beginning."""
    session_page.evaluate("cerebeam.actions.home(); cerebeam.actions.close()")
    yield session_page
    assert session_page.errors == []


def state(page, name):
    return page.evaluate(f"cerebeam.state.{name}")


def settle(page):
    page.wait_for_function(READY + " && cerebeam.figures.start === cerebeam.state.start", timeout=20_000)


def test_traces_of_every_row_are_drawn(page):
    """Between two labels' heights there are coloured pixels in every tenth of the width."""
    settle(page)
    share = page.evaluate("""() => {
        const {lines, places, ratio, gutter, wide, pixels, space} = cerebeam.traces, width = lines.width;
        return places.map(({y}) => {
            let tenths = 0;
            for (let k = 0; k < 10; k++) {
                let seen = false;
                for (let x = Math.floor(gutter * ratio + wide * k / 10); x < gutter * ratio + wide * (k + 1) / 10; x++)
                    for (let d = -space; d <= space; d++) seen ||= pixels[Math.round(y + d) * width + x] !== 0;
                tenths += seen;
            }
            return tenths;
        });
    }""")
    assert len(share) == 18
    assert min(share) == 10


def test_no_extreme_is_lost_at_2000_random_zooms(page):
    """What a column draws of samples is the minimum and maximum of exactly its samples, by brute force with NumPy."""
    rng = np.random.default_rng(0)
    n, width = 3000, 37
    x = np.cumsum(rng.normal(0, 5, n)).astype(np.float32)
    x[rng.integers(0, n, 40)] += 500
    x[700:760] = np.nan
    zooms = [(float(rng.uniform(0, n * 0.9)), float(np.exp(rng.uniform(np.log(1.0), np.log(60))))) for _ in range(2000)]
    drawn = page.evaluate("""async ([x, zooms, width]) => {
        const {columnExtremes} = await import("/app/extremes.js");
        const samples = Float32Array.from(x, (v) => v === null ? NaN : v);
        const low = new Float32Array(width), high = new Float32Array(width);
        return zooms.map(([start, per]) => {
            columnExtremes(samples, samples.length, 0, start, per, width, low, high);
            return [low, high].map((values) => Array.from(values, (v) => Number.isNaN(v) ? null : v));
        });
    }""", [[None if np.isnan(v) else float(v) for v in x], zooms, width])  # fmt: skip
    columns = np.array(drawn, dtype=np.float32)  # None is NaN
    filled_low, filled_high = (np.append(np.where(np.isnan(x), v, x), v) for v in (np.inf, -np.inf))
    lost = 0
    for (start_at, per), (low, high) in zip(zooms, columns, strict=True):
        edges = np.clip(np.ceil(start_at + np.arange(width + 1) * per), 0, n).astype(int)
        least, most = (f.reduceat(v, edges)[:-1] for f, v in ((np.minimum, filled_low), (np.maximum, filled_high)))
        there = (edges[1:] > edges[:-1]) & (least <= most)
        lost += np.count_nonzero((low != least)[there]) + np.count_nonzero((high != most)[there])
    assert lost == 0


def test_100_microvolts_are_as_many_millimetres_as_set(page):
    """At 10 µV/mm 100 µV are 10 mm, 37.8 pixels of 1/96 inch: the run of painted pixels is as long within one."""
    for uv_per_mm, high in ((10, 37.8), (7, 54.0), (50, 7.56)):
        top, bottom = page.evaluate("""async ([uv]) => {
            const {paint} = await import("/app/extremes.js");
            cerebeam.state.sensitivity = uv;
            const gain = cerebeam.traces.gain({kind: "eeg"});
            const pixels = new Uint32Array(3 * 200);
            paint(pixels, 3, 200, 0, new Float32Array([0, -50, 0]), new Float32Array([0, 50, 0]), 3, 100, gain, 1, 1);
            const seen = [];
            for (let y = 0; y < 200; y++) if (pixels[y * 3 + 1] >>> 24 > 127) seen.push(y);
            return [seen[0], seen[seen.length - 1]];
        }""", [uv_per_mm])  # fmt: skip
        assert abs((bottom - top) - high) <= 1.0
    page.evaluate("cerebeam.state.sensitivity = 10")


def test_negative_is_up(page):
    assert page.evaluate("cerebeam.traces.gain({kind: 'eeg'}) > 0")  # y grows downwards
    page.keyboard.press("i")
    assert page.evaluate("cerebeam.traces.gain({kind: 'eeg'}) < 0")
    page.keyboard.press("i")


def test_the_keyboard_does_everything(page):
    page.locator("#traces").focus()
    page.keyboard.press("PageDown")
    assert state(page, "start") == 10
    page.keyboard.press("ArrowRight")
    assert 11 <= state(page, "start") < 15
    page.keyboard.press("Home")
    assert state(page, "start") == 0
    page.keyboard.press("End")
    assert state(page, "start") == 1790
    for number, name in enumerate(("recorded", "average", "longitudinal", "transverse", "laplacian"), start=1):
        page.keyboard.press(str(number))
        assert state(page, "montage") == name
    page.keyboard.press("3")
    before = state(page, "sensitivity")
    page.keyboard.press("ArrowDown")
    assert state(page, "sensitivity") > before
    page.keyboard.press("ArrowUp")
    page.keyboard.press("-")
    assert state(page, "page") == 15
    page.keyboard.press("+")
    page.keyboard.press("0")
    assert state(page, "page") >= 1800
    settle(page)
    page.keyboard.press("0")
    assert state(page, "page") == 10
    settle(page)
    page.evaluate("() => new Promise((done) => setTimeout(done, 150))")  # the page is read out 120 ms after it came
    page.keyboard.press("c")
    page.keyboard.press("Alt+ArrowRight")
    assert re.search(r"microvolts, [\d.]+ seconds, [\d.]+ hertz", page.locator("#spoken").inner_text())
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.type("0:02:05")
    page.keyboard.press("Enter")
    assert state(page, "start") == 125
    page.keyboard.press("?")
    assert page.locator("#keys").is_visible()
    page.keyboard.press("Escape")
    theme = page.evaluate("document.documentElement.dataset.theme")
    page.keyboard.press("t")
    assert page.evaluate("document.documentElement.dataset.theme") != theme
    page.keyboard.press("t")


def test_holding_an_arrow_scrolls_and_letting_go_stops(page):
    page.locator("#traces").focus()
    page.keyboard.down("ArrowRight")
    page.wait_for_function("() => cerebeam.state.start > 4", timeout=10_000)
    page.keyboard.up("ArrowRight")
    at = state(page, "start")
    page.wait_for_timeout(200)
    assert state(page, "start") == pytest.approx(at, abs=1.0)


def test_words_for_who_cannot_see_it(page):
    page.keyboard.press("PageDown")
    page.wait_for_function("() => document.querySelector('#spoken').textContent.includes('00:00:10 to 00:00:20')")
    assert "Longitudinal bipolar" in page.locator("#traces").get_attribute("aria-label")
    page.locator("#tab-annotations").click()
    table = page.locator("#annotations table")
    assert table.locator("tbody tr").count() >= 1
    table.locator("tbody button").first.click()
    assert state(page, "selected.kind") == "annotation"
    page.locator("#tab-findings").click()


@pytest.mark.parametrize(("width", "theme"), [(1440, "light"), (390, "dark")])
def test_axe_finds_nothing_serious(browser, shown, width, theme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = opened(browser, shown.page(), width=width, height=844, theme=theme)
    page.wait_for_function("() => cerebeam.state.trends", timeout=30_000)
    found = [
        (one["id"], one["impact"], [node["html"][:120] for node in one["nodes"]][:3])
        for one in axe.run(page).response["violations"]
        if one["impact"] in ("serious", "critical")
    ]
    overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    page.context.close()
    assert found == []
    assert overflow <= 0


@pytest.mark.parametrize(
    ("name", "words"),
    [("cut.edf", "This recording cannot be opened"), ("no_eeg.edf", "This recording cannot be opened")],
)
def test_a_refused_recording_has_its_reason(browser, shown, name, words):
    page = opened(
        browser,
        shown.page(name),
        wait="() => /cannot be opened/.test(document.querySelector('#state').textContent)",
    )
    text = page.locator("#state").inner_text()
    page.context.close()
    assert words in text
    assert len(text) > len(words) + 20


def test_many_channels_few_channels_gaps_and_20_s(browser, shown):
    page = opened(browser, shown.page("many.edf"))
    page.keyboard.press("1")
    settle(page)
    assert page.evaluate("cerebeam.traces.places.length") < 256
    page.keyboard.press("Shift+ArrowDown")
    page.wait_for_function("() => cerebeam.traces.firstRow === 4")
    for name in ("four.edf", "gaps.edf", "short.edf"):
        page.goto("about:blank")
        page.goto(shown.page(name))
        page.wait_for_function(READY, timeout=20_000)
        assert page.errors == []
    page.goto("about:blank")
    page.goto(shown.page("four.edf"))
    page.wait_for_function(READY)
    assert page.locator("#montage option[value=laplacian]").is_disabled()
    page.context.close()


def test_markup_in_names_stays_text(browser, shown):
    page = opened(browser, f"{shown.url}/app", wait=READY)
    page.locator("#recording").select_option(f"{HOSTILE}.edf")
    page.wait_for_function("() => cerebeam.state.name.startsWith('\"')" + " && cerebeam.state.header")
    page.keyboard.press("1")
    page.evaluate(
        "cerebeam.state.header.annotations.push({start_s: 1, duration_s: 0, text: '<img src=x onerror=window.hit=1>'})"
    )
    page.locator("#theme").click()
    page.locator("#tab-annotations").click()
    page.wait_for_timeout(200)
    assert page.evaluate("window.hit === undefined")
    assert page.locator("main img, header img").count() == 0
    assert "<img" in page.locator("#annotations").inner_text()
    assert page.errors == []
    page.context.close()


def test_a_stretch_is_labelled_withdrawn_and_counted(browser, shown):
    page = opened(browser, shown.page("gaps.edf", 60))
    page.locator("#traces").focus()
    page.keyboard.press("r")
    page.locator("#review .labels button", has_text="LRDA").click()
    page.locator("#review table tbody tr").first.wait_for()
    assert "LRDA" in page.locator("#review table").first.inner_text()
    assert page.evaluate("cerebeam.state.events.some((one) => one.label === 'You: LRDA')")
    page.get_by_role("button", name="Withdraw LRDA").click()
    page.wait_for_function("() => /labelled nothing/.test(document.querySelector('#review').textContent)")
    assert page.errors == []
    page.context.close()


def test_a_lost_connection_is_shown_within_2_s_and_ends_by_itself(browser, shown):
    page = opened(browser, shown.page())
    page.context.set_offline(True)
    page.locator("#lost").wait_for(state="visible", timeout=2_000)
    page.keyboard.press("End")
    page.context.set_offline(False)
    page.locator("#lost").wait_for(state="hidden", timeout=5_000)
    settle(page)
    page.context.close()


def test_without_recordings_the_page_names_what_to_do(browser, things, tmp_path):
    url, _, end = start(settings_for(things.bundle, tmp_path, tmp_path / "var"))
    try:
        page = opened(
            browser, f"{url}/app", wait="() => /No recordings yet/.test(document.querySelector('#state').textContent)"
        )
        assert "--recordings" in page.locator("#state").inner_text()
        page.context.close()
    finally:
        end()


def test_a_token_is_wanted_and_taken(browser, shown, things, tmp_path, keys):  # noqa: F811
    more = ("deployment.profile=production", f"deployment.jwks={keys[1]}")
    url, _, end = start(settings_for(things.bundle, shown.folder, tmp_path / "var", *more))
    try:
        page = opened(
            browser,
            f"{url}/app#recording=day.edf",
            wait="() => /Sign in/.test(document.querySelector('#state').textContent)",
        )
        page.get_by_label("Token").fill("nonsense")
        page.get_by_role("button", name="Open").click()
        page.wait_for_function("() => /not valid/.test(document.querySelector('#state').textContent)")
        page.get_by_label("Token").fill(token(keys))
        page.get_by_role("button", name="Open").click()
        page.wait_for_function(READY, timeout=20_000)
        assert page.evaluate("Object.keys(localStorage).every((key) => !localStorage[key].includes('eyJ'))")
        page.context.close()
    finally:
        end()


def test_a_whole_day_on_one_page_keeps_its_extremes(page, shown):
    """Drawn columns of the overview against those of the server's samples, at the width of the screen."""
    page.keyboard.press("0")
    page.evaluate(
        "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
    )  # it is drawn
    page.wait_for_function("() => cerebeam.traces.plan().step > 1 && cerebeam.figures.isWhole", timeout=30_000)
    step, low, high = page.evaluate("""() => {
        const {traces} = cerebeam, plan = traces.plan(), {first, count} = traces.range(plan, 0);
        traces.extremes(0, first, count, plan, traces.wide);
        return [plan.step, Array.from(traces.columnLow.slice(0, 300)), Array.from(traces.columnHigh.slice(0, 300))];
    }""")
    page.keyboard.press("0")
    from tests.service.viewer.test_routes import reference

    x = reference(shown).read(0, 300 * step)[0].reshape(300, step)
    np.testing.assert_allclose(low, x.min(axis=1), atol=0.2)
    np.testing.assert_allclose(high, x.max(axis=1), atol=0.2)


def test_modules_request_nothing_from_elsewhere():
    for path in STATIC.iterdir():
        links = re.findall(r"https?://[^\s\"')]+", path.read_text())
        assert [link for link in links if not link.startswith("http://www.w3.org/2000/svg")] == [], path.name
