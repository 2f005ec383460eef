"""Tables of the records. Times are UTC seconds since 1970; seconds of a recording count from its first sample."""

from typing import Any

from sqlalchemy import JSON, BigInteger, Float, ForeignKey, Integer, String, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

ACCEPTED, RUNNING, DONE, FAILED = "accepted", "running", "done", "failed"
STATES = (ACCEPTED, RUNNING, DONE, FAILED)
NUMBER = BigInteger().with_variant(Integer, "sqlite")
"""Of rows that are only counted."""


class Base(DeclarativeBase):
    """All tables."""


class Study(Base):
    """A recording of the configured folder that was opened. A file that changed is another study."""

    __tablename__ = "studies"
    __table_args__ = (UniqueConstraint("file", "stamp"),)
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    file: Mapped[str] = mapped_column(String(400))
    """Where it lies, below the folder of recordings."""
    stamp: Mapped[str] = mapped_column(String(48))
    """Size and time of change."""
    source_sha256: Mapped[str] = mapped_column(String(64), default="")
    """Empty before a job has read all of it."""
    opened_at: Mapped[float] = mapped_column(Float, index=True)
    duration_s: Mapped[float]
    """From the first sample to the last, gaps counted."""
    channels: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    """name, kind, sfreq of each."""
    segments: Mapped[list[list[float]]] = mapped_column(JSON)
    """[onset_s, stop_s] of each gap-free stretch."""
    notes: Mapped[list[str]] = mapped_column(JSON)
    """The reader's remarks."""


class Job(Base):
    """A recording that was accepted for an answer."""

    __tablename__ = "jobs"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    state: Mapped[str] = mapped_column(String(16), index=True)
    owner: Mapped[str] = mapped_column(String(200))
    """Subject of the token that sent it."""
    request_key: Mapped[str | None] = mapped_column(String(300), unique=True)
    """Subject and Idempotency-Key: the same key is the same job."""
    study_id: Mapped[str | None] = mapped_column(String(32), index=True)
    """None for an upload."""
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
    id: Mapped[int] = mapped_column(NUMBER, primary_key=True, autoincrement=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), index=True)
    start_s: Mapped[float]
    stop_s: Mapped[float]
    answer: Mapped[dict[str, Any]] = mapped_column(JSON)


class JobEmbeddings(Base):
    """What a job's model made of its windows: a row of numbers per answer, in order of time."""

    __tablename__ = "embeddings"
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    width: Mapped[int]
    vectors: Mapped[str] = mapped_column(JSON)
    """float16, little-endian, as base64: a JSON column is encrypted where keys are set."""


class Event(Base):
    """A stretch of a job's recording with one predicted class: neighbouring answers joined."""

    __tablename__ = "events"
    __table_args__ = (UniqueConstraint("job_id", "onset_s"),)
    id: Mapped[int] = mapped_column(NUMBER, primary_key=True, autoincrement=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), index=True)
    onset_s: Mapped[float]
    stop_s: Mapped[float]
    predicted_class: Mapped[str] = mapped_column(String(80))
    confidence: Mapped[float]
    """Mean over its windows."""
    n_windows: Mapped[int]


class Review(Base):
    """What one reviewer sees in one stretch of a study. Rows are withdrawn, never changed or deleted."""

    __tablename__ = "reviews"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    request_key: Mapped[str | None] = mapped_column(String(300), unique=True)
    study_id: Mapped[str] = mapped_column(ForeignKey("studies.id"), index=True)
    reviewer: Mapped[str] = mapped_column(String(200), index=True)
    """Subject of the token."""
    created_at: Mapped[float]
    start_s: Mapped[float]
    stop_s: Mapped[float]
    label: Mapped[str] = mapped_column(String(80))
    confidence: Mapped[float | None]
    """0 to 1, the reviewer's own; None where none was given."""
    withdrawn_at: Mapped[float | None]


