"""Jobs in the records: accepted once, run by one worker at a time, finished once, whatever is killed in between.

A job is accepted when its row is committed, and done when its answers and its state are, in one transaction. A worker
that is gone is noticed by the age of `seen_at`; its job is accepted again, up to `MOST_ATTEMPTS` times.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any
from uuid import uuid4

import numpy as np
from sqlalchemy import Engine, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.formats.findings import Findings, events
from service.records import embeddings
from service.records.database import transaction
from service.records.tables import ACCEPTED, DONE, FAILED, RUNNING, Event, Job, Study, WindowAnswer
from service.refusals import Refusal
from serving.runtime import Answer

ALIVE_S = 15.0
"""A worker that was not seen for so long is gone."""
MOST_ATTEMPTS = 3


def accept(engine: Engine, job: Job, *, most_waiting: int) -> Job:
    """Commit a job and return it, or the earlier one of the same request key.

    Raises Refusal 503 "queue_full" where `most_waiting` jobs wait already.
    """
    if job.request_key is not None and (earlier := _of_key(engine, job.request_key)) is not None:
        return earlier
    with transaction(engine) as session:
        waiting = session.scalar(select(func.count()).select_from(Job).where(Job.state.in_((ACCEPTED, RUNNING))))
        if (waiting or 0) >= most_waiting:
            raise Refusal(503, "queue_full", "too many recordings wait already", "send it again later", 30.0)
        try:
            with session.begin_nested():
                session.add(job)
        except IntegrityError:  # the same key at the same moment
            job = session.scalars(select(Job).where(Job.request_key == job.request_key)).one()
        session.flush()
        session.refresh(job)
        session.expunge(job)
    return job


def new_job(
    *, owner: str, file: str, is_upload: bool, model: str, hop_s: float, request_key: str | None = None,
    study_id: str | None = None,
) -> Job:  # fmt: skip
    """Return a job to accept."""
    return Job(
        id=uuid4().hex, state=ACCEPTED, owner=owner, request_key=request_key, study_id=study_id, file=file,
        is_upload=is_upload, model=model, hop_s=hop_s, created_at=time.time(), source_sha256="", model_digest="",
        worker="", attempts=0, n_done=0, n_windows=0, code="", error="",
    )  # fmt: skip


def _of_key(engine: Engine, key: str) -> Job | None:
    with transaction(engine) as session:
        return _detached(session, session.scalars(select(Job).where(Job.request_key == key)).one_or_none())


def claim(engine: Engine, worker: str) -> Job | None:
    """Return the oldest accepted job, which is this worker's from now on; None where there is none."""
    with transaction(engine) as session:
        for job_id in session.scalars(
            select(Job.id).where(Job.state == ACCEPTED).order_by(Job.created_at, Job.id).limit(5)
        ):
            taken = session.execute(
                update(Job)
                .where(Job.id == job_id, Job.state == ACCEPTED)  # two workers may see the same row
                .values(state=RUNNING, worker=worker, seen_at=time.time(), attempts=Job.attempts + 1, n_done=0)
            )
            if taken.rowcount == 1:  # type: ignore[attr-defined]
                return _detached(session, session.get_one(Job, job_id))
    return None


def progress(engine: Engine, job: Job, *, n_done: int, n_windows: int) -> bool:
    """Note how far a worker is; returns whether the job is still its own."""
    return _own(engine, job, n_done=n_done, n_windows=n_windows, seen_at=time.time())


def finish(engine: Engine, job: Job, findings: Findings, *, vectors: np.ndarray | None = None) -> bool:
    """Commit all answers, their embeddings (a row of `vectors` each), events and the end of a job; returns False, with
    nothing written, where it is not its worker's."""
    n_windows = len(findings.answers)
    with transaction(engine) as session:
        if not _update_own(
            session, job, state=DONE, finished_at=findings.created_at, source_sha256=findings.source_sha256,
            model_digest=findings.model_digest, n_done=n_windows, n_windows=n_windows, code="", error="",
        ):  # fmt: skip
            return False
        answers = [
            {"job_id": job.id, "start_s": answer.start_s, "stop_s": answer.stop_s, "answer": asdict(answer)}
            for answer in findings.answers
        ]
        _replace(session, WindowAnswer, job, answers)
        embeddings.keep(session, job.id, vectors)
        _replace(session, Event, job, [{"job_id": job.id, **asdict(event)} for event in events(findings)])
        if job.study_id is not None:
            digest = {"source_sha256": findings.source_sha256}
            session.execute(update(Study).where(Study.id == job.study_id).values(**digest))
        return True


