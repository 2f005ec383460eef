"""A request on its way through: what is known of it, and how an answer or a refusal goes out."""

import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import orjson

from service.refusals import Refusal
from service.security.tokens import NOBODY, Caller

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"x-frame-options", b"DENY"),
)
_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")


@dataclass
class Passage:
    """What is known of a request."""

    id: str = field(default_factory=lambda: uuid4().hex)
    started: float = field(default_factory=time.perf_counter)
    caller: Caller = NOBODY
    deadline: float | None = None
    """On `time.monotonic`'s clock."""
    place: int | None = None
    """Its place in `service.answering.admission`, where it needs one."""
    status: int = 0
    code: str = ""
    job_id: str = ""
    study_id: str = ""


def method_of(scope: Scope) -> str:
    """Return a request's method, "SOCKET" of a socket, "other" for one that HTTP does not know."""
    method = scope.get("method", "SOCKET")
    return method if method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "SOCKET") else "other"


def route_of(scope: Scope) -> str:
    """Return the route's template: the path may hold anything."""
    return str(getattr(scope.get("route"), "path", "unmatched"))


def status_of(message: Message) -> int:
    """Return the status that a message begins an answer with, 101 for an accepted socket; 0 for any other."""
    if message["type"] in ("http.response.start", "websocket.http.response.start"):
        return int(message["status"])
    return {"websocket.accept": 101, "websocket.close": 403}.get(message["type"], 0)


def with_headers(passage: Passage, send: Send) -> Send:
    """Return `send` that adds the headers of every answer and notes its status."""

    async def sending(message: Message) -> None:
        passage.status = passage.status or status_of(message)
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            message["headers"] = _with_own(message.get("headers", []), passage)
        await send(message)

    return sending


async def respond(send: Send, scope: Scope, passage: Passage, refusal: Refusal, *, closes: bool) -> None:
    """Send a refusal, unless an answer has begun; a socket that was not accepted gets it as its answer to HTTP."""
    passage.code = refusal.code
    if passage.status:
        return
    prefix = ""
    if scope["type"] == "websocket":
        if "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 1008})
            return
        prefix = "websocket."
    content = orjson.dumps(refusal.body)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    headers += more_headers(refusal) + ([(b"connection", b"close")] if closes else [])
    await send({"type": f"{prefix}http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": f"{prefix}http.response.body", "body": content})


def more_headers(refusal: Refusal) -> list[tuple[bytes, bytes]]:
    """Return what HTTP wants beside a status."""
    headers = []
    if refusal.retry_after_s is not None:
        headers.append((b"retry-after", str(max(1, round(refusal.retry_after_s))).encode()))
    if refusal.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    return headers


def _with_own(headers: list[tuple[bytes, bytes]], passage: Passage) -> list[tuple[bytes, bytes]]:
    given = {name.lower() for name, _ in headers}
    own = (*_HEADERS, _POLICY, (b"x-request-id", passage.id.encode()))
    return [*headers, *((name, value) for name, value in own if name not in given)]
