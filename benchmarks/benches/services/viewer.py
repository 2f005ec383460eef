"""make bench-viewer: the viewer in headless Chromium on a recording of 24 h; figures stand in docs/results/serving.md.

    python -m benchmarks viewer [--hours 24] [--pages 100] [--zooms 2000] [--scroll-s 10] [--desktop PYTHON]
                                [--work DIR]

--desktop measures mne-qt-browser on the same file (python -m venv QT; QT/bin/pip install mne-qt-browser PySide6;
--desktop QT/bin/python). Server, browser and bench share the machine.
The small form: --hours 0.5 --pages 10 --zooms 50 --scroll-s 2.
"""

import argparse
import json
import os
import struct
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.benches.load.server import ROOT, Process, service
from benchmarks.benches.load.tab import tab
from benchmarks.harness import figure, machine
from service.viewer.packing import MISSING
from service.viewer.pages import STATIC
from service.viewer.routes import DIRECT_STEP
from signals.readers.registry import open_recording
from signals.viewing.envelope import BIN
from signals.viewing.filters import ViewFilter
from signals.viewing.montages import view_montage
from signals.viewing.traces import Traces
from synthetic.recordings.long_recording import long_recording
from synthetic.recordings.monitoring import monitoring_day
from tests.service.conftest import write_small_bundle

SFREQ, COLUMNS, CHROMIUM = 256, 1440, "/usr/bin/chromium"
READY = "() => window.cerebeam?.figures.isWhole && window.cerebeam.state.header"
TURN = """async () => {
    const began = performance.now(), {actions, state, figures} = cerebeam;
    actions.page(1);
    while (!(figures.start === state.start && figures.isWhole)) await new Promise(requestAnimationFrame);
    return performance.now() - began;
}"""
PAGE_THROUGH = """(async () => {
    const {actions, state, figures} = cerebeam;
    actions.home();
    document.querySelector("#page").value = 60;
    document.querySelector("#page").dispatchEvent(new Event("change"));
    while (state.start + state.page < state.duration - 1) {
        actions.page(1);
        while (!(figures.start === state.start && figures.isWhole)) await new Promise(requestAnimationFrame);
    }
})()"""
SCROLL = """async (seconds) => {
    const times = [];
    cerebeam.actions.hold(1);
    await new Promise((done) => setTimeout(done, 500));
    const until = performance.now() + 1000 * seconds;
    let painted = cerebeam.figures.painted;
    while (performance.now() < until) {
        await new Promise(requestAnimationFrame);
        if (cerebeam.figures.painted !== painted && cerebeam.figures.isWhole) times.push(performance.now());
        painted = cerebeam.figures.painted;
    }
    cerebeam.actions.release();
    return times;
}"""


