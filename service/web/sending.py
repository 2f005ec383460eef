"""What sockets that only send have in common."""

from contextlib import suppress

from fastapi import WebSocket
from starlette.websockets import WebSocketDisconnect

POLICY_VIOLATION, TRY_AGAIN_LATER = 1008, 1013


async def until_left(socket: WebSocket) -> None:
    """Return when the client has gone; what it sends means nothing here."""
    with suppress(WebSocketDisconnect, RuntimeError, KeyError):
        while True:
            await socket.receive_text()
