"""Slots: a pair has k of them, and a ballot holds one from the moment it is shown until it lapses or is taken back."""

import uuid
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BindParameter, bindparam, select, update
from sqlalchemy.orm import Session

from app import meters
from app.domain.errors import NotFoundError
from app.domain.terms import BallotState, VoterKind
from app.models import Ballot, EvalBatch, Tally
from app.models.types import TextEnum

NOTHING_HERE = "There is nothing to vote on at this address. Ask for a new link."


def locked(session: Session, batch_id: uuid.UUID) -> EvalBatch:
    """The batch, locked: issuing is serial within a batch, so blocks of orders and slots stay exact.

    Not against new pairs, which only point to it: voting must not make generation wait.

    Raises:
        NotFoundError: no such eval batch.
    """
    batch = session.get(EvalBatch, batch_id, with_for_update={"key_share": True}, populate_existing=True)
    if batch is None:
        raise NotFoundError(NOTHING_HERE)
    return batch


def held(session: Session, batch_id: uuid.UUID, voter_id: uuid.UUID) -> Ballot | None:
    """The voter's open ballot in the batch, locked: another tab may be voting on it at this moment."""
    return session.scalar(
        select(Ballot).where(
            Ballot.eval_batch_id == batch_id, Ballot.voter_id == voter_id, Ballot.state == BallotState.OPEN
        ).with_for_update()
    )  # fmt: skip


def lapse(session: Session, batch_id: uuid.UUID, *which: Any, now: datetime) -> None:
    """Let open ballots of a batch expire and free their slots; a judge's wait as long as it takes.

    One statement finds and changes them: a vote that is being stored at this moment is waited for, not overwritten.
    """
    lapsed = session.execute(
        update(Ballot)
        .where(Ballot.eval_batch_id == batch_id, Ballot.state == _written_out(BallotState.OPEN), *which)
        .where(Ballot.voter_kind != VoterKind.JUDGE)
        .values(state=BallotState.EXPIRED, closed_at=now)
        .returning(Ballot.pair_id, Ballot.voter_kind, Ballot.is_repeat)
    ).all()
    meters.count(session, meters.BALLOTS, "expired", len(lapsed))
    for pair_id, voter_kind, is_repeat in lapsed:
        if not is_repeat:
            hold(session, pair_id, voter_kind, -1)


def lapse_overdue(session: Session, batch_id: uuid.UUID, kind: VoterKind, *, now: datetime) -> None:
    """The same for the ballots of one kind of voter whose time is over: each kind has slots of its own."""
    lapse(session, batch_id, Ballot.voter_kind == _written_out(kind), Ballot.expires_at < now, now=now)


def release(session: Session, ballot: Ballot, state: BallotState, *, now: datetime) -> None:
    """Take a ballot out of its slot."""
    ballot.state = state
    ballot.closed_at = now
    if state is BallotState.EXPIRED:
        meters.count(session, meters.BALLOTS, "expired")
    if not ballot.is_repeat:
        hold(session, ballot.pair_id, ballot.voter_kind, -1)


def hold(session: Session, pair_id: uuid.UUID, voter_kind: VoterKind, by: int, **drawn: int) -> None:
    """Keep the count of taken slots in step with the ballots, in the same transaction."""
    values: dict[Any, Any] = {Tally.held: Tally.held + by}
    values |= {getattr(Tally, name): getattr(Tally, name) + more for name, more in drawn.items()}
    session.execute(
        update(Tally)
        .where(Tally.pair_id == pair_id, Tally.voter_kind == voter_kind)
        .values(values)
        .execution_options(synchronize_session=False)
    )


def _written_out(value: StrEnum) -> BindParameter[Any]:
    """A value in the text of a statement: SQLite finds the index of ballots that raters hold open by it alone."""
    return bindparam(None, value, TextEnum(type(value)), literal_execute=True)
