"""Claiming a job row, saying that it is alive, and ending it. The row decides, never the message."""

import uuid
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.db import session_scope
from app.domain.terms import JobKind, JobState
from app.jobs import finish, resend
from app.models import Event, Job
from app.services.run_log import tell_end


class LostJobError(Exception):
    """Another attempt owns this job now: whoever gets this must stop without writing anything more."""


def utc_now() -> datetime:
    """The worker's clock; services get the time as an argument."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Claim:
    """One attempt at one job. Every write is fenced by the attempt number, so a worker thought dead cannot write."""

    job_id: uuid.UUID
    attempt: int
    kind: JobKind
    subject_id: uuid.UUID

    def hold(self, session: Session) -> Job:
        """The job row, locked for this transaction.

        Raises:
            LostJobError: the job was given to another attempt, or has ended.
        """
        job = session.scalar(select(Job).where(Job.id == self.job_id).with_for_update())
        if job is None or job.attempt != self.attempt or job.state is not JobState.RUNNING:
            raise LostJobError(str(self.job_id))
        return job

    def progress(
        self, session: Session, *, done: int, total: int, message: str = "", eta_seconds: float | None = None
    ) -> None:
        """Record how far the work is, in the transaction of the work itself.

        Raises:
            LostJobError: the job was given to another attempt, or has ended.
        """
        job = self.hold(session)
        now = utc_now()
        job.done, job.total, job.message, job.eta_seconds, job.heartbeat_at = (
            done,
            total,
            message,
            eta_seconds,
            now,
        )
        _announce(session, job, now)

    def cancel_requested(self) -> bool:
        """Whether somebody asked this job to stop, or another attempt owns it now."""
        with session_scope(write=False) as session:
            job = session.get(Job, self.job_id)
            lost = job is None or job.attempt != self.attempt or job.state is not JobState.RUNNING
            return lost or (job is not None and job.cancel_requested_at is not None)

    def end(self, session: Session, state: JobState, *, error: str = "") -> None:
        """The last word on this attempt.

        Raises:
            LostJobError: the job was given to another attempt, or has ended.
        """
        job = self.hold(session)
        if state is JobState.DONE:
            job.done = job.total
        tell_end(session, job, state, error, now=utc_now())
        finish(session, job, state, now=utc_now(), error=error)

    def give_back(self, *, reason: str, counts: bool = True) -> None:
        """Put the job back in line, or fail it after its last attempt. Does nothing if somebody else has it.

        An attempt that does not count (the worker was told to stop) is not held against the job.
        """
        with suppress(LostJobError), session_scope() as session:
            job = self.hold(session)
            if not counts:
                job.max_attempts += 1
            requeue(session, job, reason=reason, now=utc_now())


def _announce(session: Session, job: Job, now: datetime) -> None:
    session.add(Event(topic="jobs", subject_id=job.id, created_at=now))


def claim(job_id: uuid.UUID, *, worker: str) -> Claim | None:
    """Take a queued job, or ``None`` if there is nothing to take: a second message for it changes nothing."""
    now = utc_now()
    with session_scope() as session:
        taken = session.execute(
            update(Job)
            .where(Job.id == job_id, Job.state == JobState.QUEUED, Job.waits_for_id.is_(None))
            .values(
                state=JobState.RUNNING,
                attempt=Job.attempt + 1,
                worker=worker,
                started_at=func.coalesce(Job.started_at, now),
                heartbeat_at=now,
                message="Starting",
            )
            .returning(Job.id)
        ).first()
        if taken is None:
            return None
        job = session.get_one(Job, job_id, populate_existing=True)
        _announce(session, job, now)
        return Claim(job.id, job.attempt, job.kind, job.subject_id)


def requeue(session: Session, job: Job, *, reason: str, now: datetime) -> None:
    """A running job lost its worker: next attempt, or the end if it was cancelled or had its last one."""
    tell_end(session, job, JobState.FAILED, reason, now=now)
    if job.cancel_requested_at is not None:
        finish(session, job, JobState.CANCELLED, now=now)
    elif job.attempt >= job.max_attempts:
        kept = f"This was attempt {job.attempt}; what was stored is kept. Press retry to go on."
        finish(session, job, JobState.FAILED, now=now, error=f"{reason} {kept}")
    else:
        job.state, job.message = JobState.QUEUED, reason
        resend(session, job, now=now)
        _announce(session, job, now)
