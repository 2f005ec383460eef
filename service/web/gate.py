"""What every request passes before its body is read: name, token, rate, size, place; and what is noted after it."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import orjson

from service.answering.admission import Admission, Rate
from service.records.accesses import Accesses
from service.records.tables import Access
from service.refusals import Refusal
from service.security.tokens import ANYONE, NOBODY, Caller, Verifier
from service.settings import Deployment
from service.viewer.pages import is_page
from service.web.metrics import Metrics

logger = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

OPEN = frozenset(
    {"/", "/health", "/ready", "/metrics", "/docs", "/openapi.json", "/v2/health/live", "/v2/health/ready"}
)
"""Paths that need no token: they show nothing of a patient."""
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"x-frame-options", b"DENY"),
)
_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
_MB = 1_000_000
_LONGEST_DEADLINE_S = 3600.0


@dataclass
class Passage:
    """What is known of a request."""

    id: str = field(default_factory=lambda: uuid4().hex)
    started: float = field(default_factory=time.perf_counter)
    caller: Caller = NOBODY
    deadline: float | None = None
    """On `time.monotonic`'s clock."""
    status: int = 0
    code: str = ""
    job_id: str = ""


@dataclass(frozen=True, kw_only=True)
class Gate:
    """An ASGI application around another one."""

    app: App
    limits: Deployment
    verifier: Verifier | None
    """None in the dev profile: whoever reaches it may do everything."""
    admission: Admission
    rate: Rate
    accesses: Accesses
    metrics: Metrics

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one request, or pass on what is none."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        passage = Passage()
        scope.setdefault("state", {})["passage"] = passage

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                passage.status = message["status"]
                message["headers"] = _with_own(message.get("headers", []), passage)
            await send(message)

        try:
            with self._admitted(scope, passage):
                await self.app(scope, self._limited(scope, receive), sending)
        except Refusal as refusal:
            await respond(sending, passage, refusal, closes=_closes(scope, refusal))
        except Exception as error:
            logger.error("request failed", exc_info=error, extra={"request": passage.id})
            if not passage.status:
                await respond(sending, passage, Refusal(500, "internal_error", "the server failed"), closes=True)
        finally:
            self._note(scope, passage)

    def _admitted(self, scope: MutableMapping[str, Any], passage: Passage) -> AbstractContextManager[None]:
        """Return a place for the request; raises Refusal before a byte of its body was read."""
        headers = {name.lower(): value for name, value in scope["headers"]}
        if _is_open(scope["path"]):
            return nullcontext()
        if self.verifier is None:
            passage.caller = ANYONE
        else:
            passage.caller = self.verifier.caller(headers.get(b"authorization", b"").decode("latin-1") or None)
        self.rate.take(passage.caller.subject)
        if headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise Refusal(415, "compressed_body", "compressed bodies are not taken", "send it as it is")
        length, most = headers.get(b"content-length"), self._most_bytes(scope)
        if length is not None and (not length.isdigit() or int(length) > most):
            raise _too_large(most)
        passage.deadline = _deadline(headers.get(b"x-request-timeout-ms"))
        answers = scope["method"] == "POST" and (
            scope["path"].startswith("/predict") or scope["path"].endswith("/infer")
        )
        return self.admission.place() if answers else nullcontext()

    def _most_bytes(self, scope: MutableMapping[str, Any]) -> int:
        is_upload = scope["path"] == "/jobs" and scope["method"] == "POST"
        return int((self.limits.max_upload_mb if is_upload else self.limits.max_body_mb) * _MB)

    def _limited(self, scope: MutableMapping[str, Any], receive: Receive) -> Receive:
        """Return `receive` that counts bytes and seconds: a length that was declared proves nothing."""
        most, until, n_bytes, is_read = self._most_bytes(scope), time.monotonic() + self.limits.body_timeout_s, 0, False
        if scope["path"] == "/jobs":
            until = time.monotonic() + 20 * self.limits.body_timeout_s  # gigabytes take their time

        async def receiving() -> Message:
            nonlocal n_bytes, is_read
            if is_read:  # what follows is only whether the client is still there
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(until - time.monotonic(), 0.001))
            except TimeoutError:
                raise Refusal(408, "slow_body", "the body took too long to arrive", "send it faster") from None
            n_bytes += len(message.get("body", b""))
            is_read = not message.get("more_body", False)
            if n_bytes > most:
                raise _too_large(most)
            return message

        return receiving

    def _note(self, scope: MutableMapping[str, Any], passage: Passage) -> None:
        """Count, log and record a request that has ended, by its route: the path may hold anything."""
        route = getattr(scope.get("route"), "path", "unmatched")
        seconds = time.perf_counter() - passage.started
        self.metrics.requests.labels(route, str(passage.status)).inc()
        self.metrics.seconds.labels(route).observe(seconds)
        if passage.code:
            self.metrics.refusals.labels(passage.code).inc()
        logger.info(
            "request",
            extra={
                "request": passage.id, "route": route, "status": passage.status, "code": passage.code,
                "ms": round(1e3 * seconds, 1),
            },
        )  # fmt: skip
        if not _is_open(scope["path"]):
            self.accesses.add(_access(scope, route, passage))


def _is_open(path: str) -> bool:
    return path in OPEN or is_page(path)


def _access(scope: MutableMapping[str, Any], route: str, passage: Passage) -> Access:
    method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE") else "other"
    return Access(
        at=time.time(), request_id=passage.id, subject=passage.caller.subject, role=passage.caller.role,
        method=method, route=route[:200], job_id=passage.job_id, status=passage.status,
    )  # fmt: skip


def _closes(scope: MutableMapping[str, Any], refusal: Refusal) -> bool:
    """Return whether a refusal ends the connection: where what is still to come is too much, or has no end.

    A body of known length is read and thrown away by the server: whoever is still sending would not see the answer.
    """
    known = any(name.lower() == b"content-length" for name, _ in scope["headers"])
    return refusal.status in (408, 413) or (scope["method"] == "POST" and not known)


async def respond(send: Send, passage: Passage, refusal: Refusal, *, closes: bool) -> None:
    """Send a refusal, unless an answer has begun."""
    passage.code = refusal.code
    if passage.status:
        return
    content = orjson.dumps(refusal.body)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    headers += more_headers(refusal) + ([(b"connection", b"close")] if closes else [])
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


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


def _deadline(header: bytes | None) -> float | None:
    if header is None:
        return None
    if not header.isdigit() or len(header) > 9:
        raise Refusal(400, "invalid_deadline", "X-Request-Timeout-Ms is no whole number", "milliseconds from now on")
    return time.monotonic() + min(int(header) / 1000, _LONGEST_DEADLINE_S)


def _too_large(most: int) -> Refusal:
    return Refusal(
        413, "body_too_large", f"the body has more than {most} bytes", "split it, or send recordings to /jobs"
    )
