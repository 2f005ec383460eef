"""A server of the service as a process of its own, and a request for it."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import orjson

from benchmarks.benches.load.clients import request_bytes

ROOT = Path(__file__).parents[3]


class Process(AbstractContextManager["Process"]):
    """A server process on a free port."""

    def __init__(self, work: Path, command: Callable[[int], list[str]], *, port: int | None = None) -> None:
        """Start it and wait until it is ready."""
        self.port, self.log = port or free_port(), work / "server.log"
        env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command(self.port), stdout=log, stderr=log, env=env, cwd=work)
        until = time.monotonic() + 300
        while not self._is_ready():
            if self.process.poll() is not None or time.monotonic() > until:
                sys.exit(f"the server did not start, see {self.log}")
            time.sleep(0.1)

    def _is_ready(self) -> bool:
        try:
            return self.get("/ready") is not None
        except (urllib.error.URLError, OSError):
            return False

    def get(self, path: str, *, token: str = "") -> str:
        """Return what a GET brings."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers=headers)
        with urllib.request.urlopen(request, timeout=10) as reply:
            return str(reply.read().decode())

    def rss_mb(self) -> float:
        """Return the resident memory, MB."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def service(bundle: Path, work: Path, *options: str) -> Callable[[int], list[str]]:
    """Return the command of cerebeam serve, by its port."""
    settings = (f"models.bundles=[{bundle.resolve()}]", f"system.data={work.resolve() / 'var'}",
                "deployment.requests_per_s=100000", *options)  # fmt: skip
    given = [part for one in settings for part in ("--set", one)]
    return lambda port: [sys.executable, "-m", "service.serve", *given, "--set", f"deployment.port={port}"]


def as_json(x: np.ndarray, *, token: str = "") -> bytes:
    """Return a POST /predict of one window."""
    more = {"Authorization": f"Bearer {token}"} if token else {}
    return request_bytes("/predict", orjson.dumps({"eeg_data": x.tolist()}), Content_Type="application/json", **more)


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
