"""Tables of the records: jobs, their answers, accesses. Times are UTC seconds since 1970."""

from typing import Any

from sqlalchemy import JSON, BigInteger, Float, ForeignKey, Integer, String, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

ACCEPTED, RUNNING, DONE, FAILED = "accepted", "running", "done", "failed"
STATES = (ACCEPTED, RUNNING, DONE, FAILED)


class Base(DeclarativeBase):
    """All tables."""


class Job(Base):
    """A recording that was accepted for an answer."""

    __tablename__ = "jobs"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    state: Mapped[str] = mapped_column(String(16), index=True)
    owner: Mapped[str] = mapped_column(String(200))
    """Subject of the token that sent it."""
    request_key: Mapped[str | None] = mapped_column(String(300), unique=True)
    """Subject and Idempotency-Key: the same key is the same job."""
    file: Mapped[str] = mapped_column(String(400))
    """Where the recording lies, below the uploads or the named recordings; emptied when an upload is deleted."""
    is_upload: Mapped[bool]
    source_sha256: Mapped[str] = mapped_column(String(64), default="")
    model: Mapped[str] = mapped_column(String(200))
    model_digest: Mapped[str] = mapped_column(String(64), default="")
    """Of the bundle that answered."""
    hop_s: Mapped[float]
    created_at: Mapped[float] = mapped_column(Float, index=True)
    finished_at: Mapped[float | None]
    worker: Mapped[str] = mapped_column(String(64), default="")
    """Who runs it."""
    seen_at: Mapped[float | None]
    """When its worker was last known to be alive."""
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    n_done: Mapped[int] = mapped_column(Integer, default=0)
    n_windows: Mapped[int] = mapped_column(Integer, default=0)
    """Windows answered, and to answer; 0 before it is known."""
    code: Mapped[str] = mapped_column(String(64), default="")
    error: Mapped[str] = mapped_column(String(400), default="")
    """Why it failed."""


class WindowAnswer(Base):
    """The answer to one window of a job."""

    __tablename__ = "answers"
    __table_args__ = (UniqueConstraint("job_id", "start_s"),)
    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), index=True)
    start_s: Mapped[float]
    stop_s: Mapped[float]
    answer: Mapped[dict[str, Any]] = mapped_column(JSON)


class Access(Base):
    """One request: who, what, when, with what result. Never what it held."""

    __tablename__ = "accesses"
    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)
    at: Mapped[float] = mapped_column(Float, index=True)
    request_id: Mapped[str] = mapped_column(String(32))
    subject: Mapped[str] = mapped_column(String(200))
    role: Mapped[str] = mapped_column(String(16))
    method: Mapped[str] = mapped_column(String(8))
    route: Mapped[str] = mapped_column(String(200))
    """The route's template, not the path."""
    job_id: Mapped[str] = mapped_column(String(32), default="")
    status: Mapped[int]
