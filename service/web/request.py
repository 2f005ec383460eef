"""What a request is handled with: the server it was sent to, and what the gate knows of it."""

from starlette.requests import HTTPConnection

from service.refusals import Refusal
from service.web.passage import Passage
from service.web.server import Server

_KEY = "idempotency-key"


def server_of(request: HTTPConnection) -> Server:
    """Return the server that a request or a socket was sent to."""
    server: Server = request.app.state.server
    return server


def passage_of(request: HTTPConnection) -> Passage:
    """Return what the gate knows of a request or a socket."""
    passage: Passage = request.scope["state"]["passage"]
    return passage


def request_key(request: HTTPConnection) -> str | None:
    """Return subject and Idempotency-Key of a request, None without one; raises Refusal 400."""
    key = request.headers.get(_KEY)
    if key is None:
        return None
    if not 0 < len(key) <= 80 or not key.isprintable():
        raise Refusal(400, "invalid_key", "Idempotency-Key is empty or too long", "at most 80 characters")
    return f"{passage_of(request).caller.subject}/{key}"
