"""Jobs: a row that is the truth, and a message that only wakes a worker. Celery is named here and in ``worker``."""

import os
import uuid
from datetime import datetime
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from celery import Celery
from kombu.exceptions import OperationalError
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import event, select, update
from sqlalchemy.orm import Session

from app.config import Settings, get_settings
from app.domain.errors import BadInputError, ConflictError, NotFoundError
from app.domain.terms import JobKind, JobState, JudgingState, Queue
from app.filesystem_broker import TRANSPORT, transport_options
from app.log import get_logger
from app.models import Event, Job, Judging

log = get_logger(__name__)

TASK = "arena.work"
QUEUE_OF = {
    JobKind.FETCH_BASE_MODEL: Queue.IO,
    JobKind.TRAIN: Queue.GPU,
    JobKind.GENERATE: Queue.GPU,
    JobKind.JUDGE: Queue.IO,
    JobKind.SNAPSHOT: Queue.IO,
    JobKind.INTAKE: Queue.GPU,
    JobKind.PERPLEXITY: Queue.GPU,
    JobKind.PACKAGE: Queue.GPU,
    JobKind.TRIAL: Queue.GPU,
}
_UNSENT = "arena_unsent_jobs"
_AT_ONCE = {"max_retries": 0, "interval_start": 0, "interval_step": 0, "interval_max": 0, "socket_connect_timeout": 2.0}
"""kombu waits six seconds for a Redis that is down, and for one that is out of reach as long as the system likes.
Whoever sends may be answering a request, and the sweep sends again."""
_REDIS_SCHEMES = ("redis", "rediss")


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


def require_known_broker(settings: Settings) -> None:
    """Refuse a broker address that no message could ever go to. A broker that is down is fine: jobs wait.

    Raises:
        BadInputError: it is neither empty nor a Redis address.
    """
    try:
        address = urlsplit(settings.broker_url)
        known = address.scheme in _REDIS_SCHEMES and bool(address.hostname) and address.port != 0
    except ValueError:  # a port that is no number
        known = False
    if settings.broker_url and not known:
        raise BadInputError(
            "ARENA_BROKER_URL is not a usable broker address: give redis://HOST:PORT/NUMBER, or leave it empty for the "
            "embedded broker."
        )


def broker_trouble(settings: Settings) -> str:
    """Why no message could be sent now; empty when one could. Answers within seconds."""
    if not settings.broker_url:
        folder = settings.broker_folder
        nearest = next(place for place in (folder, *folder.parents) if place.exists())
        return "" if nearest.is_dir() and os.access(nearest, os.W_OK) else "the folder cannot be written to"
    try:
        with Redis.from_url(settings.broker_url, socket_connect_timeout=1.0, socket_timeout=1.0) as redis:
            redis.ping()
    except (RedisError, OSError, ValueError) as error:
        return type(error).__name__
    return ""


@lru_cache(maxsize=1)
def _producer() -> Celery:
    settings = get_settings()
    celery = make_celery(settings)
    if settings.broker_url:
        celery.conf.broker_transport_options = _AT_ONCE
    return celery


def send(job_id: uuid.UUID, queue: Queue) -> None:
    """Wake a worker of the queue. A broker that is down is logged, not raised: the sweep sends again."""
    try:
        _producer().send_task(TASK, args=[str(job_id)], queue=queue.value)
    except (OperationalError, OSError) as error:
        log.warning("job_message_not_sent", job_id=str(job_id), reason=str(error))


def enqueue(
    session: Session,
    kind: JobKind,
    subject_id: uuid.UUID,
    *,
    title: str,
    now: datetime,
    after: Job | None = None,
    queue: Queue | None = None,
) -> Job:
    """Add a job; its message leaves after the commit and is dropped with a rollback.

    An unfinished job of the same kind for the same subject is returned instead of a second one. With ``after``
    it waits until that job is done, and fails if that one does. ``queue``: another one than the usual of its kind.
    """
    if after is not None:
        session.refresh(after, with_for_update=True)  # it cannot end between this look and our commit
    unfinished = _unfinished(session, kind, subject_id)
    if unfinished is not None:
        return unfinished
    job = Job(
        kind=kind,
        queue=queue or QUEUE_OF[kind],
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
    elif after.state not in (JobState.QUEUED, JobState.RUNNING):
        _end_wait(session, job, after, now=now)
    return job


def _unfinished(session: Session, kind: JobKind, subject_id: uuid.UUID) -> Job | None:
    states = (JobState.QUEUED, JobState.RUNNING)
    return session.scalar(select(Job).where(Job.kind == kind, Job.subject_id == subject_id, Job.state.in_(states)))


def resend(session: Session, job: Job, *, now: datetime) -> None:
    """Wake a worker for this job once more, after the commit."""
    job.sent_at = now
    session.info.setdefault(_UNSENT, []).append((job.id, job.queue))


def finish(session: Session, job: Job, state: JobState, *, now: datetime, error: str = "") -> None:
    """End a job, and with it the wait of the jobs that come after it."""
    job.state, job.error, job.finished_at, job.eta_seconds = state, error, now, None
    session.add(Event(topic="jobs", subject_id=job.id, created_at=now))
    if job.kind is JobKind.JUDGE:  # also one that never began, or whose worker died once too often
        kept = "All verdicts so far are kept; it can go on."
        session.execute(
            update(Judging)
            .where(Judging.job_id == job.id, Judging.state == JudgingState.RUNNING)
            .values(state=JudgingState.STOPPED, message=error or f"Somebody stopped it. {kept}", ended_at=now)
        )
    for waiting in session.scalars(select(Job).where(Job.waits_for_id == job.id, Job.state == JobState.QUEUED)):
        _end_wait(session, waiting, job, now=now)


def _end_wait(session: Session, waiting: Job, ended: Job, *, now: datetime) -> None:
    """Start the job that waited for one that has ended, or fail it with that one's reason."""
    waiting.waits_for_id = None
    if ended.state is JobState.DONE:
        waiting.message = ""
        resend(session, waiting, now=now)
    else:
        how = "was cancelled" if ended.state is JobState.CANCELLED else "failed"
        reason = f"It needed “{ended.title}”, which {how}. {ended.error}".strip()
        finish(session, waiting, JobState.FAILED, now=now, error=reason)


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
    """Queue a failed or cancelled job again. It goes on from what it stored.

    Raises:
        NotFoundError: no job has this id.
        ConflictError: it is queued, running or done, or a newer job does the same.
    """
    job = session.get(Job, job_id, with_for_update=True)
    if job is None:
        raise NotFoundError("There is no such job. The jobs page shows what exists.")
    if job.state not in (JobState.FAILED, JobState.CANCELLED):
        raise ConflictError(f"Only a failed or cancelled job can be tried again; this one is {job.state}.")
    if _unfinished(session, job.kind, job.subject_id) is not None:
        raise ConflictError("A newer job does the same already. Nothing was changed.")
    job.state = JobState.QUEUED
    job.error = ""
    job.cancel_requested_at = None
    job.finished_at = None
    job.max_attempts = job.attempt + 3
    after = session.get(Job, job.waits_for_id, with_for_update=True) if job.waits_for_id else None
    if after is None:
        resend(session, job, now=now)
    elif after.state not in (JobState.QUEUED, JobState.RUNNING):
        _end_wait(session, job, after, now=now)
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
