"""What runs in the background, as pages show it."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.terms import JobKind, JobState, Queue
from app.models import Job, Worker
from app.queries.paging import FIRST_PAGE, Wanted, Window, find


@dataclass(frozen=True)
class JobView:
    """One job. ``done`` of ``total`` are steps, responses or bytes; ``eta_seconds`` may be unknown."""

    id: uuid.UUID
    kind: JobKind
    title: str
    state: JobState
    done: int
    total: int
    message: str
    eta_seconds: float | None
    error: str
    attempt: int
    cancel_requested: bool
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def unfinished(self) -> bool:
        """Whether it may still change by itself."""
        return self.state in (JobState.QUEUED, JobState.RUNNING)


@dataclass(frozen=True)
class JobsPage:
    """A page of everything in the background, newest first, and whether anybody works on it."""

    rows: tuple[JobView, ...]
    window: Window
    worker_alive: bool


def job_view(job: Job) -> JobView:
    """The view of one row."""
    return JobView(
        id=job.id,
        kind=job.kind,
        title=job.title,
        state=job.state,
        done=job.done,
        total=job.total,
        message=job.message,
        eta_seconds=job.eta_seconds,
        error=job.error,
        attempt=job.attempt,
        cancel_requested=job.cancel_requested_at is not None,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
    )


def job_views(session: Session, ids: Iterable[uuid.UUID | None]) -> dict[uuid.UUID, JobView]:
    """The views of several jobs by id, in one query."""
    wanted = {i for i in ids if i is not None}
    return {job.id: job_view(job) for job in session.scalars(select(Job).where(Job.id.in_(wanted)))}


UNFINISHED = Job.state.in_((JobState.QUEUED, JobState.RUNNING))


def unfinished_jobs(session: Session, *, most: int | None = None) -> tuple[JobView, ...]:
    """Queued and running jobs, oldest first; at most so many."""
    query = select(Job).where(UNFINISHED).order_by(Job.created_at).limit(most)
    return tuple(job_view(job) for job in session.scalars(query))


def worker_alive(session: Session, *, queue: Queue, now: datetime, stale_seconds: float, machine: str = "") -> bool:
    """Whether a worker of the queue, on any machine or on this one, has said so lately."""
    since = now - timedelta(seconds=stale_seconds)
    query = select(Worker.name).where(Worker.queue == queue, Worker.heartbeat_at >= since).limit(1)
    if machine:
        query = query.where(Worker.name.startswith(f"{machine}:", autoescape=True))
    return session.scalar(query) is not None


def jobs_page(session: Session, wanted: Wanted = FIRST_PAGE, *, now: datetime, stale_seconds: float) -> JobsPage:
    """The jobs page."""
    ids, window = find(session, wanted, Job, (Job.created_at.desc(), Job.id), Job.title)
    views = job_views(session, ids)
    alive = worker_alive(session, queue=Queue.GPU, now=now, stale_seconds=stale_seconds)
    return JobsPage(tuple(views[id_] for id_ in ids), window, alive)