def _replace(session: Session, table: type[WindowAnswer | Event], job: Job, rows: Sequence[dict[str, Any]]) -> None:
    session.execute(delete(table).where(table.job_id == job.id))
    if rows:
        session.execute(insert(table), rows)


def fail(engine: Engine, job: Job, refusal: Refusal) -> bool:
    """End a job with its reason; returns False where it is not its worker's."""
    return _own(engine, job, state=FAILED, finished_at=time.time(), code=refusal.code[:64], error=refusal.error[:400])


def give_back(engine: Engine, *, everyone: bool = False) -> int:
    """Accept again the jobs of workers that are gone, or of all workers; returns how many.

    A job that took several workers with it fails as "worker_crashed".
    """
    lost = [Job.state == RUNNING] + ([] if everyone else [Job.seen_at < time.time() - ALIVE_S])
    with transaction(engine) as session:
        session.execute(
            update(Job)
            .where(*lost, Job.attempts >= MOST_ATTEMPTS)
            .values(
                state=FAILED, finished_at=time.time(), code="worker_crashed",
                error=f"its worker ended {MOST_ATTEMPTS} times while it ran",
            )
        )  # fmt: skip
        back = session.execute(update(Job).where(*lost).values(state=ACCEPTED, worker=""))
        return int(back.rowcount)  # type: ignore[attr-defined]


def alive(engine: Engine, job: Job) -> bool:
    """Note that a job's worker is there; returns whether the job is still its own."""
    return _own(engine, job, seen_at=time.time())


def get_job(engine: Engine, job_id: str) -> Job | None:
    """Return a job."""
    with transaction(engine) as session:
        return _detached(session, session.get(Job, job_id))


def list_jobs(engine: Engine, *, owner: str | None, study_id: str | None = None, limit: int = 100) -> list[Job]:
    """Return the newest jobs, of one owner or of all, of one study or of any."""
    query = select(Job).order_by(Job.created_at.desc()).limit(limit)
    if owner is not None:
        query = query.where(Job.owner == owner)
    if study_id is not None:
        query = query.where(Job.study_id == study_id)
    with transaction(engine) as session:
        jobs = list(session.scalars(query))
        session.expunge_all()
        return jobs


def answers_of(engine: Engine, job_id: str) -> list[Answer]:
    """Return a finished job's answers in order of time."""
    query = select(WindowAnswer.answer).where(WindowAnswer.job_id == job_id).order_by(WindowAnswer.start_s)
    with transaction(engine) as session:
        rows = session.scalars(query).all()
    return [Answer(**{**row, "prediction_set": _tuple(row["prediction_set"])}) for row in rows]


def events_of(engine: Engine, job_id: str) -> list[Event]:
    """Return a finished job's events in order of time."""
    with transaction(engine) as session:
        found = list(session.scalars(select(Event).where(Event.job_id == job_id).order_by(Event.onset_s)))
        session.expunge_all()
        return found


def _tuple(values: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if values is None else tuple(values)


def count_by_state(engine: Engine) -> dict[str, int]:
    """Return how many jobs are in each state that has any."""
    with transaction(engine) as session:
        return dict(session.execute(select(Job.state, func.count()).group_by(Job.state)).tuples().all())


def files_in_use(engine: Engine) -> set[str]:
    """Return the uploads of jobs that are not finished."""
    with transaction(engine) as session:
        return set(session.scalars(select(Job.file).where(Job.is_upload, Job.state.in_((ACCEPTED, RUNNING)))))


def _own(engine: Engine, job: Job, **values: object) -> bool:
    with transaction(engine) as session:
        return _update_own(session, job, **values)


def _update_own(session: Session, job: Job, **values: object) -> bool:
    mine = (Job.id == job.id, Job.state == RUNNING, Job.worker == job.worker, Job.attempts == job.attempts)
    return bool(session.execute(update(Job).where(*mine).values(**values)).rowcount == 1)  # type: ignore[attr-defined]


def _detached(session: Session, job: Job | None) -> Job | None:
    if job is not None:
        session.expunge(job)
    return job
