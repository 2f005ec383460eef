"""Sockets and the tickets that open them: the progress of a job as it happens."""

import asyncio
from contextlib import suppress
from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Request, WebSocket
from starlette.websockets import WebSocketDisconnect

from service.records import jobs
from service.refusals import Refusal
from service.security.tickets import LIFETIME_S
from service.security.tokens import require
from service.web import schemas
from service.web.request import passage_of, server_of
from service.web.routes.jobs import job_fields, own_job
from service.web.sending import POLICY_VIOLATION, TRY_AGAIN_LATER, until_left

router = APIRouter(responses=schemas.ERRORS)
_LOOK_S, _PATIENCE_S = 0.25, 5.0


@router.post("/tickets", status_code=201)
async def ticket(request: Request) -> dict[str, Any]:
    """Give a ticket: ?ticket= of one socket, once, within 30 s."""
    caller = passage_of(request).caller
    require(caller, "reader")
    return {"ticket": server_of(request).tickets.new(caller), "expires_s": LIFETIME_S}


@router.websocket("/jobs/{job_id}/progress")
async def progress(socket: WebSocket, job_id: str) -> None:
    """Send a job whenever it changes, as GET /jobs/{id} shows it, until it has ended."""
    try:
        job = await own_job(socket, job_id)
    except Refusal as refusal:
        await socket.close(POLICY_VIOLATION, refusal.code)
        return
    await socket.accept()
    engine, sent = server_of(socket).engine, dict[str, Any]()
    leaving = asyncio.create_task(until_left(socket))
    with suppress(WebSocketDisconnect, RuntimeError):
        while not leaving.done():
            if (fields := job_fields(job)) != sent:
                try:
                    await asyncio.wait_for(socket.send_json(fields), _PATIENCE_S)
                except TimeoutError:  # who does not read is left
                    await socket.close(TRY_AGAIN_LATER)
                    break
                sent = fields
            if job.finished_at is not None:
                await socket.close()
                break
            await asyncio.wait([leaving], timeout=_LOOK_S)
            if (now := await to_thread.run_sync(lambda: jobs.get_job(engine, job_id))) is not None:
                job = now
    leaving.cancel()
