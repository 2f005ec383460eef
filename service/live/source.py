"""A source of samples: sends them to a bed, and after a break from where the server asks for them."""

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import quote
from urllib.request import Request, urlopen
from uuid import uuid4

import numpy as np
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from service.live.frames import write_samples

TOKEN = "CEREBEAM_TOKEN"
"""Environment variable with the bearer token of a server that wants one."""
_AGAIN_S = 1.0
_CHUNK_S = 0.25


class SourceError(RuntimeError):
    """A source that cannot go on; one line."""

    def __init__(self, message: str, code: str = "") -> None:
        """code: the server's, empty where it is not reached."""
        super().__init__(message)
        self.code = code


class Samples(Protocol):
    """Where samples come from."""

    ch_names: tuple[str, ...]
    sfreq: float

    def read(self, start: int, n_times: int) -> np.ndarray:
        """Return up to `n_times` samples from number `start` on, µV, shape (n_chans, n); none at the end.

        Waits where they have not come yet.
        """

    def first(self) -> int:
        """Return the number of the oldest sample that can still be read."""


@dataclass(kw_only=True)
class Sender:
    """Sends one stream to one bed."""

    url: str
    """Of the server, as http://127.0.0.1:8000."""
    bed: str
    samples: Samples
    hop_s: float = 10.0
    patience_s: float = 60.0
    """How long a server may be away."""
    chunk_s: float = _CHUNK_S
    stream: str = field(default_factory=lambda: uuid4().hex)
    has_ended: bool = field(default=False, init=False)
    """The server was sent everything, and the end."""

    def run(self, *, show: Callable[[dict[str, Any]], None]) -> None:
        """Send everything; `show` gets each hop's outcome. Raises SourceError for what the server refuses."""
        gone_since = None
        while True:
            try:
                for answer in self._connected():
                    gone_since = None
                    show(answer)
                return
            except SourceError as error:
                if self.has_ended and error.code == "stream_in_use":
                    return  # it was killed after it had committed the end, and before it could answer
                raise
            except (OSError, WebSocketException) as error:  # the server is away: it asks for the rest when it is back
                gone_since = gone_since or time.monotonic()
                if time.monotonic() - gone_since > self.patience_s:
                    raise SourceError(f"{self.url} does not answer ({type(error).__name__})") from None
                time.sleep(_AGAIN_S)

    def _connected(self) -> Iterator[dict[str, Any]]:
        scheme = "wss" if self.url.startswith("https") else "ws"
        host = self.url.split("://", 1)[1].rstrip("/")
        address = f"{scheme}://{host}/live/{quote(self.bed)}/in?ticket={self._ticket()}"
        with connect(address, compression=None, max_size=None) as socket:
            names = list(self.samples.ch_names)
            begin = {"type": "begin", "stream": self.stream, "ch_names": names, "sfreq": self.samples.sfreq}
            socket.send(json.dumps(begin | {"hop_s": self.hop_s}))
            at = max(_frame(socket)["next_sample"], self.samples.first())
            n_chunk = max(1, round(self.chunk_s * self.samples.sfreq))
            while (x_uv := self.samples.read(at, n_chunk)).shape[1]:
                socket.send(write_samples(at, x_uv))
                at += x_uv.shape[1]
                yield from _frame(socket)["answers"]
            self.has_ended = True
            socket.send(json.dumps({"type": "end"}))
            yield from _frame(socket)["answers"]

    def _ticket(self) -> str:
        token = os.environ.get(TOKEN, "")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        with urlopen(Request(f"{self.url.rstrip('/')}/tickets", method="POST", headers=headers), timeout=10) as reply:
            return str(json.loads(reply.read())["ticket"])


def _frame(socket: ClientConnection) -> dict[str, Any]:
    """Return the server's next frame; raises SourceError for a refusal."""
    fields: dict[str, Any] = json.loads(socket.recv())
    if fields["type"] == "error":
        message = f"{fields['error']} ({fields['code']}); {fields['hint']}".rstrip("; ")
        raise SourceError(message, fields["code"])
    return fields
