"""The live wall and a bed's page in a real browser: alarms, pauses, samples, lost connection, hostile names."""

import re
import threading
import time
from dataclasses import dataclass

import numpy as np
import pytest

from service.live.source import Sender
from service.records import streams
from service.records.alarms import write_alarm
from signals.modality import EEG_1020
from tests.service.live_beds.test_bed import row
from tests.service.live_beds.test_board import hop
from tests.service.live_beds.test_pauses import alarm
from tests.service.test_gate import keys, token  # noqa: F401
from tests.service.viewer.conftest import HOSTILE, opened, settings_for, start
from tests.signals.streams.test_stream import noise

SOCKETS = "websockets-sansio"
THERE = "() => window.cerebeam?.frame.feed.isThere"


@dataclass
class Endless:
    """Samples at their own speed until the test is over."""

    ended: threading.Event
    sfreq: float = 200.0
    ch_names: tuple = (f"<b>{HOSTILE}", *EEG_1020.ch_names[1:])

    def __post_init__(self):
        self.x = noise(20)

    def first(self):
        return 0

    def read(self, start_at, n_times):
        time.sleep(0.2)
        if self.ended.is_set():
            return np.empty((19, 0), dtype=np.float32)
        return self.x[:, np.arange(start_at, start_at + n_times) % self.x.shape[1]]


@pytest.fixture(scope="module")
def walled(browser, things, tmp_path_factory):
    """A server with a bed that sends, one whose source has gone, and an alarm of each severity."""
    folder = tmp_path_factory.mktemp("wall")
    url, server, end = start(settings_for(things.bundle, folder, folder / "var"), ws=SOCKETS)
    ended = threading.Event()
    sender = Sender(url=url, bed="Bed A", samples=Endless(ended), chunk_s=0.5)
    thread = threading.Thread(target=lambda: sender.run(show=lambda _: None))
    thread.start()
    streams.begin_stream(server.engine, row(bed="B"))
    for n in range(12):
        streams.add_hop(server.engine, hop(10.0 * n, 0.9 if n > 5 else 0.2), [])
    for number, (severity, kind) in enumerate(
        (("low", "technical"), ("medium", "physiological"), ("high", "physiological"))
    ):
        write_alarm(server.engine, alarm(bed="B", name=str(number), severity=severity, kind=kind,
                                         condition=HOSTILE if number == 0 else "Seizure"))  # fmt: skip
    yield url, server
    ended.set()
    thread.join(30)
    end()


def test_the_wall_shows_beds_alarms_and_samples(browser, walled):
    url, _ = walled
    page = opened(browser, f"{url}/app/wall", wait="() => window.cerebeam?.cards.size === 2")
    assert sorted(page.locator(".card h3").all_inner_texts()) == ["Bed A", "Bed B"]
    page.wait_for_function("() => cerebeam.cards.get('Bed A').strip.pixels?.some((v) => v)", timeout=15_000)
    badges = page.locator("#alarms .badge").all_inner_texts()
    # The worst first, signs beside colours; later a low one that nothing comes from bed B.
    assert badges[:3] == ["!!! high", "!! medium", "! low"]
    of_b = page.locator(".card", has_text="Bed B").inner_text()
    assert "Seizure 90%" in of_b
    assert "50% of 100% answered" in of_b  # 6 of 12 hops are ictal
    assert "no source" in of_b
    assert page.locator(".lane .at.high").count() == 1
    assert page.evaluate("window.hit === undefined")
    assert page.locator("main img").count() == 0
    assert "<img" in page.locator("#alarms").inner_text()
    assert page.errors == []
    page.context.close()


def test_an_alarm_is_acknowledged_and_a_pause_is_seen_and_ended(browser, walled):
    url, server = walled
    write_alarm(server.engine, alarm(bed="Bed A", name="9", severity="medium", condition="Seizure"))
    page = opened(browser, f"{url}/app/wall", wait="() => window.cerebeam?.cards.size === 2")
    page.get_by_role("button", name="Pause alarm for 2 min; it ends by itself, bed Bed A").click()
    page.locator(".card .paused").wait_for()
    assert re.search(r"Alarm paused until \d\d:\d\d:\d\d", page.locator(".card .paused").inner_text())
    assert page.locator("#alarms li", has_text="Bed A").count() == 1  # paused, and still listed
    assert page.locator("#alarms li", has_text="Bed A").locator(".flashes").count() == 0
    page.get_by_role("button", name="Signal alarms again, bed Bed A").click()
    page.locator(".card .paused").wait_for(state="detached")
    page.locator("#alarms li", has_text="Bed A").locator(".flashes").wait_for()
    page.get_by_role("button", name="Acknowledge Seizure burden, bed Bed A").click()
    page.locator("#alarms li", has_text="seen by local").wait_for()
    page.locator(".card h3 a", has_text="Bed A").click()
    page.wait_for_function("() => window.cerebeam?.strip?.pixels?.some((v) => v)", timeout=15_000)
    assert page.locator("#bed-title").inner_text() == "Bed A"
    assert page.locator("#history li").count() == 1
    assert page.evaluate("cerebeam.strip.rows.length") >= 12
    page.goto("about:blank")
    page.goto(f"{url}/app/bed#bed=B")
    page.locator("#newest tbody tr").first.wait_for()
    assert page.locator("#newest tbody tr").count() == 8
    assert page.errors == []
    page.context.close()


def test_a_lost_connection_is_shown_within_2_s_and_resumed(browser, walled):
    url, server = walled
    page = opened(browser, f"{url}/app/wall", wait=THERE)
    page.context.set_offline(True)
    page.locator("#lost").wait_for(state="visible", timeout=2_000)
    write_alarm(server.engine, alarm(bed="B", name="7", severity="low", condition="while away"))
    page.context.set_offline(False)
    page.locator("#lost").wait_for(state="hidden", timeout=6_000)
    page.locator("#alarms li", has_text="while away").wait_for()
    page.context.close()


@pytest.mark.parametrize(("width", "theme", "place"), [(1440, "light", "wall"), (390, "dark", "bed#bed=B")])
def test_axe_finds_nothing_serious_and_nothing_overflows(browser, walled, width, theme, place):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = opened(browser, f"{walled[0]}/app/{place}", wait=THERE, width=width, height=844, theme=theme)
    page.wait_for_timeout(1500)
    found = [
        (one["id"], one["impact"], [node["html"][:120] for node in one["nodes"]][:3])
        for one in axe.run(page).response["violations"]
        if one["impact"] in ("serious", "critical")
    ]
    overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    page.context.close()
    assert found == []
    assert overflow <= 0


def test_without_beds_or_permission_the_page_names_what_to_do(browser, things, tmp_path, keys):  # noqa: F811
    more = ("deployment.profile=production", f"deployment.jwks={keys[1]}")
    url, server, end = start(settings_for(things.bundle, tmp_path, tmp_path / "var", *more), ws=SOCKETS)
    try:
        wait = "() => /Sign in/.test(document.querySelector('#state').textContent)"
        page = opened(browser, f"{url}/app/wall", wait=wait)
        page.get_by_label("Token").fill(token(keys))
        page.get_by_role("button", name="Open").click()
        page.get_by_text("cerebeam live --replay FILE").wait_for()
        write_alarm(server.engine, alarm(bed="B"))
        page.get_by_role("button", name="Acknowledge").click()  # a reader may look and no more
        page.get_by_text("Not done: ").wait_for()
        assert page.errors == []
        page.context.close()
    finally:
        end()
