"""Pauses in the records: who held back the signals of a bed's alarms, from when until when."""

import time
from uuid import uuid4

from sqlalchemy import ColumnElement, Engine, select, update
from sqlalchemy.orm import Session

from service.records.database import transaction
from service.records.tables import Pause


def begin_pause(engine: Engine, *, bed: str, kind: str, seconds: float, by: str, request_id: str) -> Pause:
    """Commit a pause and return it; one that was on takes its end there, so that a bed has one at a time."""
    now = time.time()
    pause = Pause(
        id=uuid4().hex, bed=bed, kind=kind, begun_at=now, until_at=now + seconds, begun_by=by, ended_at=None,
        ended_by="", request_id=request_id,
    )  # fmt: skip
    with transaction(engine) as session:
        _end(session, bed, now, by)
        session.add(pause)
        session.flush()
        session.expunge(pause)
    return pause


def end_pause(engine: Engine, *, bed: str, by: str) -> None:
    """End what is on at a bed; nothing where nothing is."""
    with transaction(engine) as session:
        _end(session, bed, time.time(), by)


def pauses_on(engine: Engine, *, at: float) -> list[Pause]:
    """Return the pauses that are on at a time, of all beds."""
    query = select(Pause).where(Pause.begun_at <= at, *_on(at)).order_by(Pause.begun_at)
    with transaction(engine) as session:
        pauses = list(session.scalars(query))
        session.expunge_all()
        return pauses


def list_pauses(engine: Engine, *, bed: str, limit: int = 100) -> list[Pause]:
    """Return a bed's newest pauses."""
    with transaction(engine) as session:
        query = select(Pause).where(Pause.bed == bed).order_by(Pause.begun_at.desc(), Pause.id).limit(limit)
        pauses = list(session.scalars(query))
        session.expunge_all()
        return pauses


def _on(at: float) -> tuple[ColumnElement[bool], ...]:
    return Pause.until_at > at, Pause.ended_at.is_(None) | (Pause.ended_at > at)


def _end(session: Session, bed: str, now: float, by: str) -> None:
    which = (Pause.bed == bed, *_on(now))
    session.execute(
        update(Pause).where(*which).values(ended_at=now, ended_by=by).execution_options(synchronize_session=False)
    )