class Alarm(Base):
    """One episode at one bed: raised once, its worst severity kept. Words of IEC 60601-1-8, no claim of conformity."""

    __tablename__ = "alarms"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    """Digest of stream, kind and onset: the same episode is the same row, however often it is written."""
    bed: Mapped[str] = mapped_column(String(80), index=True)
    stream: Mapped[str] = mapped_column(String(32))
    """One connection of one source: seconds count from its first sample."""
    kind: Mapped[str] = mapped_column(String(16))
    """physiological or technical."""
    severity: Mapped[str] = mapped_column(String(8))
    """low, medium or high; the worst so far."""
    condition: Mapped[str] = mapped_column(String(80))
    """The class whose burden it is, or what is missing."""
    onset_s: Mapped[float]
    raised_at: Mapped[float] = mapped_column(Float, index=True)
    cleared_at: Mapped[float | None]
    acknowledged_at: Mapped[float | None]
    acknowledged_by: Mapped[str] = mapped_column(String(200), default="")
    model: Mapped[str] = mapped_column(String(200), default="")
    model_digest: Mapped[str] = mapped_column(String(64), default="")


class LiveStream(Base):
    """One source's samples at one bed, from its first to its last."""

    __tablename__ = "streams"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    """The source's own, so that it can come back."""
    bed: Mapped[str] = mapped_column(String(80), index=True)
    owner: Mapped[str] = mapped_column(String(200))
    """Subject of the token that sends it; nobody else can go on with it."""
    ch_names: Mapped[list[str]] = mapped_column(JSON)
    sfreq: Mapped[float]
    hop_s: Mapped[float]
    model: Mapped[str] = mapped_column(String(200))
    begun_at: Mapped[float] = mapped_column(Float, index=True)
    ended_at: Mapped[float | None]


class LiveHop(Base):
    """The outcome of one hop of a stream; its number orders all outcomes of a server."""

    __tablename__ = "hops"
    __table_args__ = (UniqueConstraint("stream_id", "start_s"),)
    id: Mapped[int] = mapped_column(NUMBER, primary_key=True, autoincrement=True)
    stream_id: Mapped[str] = mapped_column(ForeignKey("streams.id"), index=True)
    start_s: Mapped[float]
    stop_s: Mapped[float]
    answer: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """None where there is none."""
    reason: Mapped[str] = mapped_column(String(64))
    """Why there is no answer."""
    abstained: Mapped[bool]
    plan_version: Mapped[int]
    model_digest: Mapped[str] = mapped_column(String(64))
    answered_at: Mapped[float]


class Pause(Base):
    """A stretch in which the alarms of one bed are not signalled: it ends by itself, and no alarm is lost by it."""

    __tablename__ = "pauses"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    bed: Mapped[str] = mapped_column(String(80), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    """One of `service.live.pauses.KINDS`."""
    begun_at: Mapped[float] = mapped_column(Float, index=True)
    until_at: Mapped[float]
    """When it ends by itself."""
    begun_by: Mapped[str] = mapped_column(String(200))
    ended_at: Mapped[float | None]
    """When a person ended it, or another one took its place; None where it ends, or has ended, by itself."""
    ended_by: Mapped[str] = mapped_column(String(200), default="")
    request_id: Mapped[str] = mapped_column(String(32), default="")
    """Of the request that began it, as the audit log has it."""


class Access(Base):
    """One action of a user, or one request: who, what, when, on which job or study, with what result."""

    __tablename__ = "accesses"
    id: Mapped[int] = mapped_column(NUMBER, primary_key=True, autoincrement=True)
    at: Mapped[float] = mapped_column(Float, index=True)
    request_id: Mapped[str] = mapped_column(String(32))
    subject: Mapped[str] = mapped_column(String(200))
    role: Mapped[str] = mapped_column(String(16))
    method: Mapped[str] = mapped_column(String(8))
    route: Mapped[str] = mapped_column(String(200))
    """The route's template, not the path."""
    job_id: Mapped[str] = mapped_column(String(32), default="")
    study_id: Mapped[str] = mapped_column(String(32), default="", index=True)
    status: Mapped[int]
