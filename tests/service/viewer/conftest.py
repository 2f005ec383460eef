"""Recordings of every awkward kind in one folder, and a server that shows them, in a thread of this process."""

import json
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import uvicorn

from service.settings import load_settings
from service.web.app import new_app
from service.web.server import open_server
from signals.electrodes import POSITIONS, TEN_TWENTY
from synthetic.recordings.files import write_edf
from synthetic.recordings.monitoring import Day, monitoring_day
from tests.service.live import free_port

CHROMIUM = Path("/usr/bin/chromium")
READY = "() => window.cerebeam?.figures.isWhole && window.cerebeam.state.header"
HOSTILE = '"><img src=x onerror=window.hit=1>'
"""A name that would run a script where a page took it for markup."""


@dataclass(frozen=True)
class Shown:
    """A running viewer."""

    url: str
    server: object
    folder: Path
    day: Day

    def page(self, name="day.edf", start=0):
        return f"{self.url}/app#recording={name}&t={start}"


def write_recording(path, names, seconds, sfreq, *, uv=30.0, onsets=None, notes=None):
    rng = np.random.default_rng(0)
    x = np.cumsum(rng.normal(0, uv / 8, (len(names), seconds * sfreq)), axis=1)
    x = x - np.linspace(0, 1, x.shape[1]) * x[:, -1:]
    write_edf(
        path, [np.clip(x, -3000, 3000).astype(np.float32)], file_format="edf" if onsets is None else "edf+d",
        ch_names=names, sfreq=sfreq,
        patient="x", record_onsets_s=range(seconds) if onsets is None else onsets, notes=notes,
    )  # fmt: skip


@pytest.fixture(scope="session")
def recordings(tmp_path_factory):
    """A folder: a monitored half hour, and files that are hard to show."""
    folder = tmp_path_factory.mktemp("recordings")
    day = monitoring_day(folder / "day.edf", hours=0.5, seed=3)
    write_recording(folder / "short.edf", TEN_TWENTY, 20, 128)
    write_recording(folder / "four.edf", ["F3", "F4", "O1", "O2"], 60, 128)
    many = [*TEN_TWENTY, *(name for name in POSITIONS if name not in TEN_TWENTY)]
    many = (many + [f"DC{number}" for number in range(256)])[:256]
    write_recording(folder / "many.edf", many, 20, 64)
    onsets = [second for second in range(200) if (second // 20) % 2 == 0]
    write_recording(folder / "gaps.edf", TEN_TWENTY, 100, 128, onsets=onsets, notes={3: (0.0, "Movement")})
    (folder / "cut.edf").write_bytes((folder / "short.edf").read_bytes()[:3000])
    (folder / "no_eeg.edf").write_bytes(b"not a recording at all")
    hostile = folder / f"{HOSTILE}.edf"
    write_recording(hostile, ["<b>Fp1</b>", "<svg/onload=x>", *TEN_TWENTY[2:]], 60, 128)
    return folder, day


@pytest.fixture(scope="session")
def browser():
    if not CHROMIUM.is_file():
        pytest.skip("Chromium is not installed")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield chromium
        chromium.close()


def opened(browser, url, *, wait=READY, width=1440, height=900, theme="light"):
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme)
    page = context.new_page()
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.goto(url)
    page.wait_for_function(wait, timeout=30_000)
    return page


def start(settings_of, *, with_jobs=False, ws="none"):
    """Return (url, server, how to end it) of a server in a thread."""
    port = free_port()
    settings = settings_of(port)
    server = open_server(settings, overrides=[], with_jobs=with_jobs)
    running = uvicorn.Server(
        uvicorn.Config(
            new_app(server), host="127.0.0.1", port=port, log_config=None, access_log=False, lifespan="off", ws=ws
        )
    )
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    until = time.monotonic() + 20
    while not running.started and time.monotonic() < until:
        time.sleep(0.02)

    def end():
        running.should_exit = True
        thread.join(10)
        server.close()

    return f"http://127.0.0.1:{port}", server, end


def settings_for(bundle, folder, data, *more):
    def of(port):
        return load_settings(
            None, [f"models.bundles={json.dumps([str(bundle)])}", f"system.data={data}", "system.workers=2",
                   f"dataset.recordings={folder}", f"deployment.port={port}", *more], {},
        )  # fmt: skip

    return of


@pytest.fixture(scope="session")
def shown(things, recordings, tmp_path_factory):
    folder, day = recordings
    url, server, end = start(settings_for(things.bundle, folder, tmp_path_factory.mktemp("viewer") / "var"))
    yield Shown(url=url, server=server, folder=folder, day=replace(day))
    end()
