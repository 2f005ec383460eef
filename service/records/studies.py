"""Studies in the records: recordings of the configured folder, opened once for as long as the file stays the same."""

import time
from pathlib import Path
from uuid import uuid4

from sqlalchemy import Engine, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.records.database import transaction
from service.records.tables import Study
from signals.recording.recording import Recording


def stamp_of(path: Path) -> str:
    """Return what changes when a file does: its size and the time of its change."""
    about = path.stat()
    return f"{about.st_size}-{about.st_mtime_ns}"


def find_study(engine: Engine, file: str, stamp: str) -> Study | None:
    """Return the study of a file as it is now, None where it was not opened yet."""
    with transaction(engine) as session:
        return _detached(session, _of_file(session, file, stamp))


def add_study(engine: Engine, recording: Recording, *, file: str, stamp: str) -> Study:
    """Commit the study of a recording's header and return it, or the one that was there."""
    study = Study(
        id=uuid4().hex, file=file, stamp=stamp, source_sha256="", opened_at=time.time(),
        duration_s=max((one.onset_s + one.duration_s for one in recording.segments), default=0.0),
        channels=[
            {"name": name, "kind": kind, "sfreq": sfreq}
            for name, kind, sfreq in zip(recording.ch_names, recording.sensor_types, recording.sfreqs, strict=True)
        ],
        segments=[[one.onset_s, one.onset_s + one.duration_s] for one in recording.segments],
        notes=list(recording.notes),
    )  # fmt: skip
    with transaction(engine) as session:
        try:
            with session.begin_nested():
                session.add(study)
        except IntegrityError:  # opened twice at the same moment
            return _detached(session, _of_file(session, file, stamp)) or study
        session.refresh(study)
        session.expunge(study)
    return study


def get_study(engine: Engine, study_id: str) -> Study | None:
    """Return a study."""
    with transaction(engine) as session:
        return _detached(session, session.get(Study, study_id))


def list_studies(engine: Engine, *, limit: int = 500) -> list[Study]:
    """Return the studies that were opened last, newest first."""
    with transaction(engine) as session:
        studies = list(session.scalars(select(Study).order_by(Study.opened_at.desc(), Study.id).limit(limit)))
        session.expunge_all()
        return studies


def _of_file(session: Session, file: str, stamp: str) -> Study | None:
    return session.scalars(select(Study).where(Study.file == file, Study.stamp == stamp)).one_or_none()


def _detached(session: Session, study: Study | None) -> Study | None:
    if study is not None:
        session.expunge(study)
    return study
