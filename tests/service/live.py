"""A real server process on a free port, and its end."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import httpx

ROOT = Path(__file__).parent.parent.parent


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@dataclass
class Live:
    """A process of cerebeam serve."""

    process: subprocess.Popen
    port: int
    log: Path

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def kill(self):
        self.process.kill()
        self.process.wait()

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)


def start(folder, bundles, *overrides, port=None, wait=True):
    """Return a running server whose data lies in a folder; its log goes on where an earlier one ended."""
    port = port or free_port()
    paths = [str(path) for path in bundles]
    options = [f"models.bundles={json.dumps(paths)}", f"system.data={folder / 'var'}", f"deployment.port={port}"]
    command = [sys.executable, "-m", "service.serve"]
    for option in (*options, *overrides):
        command += ["--set", option]
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(command, cwd=folder, env=env, stderr=log, stdout=log)
    live = Live(process, port, folder / "log")
    if wait:
        until_ready(live)
    return live


def until_ready(live, seconds=180):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert live.process.poll() is None, live.log.read_text()
        try:
            if httpx.get(f"{live.url}/ready", timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError(live.log.read_text())
