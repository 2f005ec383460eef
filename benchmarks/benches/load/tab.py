"""One Chromium tab driven by bare DevTools messages, so that nothing but the page takes memory in it.

Playwright turns on the Network domain of the protocol, whose agent lives in the tab and keeps up to 100 MB of response
bodies for whoever may want them: more than the page itself holds.
"""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from websockets.sync.client import ClientConnection, connect

from benchmarks.benches.load.processes import family, memory_mb

_START_S = 60.0


class Tab:
    """A page of a browser of its own."""

    def __init__(self, socket: ClientConnection, browser_id: int) -> None:
        self._socket, self._number, self._browser_id = socket, 0, browser_id

    def evaluate(self, expression: str, *, timeout_s: float = 3600.0) -> Any:
        """Return what an expression, or the promise that it is, comes to; raises RuntimeError for what it throws."""
        values = {"expression": expression, "awaitPromise": True, "returnByValue": True}
        reply = self._send("Runtime.evaluate", values, timeout_s)
        if "exceptionDetails" in reply:
            raise RuntimeError(str(reply["exceptionDetails"].get("exception", {}).get("description", reply)))
        return reply["result"].get("value")

    def wait_for(self, condition: str, *, timeout_s: float) -> None:
        """Wait until an expression is true; raises TimeoutError."""
        until = time.monotonic() + timeout_s
        while not self.evaluate(f"Boolean({condition})"):
            if time.monotonic() > until:
                raise TimeoutError(f"{condition} did not become true within {timeout_s:g} s")
            time.sleep(0.1)

    def collect(self) -> None:
        """Free what nothing refers to."""
        self._send("HeapProfiler.collectGarbage", {}, 60.0)

    def memory_mb(self, field: str) -> float:
        """Return a field of the largest renderer: `VmRSS` counts the browser's program, `RssAnon` the tab alone.

        Raises RuntimeError where no renderer is found.
        """
        found = _renderers(self._browser_id)
        if not found:
            raise RuntimeError(f"process {self._browser_id} has no renderer below it")
        return memory_mb(max(found, key=lambda pid: memory_mb(pid, "VmRSS")), field)

    def _send(self, method: str, params: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            reply = json.loads(self._socket.recv(timeout_s))
            if reply.get("id") == self._number:
                result: dict[str, Any] = reply.get("result", {})
                return result


@contextmanager
def tab(program: str, url: str, folder: Path, *, width: int = 1440, height: int = 900) -> Iterator[Tab]:
    """Give a tab of a new browser that opens an address; the browser ends with the block."""
    command = [program, "--headless=new", "--no-sandbox", "--remote-debugging-port=0", f"--user-data-dir={folder}",
               f"--window-size={width},{height}", "--no-first-run", url]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            port = _port(folder)
            with urlopen(f"http://127.0.0.1:{port}/json/list", timeout=10) as reply:
                pages = [one for one in json.load(reply) if one["type"] == "page"]
            with connect(pages[0]["webSocketDebuggerUrl"], max_size=None) as socket:
                yield Tab(socket, process.pid)
        finally:
            process.terminate()


def _port(folder: Path) -> int:
    until = time.monotonic() + _START_S
    while time.monotonic() < until:
        if (file := folder / "DevToolsActivePort").is_file() and file.read_text().strip():
            return int(file.read_text().split()[0])
        time.sleep(0.1)
    raise TimeoutError(f"the browser did not start within {_START_S:g} s")


def _renderers(browser_id: int) -> list[int]:
    """Return the numbers of the renderers below a browser."""
    found = []
    for pid in family(browser_id):
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:  # it has just ended
            continue
        if b"--type=renderer" in line:  # a renderer writes spaces between its words
            found.append(pid)
    return found