class Api:
    """Requests to one server."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def get(self, path: str, **values: Any) -> tuple[int, bytes]:
        """Return status and body."""
        with urllib.request.urlopen(f"{self.url}{path}?{urllib.parse.urlencode(values)}", timeout=60) as reply:
            return reply.status, reply.read()

    def traces(self, name: str, *, step: int, first: int, count: int, montage: str = "longitudinal") -> bytes:
        """Return packed traces, when they are there."""
        values = {"recording": name, "step": step, "first": first, "count": count, "montage": montage}
        while (answer := self.get("/api/viewer/traces", **values))[0] == 202:
            time.sleep(0.02)
        return answer[1]


def unpack(content: bytes) -> np.ndarray:
    """Return the samples or extremes of a reply, µV, NaN where missing, and half a step as their error."""
    (length,) = struct.unpack("<I", content[4:8])
    places = json.loads(content[8 : 8 + length])["arrays"]
    arrays = {
        name: np.frombuffer(content, one["type"], int(np.prod(one["shape"])), 8 + length + one["offset"]).reshape(
            one["shape"]
        )
        for name, one in places.items()
    }  # fmt: skip
    x = np.where(arrays["x"] == MISSING, np.nan, arrays["x"] * arrays["scale"][:, None, None])
    return np.stack([x, np.broadcast_to(arrays["scale"][:, None, None], x.shape)])


def browser_figures(url: str, *, pages: int, scroll_s: float) -> None:
    """Print what the browser measures: first page, page turns, scrolling, memory."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": 1440, "height": 900})
        page.goto(f"{url}/app#recording=long.edf")
        page.wait_for_function(READY, timeout=60_000, polling="raf")
        figure("viewer_first_page_s", page.evaluate("performance.now()") / 1e3, "s")
        page.wait_for_function("() => cerebeam.state.trends", timeout=600_000)
        turns = []
        for _ in range(pages):
            turns.append(page.evaluate(TURN))
            page.wait_for_timeout(250)
        figure("viewer_page_p50_ms", float(np.median(turns)), "ms")
        figure("viewer_page_p95_ms", float(np.percentile(turns, 95)), "ms")
        times = np.array(page.evaluate(SCROLL, scroll_s))
        gaps = np.diff(times)
        figure("viewer_scroll_fps_p50", 1e3 / float(np.median(gaps)), "1/s")
        figure("viewer_scroll_fps_p5", 1e3 / float(np.percentile(gaps, 95)), "1/s")
        figure("viewer_draw_ms", float(page.evaluate("cerebeam.traces.drawMs")), "ms")
        figure("viewer_axe_serious", _axe(chromium, url), "findings")
        chromium.close()


