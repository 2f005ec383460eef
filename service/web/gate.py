"""What every request passes before its body is read: name, token, rate, size, place; and what is noted after it."""

import asyncio
import logging
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from urllib.parse import parse_qs

from audit.chain import AuditError
from audit.log import AuditLog
from service.answering.admission import Admission, Rate
from service.records.accesses import Accesses
from service.records.tables import Access
from service.refusals import Refusal
from service.security.tickets import Tickets
from service.security.tokens import ANYONE, Verifier
from service.security.trail import check_open, row, unrecorded
from service.settings import Deployment
from service.viewer.pages import is_page
from service.web.metrics import Metrics
from service.web.passage import (
    App,
    Message,
    Passage,
    Receive,
    Scope,
    Send,
    method_of,
    respond,
    route_of,
    status_of,
    with_headers,
)

logger = logging.getLogger(__name__)

OPEN = frozenset(
    {"/", "/health", "/ready", "/metrics", "/docs", "/openapi.json", "/v2/health/live", "/v2/health/ready"}
)
"""Paths that need no token: they show nothing of a patient."""
_MB = 1_000_000
_LONGEST_DEADLINE_S = 3600.0


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
    trail: AuditLog
    tickets: Tickets

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or socket, or pass on what is none."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        passage = Passage()
        scope.setdefault("state", {})["passage"] = passage
        sending = self._recorded(scope, passage, with_headers(passage, send))
        try:
            if scope["type"] == "websocket":
                self._admit_socket(scope, passage)
                await self.app(scope, receive, sending)
            else:
                with self._admitted(scope, passage) as passage.place:
                    await self.app(scope, self._limited(scope, receive), sending)
        except Refusal as refusal:
            await respond(sending, scope, passage, refusal, closes=_closes(scope, refusal))
        except Exception as error:
            logger.error("request failed", exc_info=error, extra={"request": passage.id})
            if not passage.status:
                failed = Refusal(500, "internal_error", "the server failed")
                await respond(sending, scope, passage, failed, closes=True)
        finally:
            self._note(scope, passage)

    def _recorded(self, scope: Scope, passage: Passage, send: Send) -> Send:
        """Return `send` that lets an answer out when its row of the audit log is on the disk, and a refusal at once.

        Where the row cannot be written, a refusal goes out in the answer's place.
        """
        is_replaced = False

        async def sending(message: Message) -> None:
            nonlocal is_replaced
            if is_replaced:
                return
            status = status_of(message)
            if status and not passage.status and not _is_open(scope["path"]):
                try:
                    await self._write_row(scope, passage, status)
                except AuditError:
                    is_replaced = status < 400
                    if is_replaced:
                        await respond(send, scope, passage, unrecorded(), closes=False)
                        return
            await send(message)

        return sending

    async def _write_row(self, scope: Scope, passage: Passage, status: int) -> None:
        ids = " ".join(
            f"{name}={value}" for name, value in (("study", passage.study_id), ("job", passage.job_id)) if value
        )
        event = row(
            passage.caller, action=method_of(scope), resource=f"{route_of(scope)} {ids}".rstrip(),
            outcome=f"{status} {passage.code}".rstrip(), request=passage.id,
        )  # fmt: skip
        written = self.trail.submit(event)
        if status < 400:
            await asyncio.wrap_future(written)

    def _admit_socket(self, scope: Scope, passage: Passage) -> None:
        """Let a socket in by its ticket and its origin; raises Refusal before it is accepted."""
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        origin, host = headers.get(b"origin"), headers.get(b"host", "")
        own = (f"http://{host}", f"https://{host}", *self.limits.cors_origins)
        if origin is not None and origin not in own:
            raise Refusal(403, "forbidden", "a page of another origin opened this socket", "deployment.cors_origins")
        check_open(self.trail)
        given = parse_qs(scope["query_string"].decode("latin-1")).get("ticket", [""])
        passage.caller = self.tickets.take(given[0])
        self.rate.take(passage.caller.subject)

    def _admitted(self, scope: Scope, passage: Passage) -> AbstractContextManager[int | None]:
        """Return a place for the request; raises Refusal before a byte of its body was read."""
        headers = {name.lower(): value for name, value in scope["headers"]}
        if _is_open(scope["path"]):
            return nullcontext()
        if self.verifier is None:
            passage.caller = ANYONE
        else:
            passage.caller = self.verifier.caller(headers.get(b"authorization", b"").decode("latin-1") or None)
        check_open(self.trail)
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

    def _most_bytes(self, scope: Scope) -> int:
        is_upload = scope["path"] == "/jobs" and scope["method"] == "POST"
        return int((self.limits.max_upload_mb if is_upload else self.limits.max_body_mb) * _MB)

    def _limited(self, scope: Scope, receive: Receive) -> Receive:
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
            if message["type"] == "http.disconnect":
                raise Refusal(499, "client_disconnected", "the client left before its body had arrived")
            n_bytes += len(message.get("body", b""))
            is_read = not message.get("more_body", False)
            if n_bytes > most:
                raise _too_large(most)
            return message

        return receiving

    def _note(self, scope: Scope, passage: Passage) -> None:
        """Count, log and record a request that has ended, by its route: the path may hold anything."""
        route = route_of(scope)
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


def _access(scope: Scope, route: str, passage: Passage) -> Access:
    return Access(
        at=time.time(), request_id=passage.id, subject=passage.caller.subject, role=passage.caller.role,
        method=method_of(scope), route=route[:200], job_id=passage.job_id, study_id=passage.study_id,
        status=passage.status,
    )  # fmt: skip


def _closes(scope: Scope, refusal: Refusal) -> bool:
    """Return whether a refusal ends the connection: where what is still to come is too much, or has no end.

    A body of known length is read and thrown away by the server: whoever is still sending would not see the answer.
    """
    known = any(name.lower() == b"content-length" for name, _ in scope["headers"])
    return refusal.status in (408, 413) or (scope.get("method") == "POST" and not known)


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
