"""Seats: who may vote on an eval batch. Admins may on each; everybody else needs a seat that was not taken back."""

import uuid
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.errors import NotFoundError
from app.domain.terms import Role
from app.models import Ballot, EvalBatch, Seat, Voter
from app.services.slots import NOTHING_HERE, lapse, locked


def require_seat(session: Session, batch_id: uuid.UUID, voter_id: uuid.UUID, role: Role) -> Voter:
    """Let nobody near a ballot who has no seat; returns who votes.

    Raises:
        NotFoundError: no seat, a seat that was taken back, or no such eval batch (one sentence for all).
    """
    voting = select(Voter).where(Voter.id == voter_id)
    if role is not Role.ADMIN:
        seated = (Seat.voter_id == Voter.id) & (Seat.eval_batch_id == batch_id) & Seat.revoked_at.is_(None)
        voting = voting.join(Seat, seated)
    voter = session.scalar(voting)
    if voter is None:
        raise NotFoundError(NOTHING_HERE)
    return voter


def seat_of(session: Session, batch_id: uuid.UUID, voter_id: uuid.UUID) -> Seat | None:
    """A voter's seat in an eval batch, whether it was taken back or not."""
    return session.scalar(select(Seat).where(Seat.eval_batch_id == batch_id, Seat.voter_id == voter_id))


def give_seat(
    session: Session,
    batch: EvalBatch,
    voter: Voter,
    *,
    title: str,
    now: datetime,
    invite_id: uuid.UUID | None = None,
) -> Seat:
    """A voter's seat in an eval batch, made if there is none. One that was taken back stays so."""
    seat = seat_of(session, batch.id, voter.id)
    if seat is None:
        seat = Seat(
            eval_batch_id=batch.id, voter_id=voter.id, invite_id=invite_id, title=title, joined_at=now, revoked_at=None
        )
        session.add(seat)
        session.flush()
    return seat


def _stored(session: Session, batch_id: uuid.UUID, voter_id: uuid.UUID) -> Seat:
    seat = seat_of(session, batch_id, voter_id)
    if seat is None:
        raise NotFoundError("This person has no seat in this eval batch. The page shows who has one.")
    return seat


def revoke_seat(session: Session, batch_id: uuid.UUID, voter_id: uuid.UUID, *, now: datetime) -> Seat:
    """Show a rater no more pairs of an eval batch. What was voted stays; an open ballot lapses and frees its slot.

    Raises:
        NotFoundError: there is no such seat.
    """
    seat = _stored(session, batch_id, voter_id)
    locked(session, batch_id)  # before the ballot, as everybody does who needs both
    if seat.revoked_at is None:
        seat.revoked_at = now
        lapse(session, batch_id, Ballot.voter_id == voter_id, now=now)
    session.flush()
    return seat


def restore_seat(session: Session, batch_id: uuid.UUID, voter_id: uuid.UUID) -> Seat:
    """Give a seat back.

    Raises:
        NotFoundError: there is no such seat.
    """
    seat = _stored(session, batch_id, voter_id)
    seat.revoked_at = None
    session.flush()
    return seat
