"""Jobs: a row that is the truth, and a message that only wakes a worker. Celery is named here and in ``worker``."""

import uuid
from datetime import datetime
from functools import lru_cache
from typing import Any

from celery import Celery
from kombu.exceptions import OperationalError
from sqlalchemy import event, select
from sqlalchemy.orm import Session

from app.config import Settings, get_settings
from app.domain.errors import ConflictError, NotFoundError
from app.domain.terms import JobKind, JobState, Queue
from app.filesystem_broker import TRANSPORT, transport_options
from app.log import get_logger
from app.models import Event, Job

log = get_logger(__name__)

TASK = "arena.work"
QUEUE_OF = {JobKind.FETCH_BASE_MODEL: Queue.IO, JobKind.TRAIN: Queue.GPU, JobKind.GENERATE: Queue.GPU}
_UNSENT = "arena_unsent_jobs"


def make_celery(settings: Settings) -> Celery:
    """The Celery application on the broker in the settings, without any task."""
    embedded = not settings.broker_url
    celery = Celery("arena", broker="filesystem://localhost" if embedded else settings.broker_url)
    if embedded:
        celery.conf.broker_transport = TRANSPORT
    celery.conf.update(
        task_default_queue=Queue.IO.value,
        task_ignore_result=True,  # job rows are the truth, so there is no result backend
        # Early acknowledgement: with Redis and a late one, a job longer than the visibility timeout runs twice.
        task_acks_late=False,
        worker_prefetch_multiplier=1,
        broker_connection_retry_on_startup=True,
        broker_transport_options=transport_options(settings.broker_folder) if embedded else {},
        task_publish_retry=False,  # a message that does not go out now is sent again by the sweep
        worker_hijack_root_logger=False,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
    )
    return celery


@lru_cache(maxsize=1)
def _producer() -> Celery:
    return make_celery(get_settings())


def send(job_id: uuid.UUID, queue: Queue) -> None:
    """Wake a worker of the queue. A broker that is down is logged, not raised: the sweep sends again."""
    try:
        _producer().send_task(TASK, args=[str(job_id)], queue=queue.value)
    except (OperationalError, OSError) as error:
        log.warning("job_message_not_sent", job_id=str(job_id), reason=str(error))


def enqueue(
    session: Session, kind: JobKind, subject_id: uuid.UUID, *, title: str, now: datetime, after: Job | None = None
) -> Job:
    """Add a job; its message leaves after the commit and is dropped with a rollback.

    An unfinished job of the same kind for the same subject is returned instead of a second one. With ``after``
    it waits until that job is done, and fails if that one does.
    """
    unfinished = session.scalar(
        select(Job).where(
            Job.kind == kind, Job.subject_id == subject_id, Job.state.in_((JobState.QUEUED, JobState.RUNNING))
        )
    )
    if unfinished is not None:
        return unfinished
    job = Job(
        kind=kind,
        queue=QUEUE_OF[kind],
        subject_id=subject_id,
        title=title,
        state=JobState.QUEUED,
        message=f"Waiting for: {after.title}" if after else "",
        waits_for_id=after.id if after else None,
        created_at=now,
    )
    session.add(job)
    session.flush()
    session.add(Event(topic="jobs", subject_id=job.id, created_at=now))
    if after is None:
        resend(session, job, now=now)
    return job


def resend(session: Session, job: Job, *, now: datetime) -> None:
    """Wake a worker for this job once more, after the commit."""
    job.sent_at = now
    session.info.setdefault(_UNSENT, []).append((job.id, job.queue))


def finish(session: Session, job: Job, state: JobState, *, now: datetime, error: str = "") -> None:
    """End a job, and with it the wait of the jobs that come after it."""
    job.state, job.error, job.finished_at, job.eta_seconds = state, error, now, None
    session.add(Event(topic="jobs", subject_id=job.id, created_at=now))
    for waiting in session.scalars(select(Job).where(Job.waits_for_id == job.id, Job.state == JobState.QUEUED)):
        waiting.waits_for_id = None
        if state is JobState.DONE:
            waiting.message = ""
            resend(session, waiting, now=now)
        else:
            reason = f"It needed “{job.title}”, which {'was cancelled' if state is JobState.CANCELLED else 'failed'}."
            finish(session, waiting, JobState.FAILED, now=now, error=f"{reason} {error}".strip())


def request_cancel(session: Session, job_id: uuid.UUID, *, now: datetime) -> Job:
    """Ask a job to stop. A queued one stops at once; a running one saves what it has first.

    Raises:
        NotFoundError: no job has this id.
        ConflictError: it has already ended.
    """
    job = session.get(Job, job_id, with_for_update=True)
    if job is None:
        raise NotFoundError("There is no such job. The jobs page shows what exists.")
    if job.state not in (JobState.QUEUED, JobState.RUNNING):
        raise ConflictError(f"This job has already ended ({job.state}). Nothing was changed.")
    job.cancel_requested_at = now
    if job.state is JobState.QUEUED:
        finish(session, job, JobState.CANCELLED, now=now)
    else:
        session.add(Event(topic="jobs", subject_id=job.id, created_at=now))
    return job


def retry(session: Session, job_id: uuid.UUID, *, now: datetime) -> Job:
    """Queue a failed or cancelled job again; it goes on from what it stored.

    Raises:
        NotFoundError: no job has this id.
        ConflictError: it is queued, running or done.
    """
    job = session.get(Job, job_id, with_for_update=True)
    if job is None:
        raise NotFoundError("There is no such job. The jobs page shows what exists.")
    if job.state not in (JobState.FAILED, JobState.CANCELLED):
        raise ConflictError(f"Only a failed or cancelled job can be tried again; this one is {job.state}.")
    job.state = JobState.QUEUED
    job.error = ""
    job.cancel_requested_at = None
    job.finished_at = None
    job.max_attempts = job.attempt + 3
    resend(session, job, now=now)
    session.add(Event(topic="jobs", subject_id=job.id, created_at=now))
    return job


@event.listens_for(Session, "after_commit")
def _send_after_commit(session: Session) -> None:
    unsent: list[tuple[uuid.UUID, Queue]] = session.info.pop(_UNSENT, [])
    for job_id, queue in unsent:
        send(job_id, queue)


@event.listens_for(Session, "after_soft_rollback")
def _drop_after_rollback(session: Session, _previous: Any) -> None:
    session.info.pop(_UNSENT, None)
