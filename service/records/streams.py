"""Live streams in the records: a hop's outcome and what it does to alarms are one transaction, written once."""

import time
from collections.abc import Sequence

from sqlalchemy import ColumnElement, Engine, select, update
from sqlalchemy.orm import Session

from service.records.alarms import write_in
from service.records.database import transaction
from service.records.tables import Alarm, LiveHop, LiveStream
from service.refusals import Refusal


def begin_stream(engine: Engine, stream: LiveStream) -> LiveStream:
    """Commit a stream, or return the one of its id where its source comes back; others of its bed have ended then.

    Raises Refusal 409 where the id belongs to a stream of something else, or to one that has ended.
    """
    with transaction(engine) as session:
        earlier = session.get(LiveStream, stream.id)
        if earlier is not None and (_content(earlier) != _content(stream) or earlier.ended_at is not None):
            error = "this id belongs to another stream, or to one that has ended"
            raise Refusal(409, "stream_in_use", error, "a new id")
        others = (LiveStream.bed == stream.bed, LiveStream.id != stream.id, LiveStream.ended_at.is_(None))
        _end(session, *others)
        if earlier is None:
            session.add(stream)
            session.flush()
        stream = earlier or stream
        session.expunge(stream)
    return stream


def end_stream(engine: Engine, stream_id: str) -> None:
    """Note that a stream has ended."""
    with transaction(engine) as session:
        _end(session, LiveStream.id == stream_id)


def _end(session: Session, *which: ColumnElement[bool]) -> None:
    """End streams, and with them the alarms about their electrodes and samples."""
    now, ended = time.time(), select(LiveStream.id).where(*which)
    of_them = (Alarm.stream.in_(ended), Alarm.kind == "technical", Alarm.cleared_at.is_(None))
    session.execute(update(Alarm).where(*of_them).values(cleared_at=now).execution_options(synchronize_session=False))
    session.execute(update(LiveStream).where(*which).values(ended_at=now).execution_options(synchronize_session=False))


def add_hop(engine: Engine, hop: LiveHop, alarms: Sequence[Alarm]) -> None:
    """Commit a hop's outcome and the alarms that it changes; nothing where the hop has one already."""
    with transaction(engine) as session:
        same = (LiveHop.stream_id == hop.stream_id, LiveHop.start_s == hop.start_s)
        if session.scalars(select(LiveHop.id).where(*same)).first() is not None:
            return
        session.add(hop)
        for alarm in alarms:
            write_in(session, alarm)
        session.flush()
        session.expunge(hop)


def last_hops(engine: Engine, stream_id: str, *, limit: int) -> list[LiveHop]:
    """Return a stream's newest hops, oldest first."""
    query = select(LiveHop).where(LiveHop.stream_id == stream_id).order_by(LiveHop.start_s.desc()).limit(limit)
    with transaction(engine) as session:
        hops = list(session.scalars(query))
        session.expunge_all()
        return hops[::-1]


def hops_of_bed(engine: Engine, bed: str, *, after: int, limit: int = 200) -> list[LiveHop]:
    """Return a bed's hops behind a number, in order."""
    of_bed = select(LiveStream.id).where(LiveStream.bed == bed)
    query = select(LiveHop).where(LiveHop.stream_id.in_(of_bed), LiveHop.id > after).order_by(LiveHop.id).limit(limit)
    with transaction(engine) as session:
        hops = list(session.scalars(query))
        session.expunge_all()
        return hops


def hop_before(engine: Engine, bed: str, *, last: int) -> int:
    """Return the number behind which a bed's newest `last` hops lie; 0 where there are not so many."""
    of_bed = select(LiveStream.id).where(LiveStream.bed == bed)
    query = select(LiveHop.id).where(LiveHop.stream_id.in_(of_bed)).order_by(LiveHop.id.desc()).offset(last).limit(1)
    with transaction(engine) as session:
        return session.scalars(query).first() or 0


def model_of(engine: Engine, stream_id: str) -> str | None:
    """Return the name of the model that answers a stream; None for a stream that is not known."""
    with transaction(engine) as session:
        return session.scalars(select(LiveStream.model).where(LiveStream.id == stream_id)).first()


def newest_streams(engine: Engine, *, ended_since: float) -> list[LiveStream]:
    """Return the newest stream of each bed, by name of bed, unless it ended before a time."""
    query = select(LiveStream).where(LiveStream.ended_at.is_(None) | (LiveStream.ended_at >= ended_since))
    with transaction(engine) as session:
        newest = {stream.bed: stream for stream in session.scalars(query.order_by(LiveStream.begun_at))}
        session.expunge_all()
        return [newest[bed] for bed in sorted(newest)]


def open_streams(engine: Engine) -> list[LiveStream]:
    """Return the streams that have not ended."""
    with transaction(engine) as session:
        streams = list(session.scalars(select(LiveStream).where(LiveStream.ended_at.is_(None))))
        session.expunge_all()
        return streams


def last_alarm(engine: Engine, stream_id: str, condition: str) -> Alarm | None:
    """Return a stream's newest alarm of a condition."""
    query = select(Alarm).where(Alarm.stream == stream_id, Alarm.condition == condition)
    with transaction(engine) as session:
        alarm = session.scalars(query.order_by(Alarm.onset_s.desc()).limit(1)).first()
        if alarm is not None:
            session.expunge(alarm)
        return alarm


def _content(stream: LiveStream) -> Sequence[object]:
    return stream.bed, stream.owner, list(stream.ch_names), stream.sfreq, stream.hop_s, stream.model
