"""Jobs and the workers that do them. The row is the truth; a broker message only wakes a worker."""

import uuid
from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.terms import JobKind, JobState, Queue
from app.models.types import Identified, Table, TextEnum

_UNFINISHED = "state IN ('queued', 'running')"


class Job(Identified, Table):
    """One piece of background work. At most one unfinished job per kind and subject."""

    __tablename__ = "job"
    __table_args__ = (
        Index("uq_job_unfinished", "kind", "subject_id", unique=True,
              sqlite_where=text(_UNFINISHED), postgresql_where=text(_UNFINISHED)),
        Index("ix_job_state", "state", "queue"),
    )  # fmt: skip

    kind: Mapped[JobKind] = mapped_column(TextEnum(JobKind))
    queue: Mapped[Queue] = mapped_column(TextEnum(Queue))
    subject_id: Mapped[uuid.UUID]
    """Id of the run, eval batch or base model the work is for."""
    title: Mapped[str] = mapped_column(String(300))
    waits_for_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("job.id"))
    """Another job that must be done first; emptied when it is."""
    state: Mapped[JobState] = mapped_column(TextEnum(JobState))
    done: Mapped[int] = mapped_column(BigInteger, default=0)
    """Of ``total``: steps, responses, or bytes of a download."""
    total: Mapped[int] = mapped_column(BigInteger, default=0)
    message: Mapped[str] = mapped_column(Text, default="")
    eta_seconds: Mapped[float | None]
    attempt: Mapped[int] = mapped_column(default=0)
    """Counts claims; every write of a worker names its attempt, so a lost worker cannot write late."""
    max_attempts: Mapped[int] = mapped_column(default=3)
    worker: Mapped[str] = mapped_column(String(200), default="")
    error: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    heartbeat_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    cancel_requested_at: Mapped[datetime | None]


class Worker(Table):
    """A worker process that has said it is alive."""

    __tablename__ = "worker"

    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    queue: Mapped[Queue] = mapped_column(TextEnum(Queue))
    device: Mapped[str] = mapped_column(String(60), default="")
    started_at: Mapped[datetime]
    heartbeat_at: Mapped[datetime]
