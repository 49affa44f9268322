"""What the database says for ``/metrics``: counts by state, ages of heartbeats. No name of anything."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.domain.terms import BallotState, JobKind, JobState, Queue
from app.models import Ballot, Job, Worker


@dataclass(frozen=True)
class Levels:
    """How much there is of what at this moment, the same from every process."""

    open_ballots: int
    jobs: dict[tuple[JobKind, JobState], int]
    heartbeat_age: dict[Queue, float]
    """Seconds since the freshest heartbeat of a worker of the queue; no entry: there never was one."""


def levels(session: Session, *, now: datetime) -> Levels:
    """Three queries; the counts grow with ballots that are open and jobs, not with votes."""
    jobs = session.execute(select(Job.kind, Job.state, func.count()).group_by(Job.kind, Job.state)).all()
    beats = session.execute(select(Worker.queue, func.max(Worker.heartbeat_at)).group_by(Worker.queue)).all()
    return Levels(
        open_ballots=session.scalar(select(func.count(Ballot.id)).where(Ballot.state == BallotState.OPEN)) or 0,
        jobs={(kind, state): number for kind, state, number in jobs},
        heartbeat_age={queue: max(0.0, (now - beat).total_seconds()) for queue, beat in beats},
    )
