"""Snapshots of what takes long to read, made anew by a job when many more votes have come in."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

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
        # Two workers may sweep at the same moment; the second waits here and then sees what the first has asked for.
        session.execute(select(EvalBatch.id).where(EvalBatch.id == batch_id).with_for_update())
        if session.scalar(_in_hand(batch_id)) is None:
            jobs.enqueue(session, JobKind.SNAPSHOT, batch_id, title=f"Count the votes of {name} anew", now=now)
            asked += 1
    return asked


@dataclass(frozen=True)
class Counted:
    """What was counted of an eval batch, and of how many votes."""

    batch_id: uuid.UUID
    votes: int
    content: dict[str, Any]


def count(session: Session, batch_id: uuid.UUID) -> Counted:
    """Read every vote of an eval batch. Takes long, and only reads: nobody's vote has to wait for it."""
    batch = session.get_one(EvalBatch, batch_id)
    found = statistics_of(session, batch, excluded_of(session, batch).reasons)
    return Counted(batch.id, standing(session, batch.id), stored_form(found))


def keep(session: Session, counted: Counted, *, now: datetime) -> Snapshot:
    """Store what was counted, in place of the snapshot before it."""
    batch_id = counted.batch_id
    session.execute(select(EvalBatch.id).where(EvalBatch.id == batch_id).with_for_update())  # one at a time
    found = session.get(Snapshot, batch_id, populate_existing=True)
    if found is None:
        found = Snapshot(eval_batch_id=batch_id)
        session.add(found)
    found.votes, found.content, found.made_at = counted.votes, counted.content, now
    announce(session, "verdicts", batch_id, now=now)
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


def _in_hand(batch_id: uuid.UUID) -> Select[uuid.UUID]:
    """A job that is on its way; or one that failed or was cancelled, which a person tries again and no sweep does."""
    return (
        select(Job.id)
        .where(Job.kind == JobKind.SNAPSHOT, Job.subject_id == batch_id, Job.state != JobState.DONE)
        .limit(1)
    )
