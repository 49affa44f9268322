"""Where a voter has a seat: what a voting client may list. Titles from seats, never the name of an eval batch."""

import uuid
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.terms import BatchState
from app.models import Ballot, EvalBatch, Seat

MOST = 50
"""Eval batches listed at most, newest first."""


@dataclass(frozen=True)
class Place:
    """An eval batch that somebody may vote on. ``title`` is what a rater was told; an admin was told nothing."""

    batch_id: uuid.UUID
    title: str | None
    state: BatchState


def places_of(session: Session, voter_id: uuid.UUID, *, is_admin: bool) -> tuple[Place, ...]:
    """The eval batches in which this voter has a seat; an admin needs none and finds the open ones as well."""
    mine = select(EvalBatch.id, Seat.title, EvalBatch.state, EvalBatch.created_at)
    seat = (Seat.eval_batch_id == EvalBatch.id) & (Seat.voter_id == voter_id) & Seat.revoked_at.is_(None)
    if is_admin:
        query = mine.outerjoin(Seat, seat).where((EvalBatch.state == BatchState.OPEN) | Seat.id.is_not(None))
    else:
        query = mine.join(Seat, seat)
    rows = session.execute(query.order_by(EvalBatch.created_at.desc(), EvalBatch.id).limit(MOST))
    return tuple(Place(id_, title, state) for id_, title, state, _ in rows)


def batch_of_ballot(session: Session, ballot_id: uuid.UUID, voter_id: uuid.UUID) -> uuid.UUID | None:
    """The eval batch of a ballot of this voter, not locked; ``None``: it does not exist or is somebody else's."""
    return session.scalar(select(Ballot.eval_batch_id).where(Ballot.id == ballot_id, Ballot.voter_id == voter_id))
