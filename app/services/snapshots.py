"""Snapshots of what takes long to read, made anew by a job when many more votes have come in."""

import uuid
from datetime import datetime

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from app import jobs
from app.domain.terms import JobKind, JobState, PairKind, VoterKind
from app.models import EvalBatch, Job, Pair, Snapshot, Tally
from app.queries.quality import excluded_of
from app.queries.statistics import MOST_READ, standing, statistics_of, stored_form
from app.services.events import announce

_GROWN = 1.01
"""A snapshot is made anew when there are so many times as many votes: a drawing does not show less."""


def ask_for_due(session: Session, *, now: datetime) -> int:
    """Queue a job for each eval batch whose snapshot is missing or has fallen behind; returns how many."""
    asked = 0
    for batch_id, name, votes, at in session.execute(_many_votes()).all():
        if at is not None and at <= votes <= _GROWN * at:
            continue
        if session.scalar(_unfinished(batch_id)) is None:
            jobs.enqueue(session, JobKind.SNAPSHOT, batch_id, title=f"Count the votes of {name} anew", now=now)
            asked += 1
    return asked


def make(session: Session, batch_id: uuid.UUID, *, now: datetime) -> Snapshot:
    """Read every vote of an eval batch and store what pages need of them."""
    batch = session.get_one(EvalBatch, batch_id)
    votes = standing(session, batch.id)
    content = stored_form(statistics_of(session, batch, excluded_of(session, batch).reasons))
    found = session.get(Snapshot, batch.id)
    if found is None:
        found = Snapshot(eval_batch_id=batch.id, votes=votes, content=content, made_at=now)
        session.add(found)
    found.votes, found.content, found.made_at = votes, content, now
    announce(session, "verdicts", batch.id, now=now)
    session.flush()
    return found


def _many_votes() -> Select[uuid.UUID, str, int, int | None]:
    """Eval batches whose pages do not read votes one by one: id, name, votes, and those of the snapshot."""
    votes = func.sum(Tally.first + Tally.second + Tally.tie)
    return (
        select(EvalBatch.id, EvalBatch.name, votes, Snapshot.votes)
        .join(Tally, Tally.eval_batch_id == EvalBatch.id)
        .join(Pair, Pair.id == Tally.pair_id)
        .join(Snapshot, Snapshot.eval_batch_id == EvalBatch.id, isouter=True)
        .where(Tally.voter_kind == VoterKind.RATER, Pair.kind == PairKind.MAIN)
        .group_by(EvalBatch.id, EvalBatch.name, Snapshot.votes)
        .having(votes > MOST_READ)
    )


def _unfinished(batch_id: uuid.UUID) -> Select[uuid.UUID]:
    return select(Job.id).where(
        Job.kind == JobKind.SNAPSHOT, Job.subject_id == batch_id, Job.state.in_((JobState.QUEUED, JobState.RUNNING))
    )
