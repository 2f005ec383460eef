"""Alarms: what was raised, and who has seen it."""

from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Query, Request

from service.records import alarms
from service.records.tables import Alarm
from service.security.tokens import require
from service.web import schemas
from service.web.request import passage_of, server_of

router = APIRouter(responses=schemas.ERRORS)
BED = r"^[\w .-]+$"
"""What a bed may be called."""


@router.get("/alarms")
async def listed(
    request: Request, bed: Annotated[str | None, Query(max_length=80, pattern=BED)] = None,
    open: Annotated[bool, Query(description="only what is not cleared, or not acknowledged")] = False,
) -> dict[str, list[dict[str, Any]]]:  # fmt: skip
    """List the newest alarms."""
    server = server_of(request)
    require(passage_of(request).caller, "reader")
    found = await to_thread.run_sync(lambda: alarms.list_alarms(server.engine, bed=bed, open_only=open))
    return {"alarms": [alarm_fields(alarm) for alarm in found]}


@router.post("/alarms/{alarm_id}/acknowledge", response_model=schemas.AlarmForm)
async def acknowledge(request: Request, alarm_id: str) -> dict[str, Any]:
    """Note that one has seen an alarm; the first one who does is kept."""
    server, caller = server_of(request), passage_of(request).caller
    require(caller, "reviewer")
    return alarm_fields(
        await to_thread.run_sync(lambda: alarms.acknowledge(server.engine, alarm_id, by=caller.subject))
    )


def alarm_fields(alarm: Alarm) -> dict[str, Any]:
    """Return an alarm as plain values."""
    return {name: getattr(alarm, name) for name in schemas.AlarmForm.model_fields}
