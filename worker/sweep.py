"""The sweep: gives jobs of silent workers to others, and wakes a worker for messages that were lost."""

from datetime import datetime, timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from app.domain.terms import JobState
from app.jobs import resend
from app.models import Event, Job, Worker
from worker.claim import requeue

_KEEP_EVENTS = timedelta(days=1)
_KEEP_WORKERS = timedelta(days=1)


def sweep(session: Session, *, now: datetime, stale_seconds: float) -> int:
    """One round; returns how many jobs were put back in line or woken again."""
    since = now - timedelta(seconds=stale_seconds)
    touched = 0
    silent = select(Job).where(Job.state == JobState.RUNNING, Job.heartbeat_at < since)
    for job in session.scalars(silent.with_for_update(skip_locked=True)):
        requeue(session, job, reason=f"Its worker ({job.worker}) fell silent.", now=now)
        touched += 1
    busy = select(Job.queue).where(Job.state == JobState.RUNNING)  # there a message may just be waiting its turn
    unheard = select(Job).where(
        Job.state == JobState.QUEUED, Job.waits_for_id.is_(None), Job.sent_at < since, Job.queue.not_in(busy)
    )
    for job in session.scalars(unheard.with_for_update(skip_locked=True)):
        resend(session, job, now=now)
        touched += 1
    # The newest stays: SQLite would give its number again, and open pages wait for larger ones.
    newest = select(func.max(Event.id)).scalar_subquery()
    session.execute(delete(Event).where(Event.created_at < now - _KEEP_EVENTS, Event.id < newest))
    session.execute(delete(Worker).where(Worker.heartbeat_at < now - _KEEP_WORKERS))
    return touched
