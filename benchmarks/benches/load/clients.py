"""Clients that cost next to nothing: a request's bytes are made once, and sent over kept or new connections."""

import asyncio
import time
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Tally:
    """What came back."""

    seconds: list[float] = field(default_factory=list)
    """Of every 200."""
    refused_s: list[float] = field(default_factory=list)
    """Of every 503."""
    statuses: dict[int, int] = field(default_factory=dict)
    """How often each; 0 where there was no answer."""

    def add(self, status: int, seconds: float) -> None:
        """Count one answer."""
        self.statuses[status] = self.statuses.get(status, 0) + 1
        if status == 200:
            self.seconds.append(seconds)
        if status == 503:
            self.refused_s.append(seconds)

    def percentile_ms(self, percent: float) -> float:
        """Return a percentile of the answers' latency, ms; nan without an answer."""
        return 1e3 * float(np.percentile(self.seconds, percent)) if self.seconds else float("nan")


def request_bytes(path: str, body: bytes, **headers: str) -> bytes:
    """Return an HTTP/1.1 POST."""
    lines = [f"POST {path} HTTP/1.1", "Host: bench", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def one_request(port: int, content: bytes, *, timeout_s: float) -> tuple[int, float]:
    """Send one request over a connection of its own; returns (status, seconds), status 0 without an answer."""
    started = time.perf_counter()
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
            try:
                writer.write(content)
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    int(line.split(b":")[1])
                    for line in head.lower().split(b"\r\n")
                    if line.startswith(b"content-length")
                )
                await reader.readexactly(length)
            finally:
                writer.close()
    except (OSError, TimeoutError, asyncio.IncompleteReadError, StopIteration):
        return 0, time.perf_counter() - started
    return int(head.split(b" ")[1]), time.perf_counter() - started


async def closed_loop(port: int, content: bytes, *, clients: int, seconds: float) -> Tally:
    """Return what clients get that send the next request when the last one was answered."""
    tally, until = Tally(), time.monotonic() + seconds

    async def client() -> None:
        while time.monotonic() < until:
            tally.add(*await one_request(port, content, timeout_s=30))

    await asyncio.gather(*(client() for _ in range(clients)))
    return tally


async def open_loop(port: int, content: bytes, *, per_s: float, seconds: float, timeout_s: float = 10) -> Tally:
    """Return what comes back where requests arrive at a rate, whatever the server does."""
    tally, tasks, started = Tally(), set(), time.monotonic()

    async def send() -> None:
        tally.add(*await one_request(port, content, timeout_s=timeout_s))

    for number in range(round(per_s * seconds)):
        await asyncio.sleep(max(0.0, started + number / per_s - time.monotonic()))
        tasks.add(asyncio.create_task(send()))
    await asyncio.gather(*tasks)
    return tally
