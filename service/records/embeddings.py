"""Embeddings in the records: one row of numbers per answer of a finished job, for what resembles what."""

import base64
from collections.abc import Sequence

import numpy as np
from sqlalchemy import Engine, delete, select
from sqlalchemy.orm import Session

from service.records.database import transaction
from service.records.tables import JobEmbeddings

_TYPE = np.dtype("<f2")


def keep(session: Session, job_id: str, vectors: np.ndarray | None) -> None:
    """Write a job's embeddings, shape (n_answers, width), in place of earlier ones; values beyond float16 are clipped.

    Nothing is kept of vectors that are not finite.
    """
    session.execute(delete(JobEmbeddings).where(JobEmbeddings.job_id == job_id))
    if vectors is None or not np.isfinite(vectors).all():
        return
    limit = float(np.finfo(_TYPE).max)
    text = base64.b64encode(np.clip(vectors, -limit, limit).astype(_TYPE).tobytes()).decode()
    session.add(JobEmbeddings(job_id=job_id, width=vectors.shape[1], vectors=text))


def embeddings_of(engine: Engine, job_ids: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the embeddings of jobs, float32, shape (n_answers, width), by job; jobs without any are left out."""
    with transaction(engine) as session:
        rows = session.scalars(select(JobEmbeddings).where(JobEmbeddings.job_id.in_(job_ids))).all()
        return {
            row.job_id: np.frombuffer(base64.b64decode(row.vectors), _TYPE).reshape(-1, row.width).astype(np.float32)
            for row in rows
        }
