"""Sources and viewers of live beds, and what they measure: when an answer came, how old a sample is on arrival."""

import asyncio
import json
import socket
import threading
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from websockets.asyncio.client import connect

from service.live.source import Sender
from signals.modality import EEG_1020
from signals.streams.stream import AFTER_S

SFREQ = 200.0


@dataclass
class Looped:
    """Samples of a few minutes, over and over, at so many times real time; shape (19, n_times), µV."""

    x: np.ndarray
    seconds: float
    speed: float = 1.0
    sfreq: float = SFREQ
    ch_names: tuple[str, ...] = EEG_1020.ch_names
    began: float = field(default_factory=time.monotonic)

    def first(self) -> int:
        """Return 0: all of it can be read again."""
        return 0

    def due(self, n_times: float) -> float:
        """Return when so many samples have come, on `time.monotonic`'s clock."""
        return self.began + n_times / self.sfreq / self.speed

    def read(self, start: int, n_times: int) -> np.ndarray:
        """Return samples when their time has come; none at the end."""
        stop = min(start + n_times, round(self.seconds * self.sfreq))
        if stop <= start:
            return self.x[:, :0]
        time.sleep(max(0.0, self.due(stop) - time.monotonic()))
        return self.x[:, np.arange(start, stop) % self.x.shape[1]]


@dataclass
class Source:
    """One bed's sender in a thread."""

    url: str
    bed: str
    samples: Looped
    chunk_s: float = 0.25
    hop_s: float = 10.0
    late_ms: list[float] = field(default_factory=list)
    """From the last sample that an answer needs to the answer, ms."""
    outcomes: list[dict[str, Any]] = field(default_factory=list)
    error: str = ""

    def __post_init__(self) -> None:
        """Begin."""
        self.sender = Sender(
            url=self.url, bed=self.bed, samples=self.samples, chunk_s=self.chunk_s, hop_s=self.hop_s, patience_s=600.0
        )
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.sender.run(show=self._show)
        except Exception as error:
            self.error = repr(error)

    def _show(self, outcome: dict[str, Any]) -> None:
        needed = (outcome["stop_s"] + AFTER_S) * self.samples.sfreq
        if needed <= self.samples.seconds * self.samples.sfreq:
            self.late_ms.append(1e3 * (time.monotonic() - self.samples.due(needed)))
        self.outcomes.append(outcome)

    def wait(self, seconds: float) -> None:
        """Wait for the end; ends the bench where it does not come."""
        self.thread.join(seconds)
        if self.thread.is_alive() or self.error:
            raise SystemExit(f"bench-live: source {self.bed} did not end: {self.error or 'timeout'}")


def ticket(url: str) -> str:
    """Return a ticket for one socket."""
    with urllib.request.urlopen(urllib.request.Request(f"{url}/tickets", method="POST"), timeout=30) as reply:
        return str(json.loads(reply.read())["ticket"])


def viewers_lag_ms(url: str, bed: str, samples: Looped, *, n_viewers: int, frozen: bool, seconds: float) -> list[float]:
    """Return how late samples arrive at viewers of a bed, ms; the first of them reads nothing where `frozen`."""
    return asyncio.run(_watch(url, bed, samples, n_viewers, frozen, seconds))


async def _watch(
    url: str, bed: str, samples: Looped, n_viewers: int, frozen: bool, seconds: float
) -> list[float]:  # fmt: skip
    reading = [_reads(url, bed, samples, seconds) for _ in range(n_viewers - 1)]
    first = _is_frozen(url, bed, seconds) if frozen else _reads(url, bed, samples, seconds)
    found: Sequence[list[float]] = await asyncio.gather(first, *reading)
    return [lag for one in found[1:] for lag in one]  # the same nineteen with and without


async def _reads(url: str, bed: str, samples: Looped, seconds: float) -> list[float]:
    address = f"{url.replace('http', 'ws')}/live/{bed}?last=1&ticket={await asyncio.to_thread(ticket, url)}"
    lags, until = [], time.monotonic() + seconds
    async with connect(address, compression=None, max_size=None) as one:
        while (left := until - time.monotonic()) > 0:
            try:
                message = await asyncio.wait_for(one.recv(), left)
            except TimeoutError:
                break
            if isinstance(message, bytes):
                n_times = int.from_bytes(message[:8], "little") + (len(message) - 8) // 4 // len(samples.ch_names)
                lags.append(1e3 * (time.monotonic() - samples.due(n_times)))
    return lags


async def _is_frozen(url: str, bed: str, seconds: float) -> list[float]:
    """Open a socket whose window is small and read nothing."""
    host, port = url.removeprefix("http://").split(":")
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await asyncio.to_thread(one.connect, (host, int(port)))
    head = (f"GET /live/{bed}?last=1&ticket={await asyncio.to_thread(ticket, url)} HTTP/1.1\r\nHost: {host}:{port}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")  # fmt: skip
    one.sendall(head.encode())
    await asyncio.sleep(seconds)
    one.close()
    return []