def desktop_figures(python: str, file: Path, *, pages: int) -> None:
    """Print what mne-qt-browser of another Python takes for the same file, without a screen."""
    command = [python, "-m", "benchmarks.benches.load.desktop", str(file), "--pages", str(pages)]
    env = os.environ | {"QT_QPA_PLATFORM": "offscreen", "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, env=env, capture_output=True, text=True, timeout=1800, check=False)
    if ended.returncode:
        sys.exit(f"benchmarks: mne-qt-browser failed: {ended.stderr.strip().splitlines()[-1:]}")
    times = json.loads(ended.stdout.splitlines()[-1])
    figure("mne_qt_first_page_s", times["first_s"], "s, everything imported")
    figure("mne_qt_first_page_cold_s", times["cold_s"], "s")
    figure("mne_qt_page_p50_ms", float(np.median(times["turns_ms"])), "ms")
    figure("mne_qt_page_p95_ms", float(np.percentile(times["turns_ms"], 95)), "ms")


def tab_figures(url: str, folder: Path) -> None:
    """Print the memory of a tab after the whole recording was paged through, a minute at a time."""
    with tab(CHROMIUM, f"{url}/app#recording=long.edf", folder) as page:
        page.wait_for(f"({READY})()", timeout_s=60)
        page.evaluate(PAGE_THROUGH)
        figure("viewer_tab_mb", page.memory_mb("VmRSS"), "MB")
        figure("viewer_tab_private_mb", page.memory_mb("RssAnon"), "MB")
        page.collect()
        figure("viewer_tab_collected_mb", page.memory_mb("RssAnon"), "MB private after garbage collection")


def _axe(chromium: Any, url: str) -> int:
    from axe_playwright_python.sync_playwright import Axe

    n_found = 0
    for width in (390, 1440):
        for theme in ("light", "dark"):
            context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
            page = context.new_page()
            page.goto(f"{url}/app#recording=day.edf")
            page.wait_for_function(READY, timeout=60_000)
            found = Axe().run(page).response["violations"]
            n_found += sum(one["impact"] in ("serious", "critical") for one in found)
            context.close()
    return n_found


def server_figures(api: Api, hours: float) -> None:
    """Print overview times and sizes."""
    step = -(-int(hours * 3600 * SFREQ) // COLUMNS)
    step = step if step < DIRECT_STEP else -(-step // BIN) * BIN
    for name in ("viewer_overview_s", "viewer_overview_again_s"):
        began = time.perf_counter()
        overview = api.traces("long.edf", step=step, first=0, count=COLUMNS, montage="recorded")
        figure(name, time.perf_counter() - began, "s")
    page = api.traces("long.edf", step=1, first=1_000, count=10 * SFREQ, montage="recorded")
    figure("viewer_page_kb", len(page) / 1e3, "kB")
    figure("viewer_overview_kb", len(overview) / 1e3, "kB")
    figure("viewer_js_kb", sum(path.stat().st_size for path in STATIC.glob("*.js")) / 1e3, "kB")


def extremes_lost(api: Api, file: Path, *, zooms: int) -> None:
    """Print how many columns of random zooms do not hold the extremes of their samples, by brute force."""
    recording, rng = open_recording(str(file)), np.random.default_rng(0)
    traces = Traces(
        recording=recording, montage=view_montage(recording, "longitudinal", sfreq=float(SFREQ)),
        filter=ViewFilter(sfreq=float(SFREQ), l_freq=0.5, h_freq=70.0),
    )  # fmt: skip
    x, lost = traces.read(0, traces.n_times), 0
    for _ in range(zooms):
        step = int(np.exp(rng.uniform(np.log(2), np.log(20 * DIRECT_STEP))))
        step = step if step < DIRECT_STEP else -(-step // BIN) * BIN
        count = int(rng.integers(1, 41))
        first = int(rng.integers(0, max(1, x.shape[1] // step - count)))
        drawn, error = unpack(api.traces(file.name, step=step, first=first, count=count))
        part = x[:, first * step : (first + count) * step]
        part = np.pad(part, [(0, 0), (0, -part.shape[1] % step)], constant_values=np.nan).reshape(len(x), -1, step)
        wanted = np.stack([np.fmin.reduce(part, axis=-1), np.fmax.reduce(part, axis=-1)], axis=-1)
        wrong = ~(np.abs(drawn[:, : wanted.shape[1]] - wanted) <= error[:, : wanted.shape[1]] * 0.6 + 1e-2)
        lost += int((wrong & ~(np.isnan(drawn[:, : wanted.shape[1]]) & np.isnan(wanted))).sum())
    figure("viewer_extremes_lost", lost, f"columns of {zooms} zooms")


def main() -> None:
    """Run all parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--pages", type=int, default=100)
    parser.add_argument("--zooms", type=int, default=2000)
    parser.add_argument("--scroll-s", type=float, default=10.0)
    parser.add_argument("--desktop", metavar="PYTHON", help="also measure mne-qt-browser, installed in this Python")
    parser.add_argument("--work", type=Path)
    args = parser.parse_args()
    if not Path(CHROMIUM).is_file():
        sys.exit(f"benchmarks: {CHROMIUM} is not installed")
    if args.desktop is not None and not os.environ.get("DISPLAY"):
        sys.exit("benchmarks: mne-qt-browser wants an X display: start Xvfb :99 and set DISPLAY=:99")
    print(machine())
    with tempfile.TemporaryDirectory(dir=args.work) as folder:
        work = Path(folder)
        (work / "recordings").mkdir()
        long_recording(work / "recordings" / "long.edf", hours=args.hours, n_chans=19, sfreq=SFREQ, seed=0)
        monitoring_day(work / "recordings" / "day.edf", hours=0.5)
        command = service(write_small_bundle(work / "bundle"), work, f"dataset.recordings={work / 'recordings'}")
        with Process(work, command) as server:
            url = f"http://127.0.0.1:{server.port}"
            browser_figures(url, pages=args.pages, scroll_s=args.scroll_s)
            tab_figures(url, work / "browser")
            if args.desktop is not None:
                desktop_figures(args.desktop, work / "recordings" / "long.edf", pages=args.pages)
        with Process(work, command) as server:  # nothing is made yet
            api = Api(server.port)
            server_figures(api, args.hours)
            extremes_lost(api, work / "recordings" / "day.edf", zooms=args.zooms)


if __name__ == "__main__":
    main()
