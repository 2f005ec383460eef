"""Alarms in the records: each episode one row, raised once, its worst severity kept, acknowledged by a person."""

import time

from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session

from service.records.database import transaction
from service.records.tables import Alarm
from service.refusals import Refusal

SEVERITIES = ("low", "medium", "high")


def write_alarm(engine: Engine, alarm: Alarm) -> None:
    """Commit an alarm as it is now: a new row, or the row of its id made worse or cleared, never milder.

    Writing the same state again changes nothing, so that a writer that does not know whether it wrote writes again.
    """
    with transaction(engine) as session:
        write_in(session, alarm)


def write_in(session: Session, alarm: Alarm) -> None:
    """Do what `write_alarm` does, as a part of a larger transaction."""
    before = session.get(Alarm, alarm.id)
    if before is None:
        session.add(alarm)
        return
    if SEVERITIES.index(alarm.severity) > SEVERITIES.index(before.severity):
        before.severity = alarm.severity
    if before.cleared_at is None:
        before.cleared_at = alarm.cleared_at


def list_alarms(engine: Engine, *, bed: str | None = None, open_only: bool = False, limit: int = 500) -> list[Alarm]:
    """Return the newest alarms, of one bed or of all; `open_only`: not cleared, or not acknowledged."""
    query = select(Alarm).order_by(Alarm.raised_at.desc(), Alarm.id).limit(limit)
    if bed is not None:
        query = query.where(Alarm.bed == bed)
    if open_only:
        query = query.where(Alarm.cleared_at.is_(None) | Alarm.acknowledged_at.is_(None))
    with transaction(engine) as session:
        alarms = list(session.scalars(query))
        session.expunge_all()
        return alarms


def acknowledge(engine: Engine, alarm_id: str, *, by: str) -> Alarm:
    """Note who saw an alarm first, and when, and return it; raises Refusal 404."""
    missing = Refusal(404, "no_such_alarm", "there is no such alarm", "GET /alarms lists them")
    if not alarm_id.isalnum():  # PostgreSQL takes no NUL
        raise missing
    with transaction(engine) as session:
        session.execute(
            update(Alarm)
            .where(Alarm.id == alarm_id, Alarm.acknowledged_at.is_(None))
            .values(acknowledged_at=time.time(), acknowledged_by=by)
        )
        alarm = session.get(Alarm, alarm_id)
        if alarm is None:
            raise missing
        session.expunge(alarm)
        return alarm
