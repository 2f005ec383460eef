"""Beds: all of them at a glance, and pauses of their alarms."""

import asyncio
import time
from contextlib import suppress
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Path, Request, WebSocket
from starlette.websockets import WebSocketDisconnect

from service.live.board import pause_fields
from service.live.pauses import KINDS, LONGEST_S, USUAL_S
from service.records import pauses
from service.refusals import Refusal
from service.security.tokens import require
from service.web import schemas
from service.web.bodies import read_json
from service.web.request import passage_of, server_of
from service.web.routes.alarms import BED
from service.web.sending import POLICY_VIOLATION, TRY_AGAIN_LATER, until_left

router = APIRouter(responses=schemas.ERRORS)
_LOOK_S, _ANYWAY_S, _PATIENCE_S = 0.5, 5.0, 5.0
Bed = Annotated[str, Path(max_length=80, pattern=BED)]


@router.get("/beds")
async def beds(request: Request) -> dict[str, Any]:
    """Show all beds: newest answer, burden, electrodes, alarms, pauses."""
    require(passage_of(request).caller, "reader")
    return await to_thread.run_sync(server_of(request).board.snapshot)


@router.get("/beds/{bed}/pauses")
async def listed(request: Request, bed: Bed) -> dict[str, list[dict[str, Any]]]:
    """List a bed's newest pauses, those that are over too."""
    server = server_of(request)
    require(passage_of(request).caller, "reader")
    found = await to_thread.run_sync(lambda: pauses.list_pauses(server.engine, bed=bed))
    return {"pauses": [pause_fields(pause) for pause in found]}


@router.post("/beds/{bed}/pauses", status_code=201, openapi_extra=schemas.body(schemas.PAUSE))
async def pause(request: Request, bed: Bed) -> dict[str, Any]:
    """Hold back the signals of a bed's alarms for a time; they are raised, kept and listed all the same."""
    server, passage = server_of(request), passage_of(request)
    require(passage.caller, "reviewer")
    kind, seconds = _read(read_json(await request.body()))
    begun = await to_thread.run_sync(
        lambda: pauses.begin_pause(
            server.engine, bed=bed, kind=kind, seconds=seconds, by=passage.caller.subject, request_id=passage.id
        )
    )
    return pause_fields(begun)


@router.post("/beds/{bed}/pauses/end")
async def end(request: Request, bed: Bed) -> dict[str, Any]:
    """Signal a bed's alarms again."""
    server, caller = server_of(request), passage_of(request).caller
    require(caller, "reviewer")
    await to_thread.run_sync(lambda: pauses.end_pause(server.engine, bed=bed, by=caller.subject))
    return {"bed": bed, "pause": None}


def _read(fields: dict[str, Any]) -> tuple[str, float]:
    kind = fields.get("kind")
    if kind not in KINDS or set(fields) - {"kind", "seconds"}:
        raise Refusal(422, "invalid_pause", f"kind is none of {', '.join(KINDS)}, or a field is unknown")
    seconds = fields.get("seconds", USUAL_S[kind])
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 1 <= seconds <= LONGEST_S[kind]:
        raise Refusal(422, "invalid_pause", f"seconds of {kind} is no number from 1 to {LONGEST_S[kind]:g}")
    return kind, float(seconds)


@router.websocket("/wall")
async def wall(socket: WebSocket) -> None:
    """Send what GET /beds shows whenever it has changed, and every few seconds anyway."""
    if not passage_of(socket).caller.may("reader"):
        await socket.close(POLICY_VIOLATION)
        return
    await socket.accept()
    board, sent, sent_at = server_of(socket).board, dict[str, Any](), float("-inf")
    leaving = asyncio.create_task(until_left(socket))
    try:
        while not leaving.done():
            found = await to_thread.run_sync(board.snapshot)
            if _content(found) != _content(sent) or time.monotonic() - sent_at > _ANYWAY_S:
                await asyncio.wait_for(socket.send_json({"type": "beds", **found}), _PATIENCE_S)
                sent, sent_at = found, time.monotonic()
            await asyncio.wait([leaving], timeout=_LOOK_S)
    except TimeoutError:
        with suppress(WebSocketDisconnect, RuntimeError):
            await socket.close(TRY_AGAIN_LATER)
    except (WebSocketDisconnect, RuntimeError, Refusal):
        with suppress(WebSocketDisconnect, RuntimeError):
            await socket.close(TRY_AGAIN_LATER)
    finally:
        leaving.cancel()


def _content(found: dict[str, Any]) -> tuple[object, ...]:
    """Return what is worth sending: not the time, and how long ago samples came only where it is long."""
    silent_s = [bed["quality"] and round(bed["quality"]["silent_s"] / 2) for bed in found.get("beds", [])]
    beds = [{**bed, "quality": bed["quality"] and {**bed["quality"], "silent_s": 0}} for bed in found.get("beds", [])]
    return beds, silent_s, found.get("alarms")
