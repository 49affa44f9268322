"""A rater's first page: the comparisons they have joined. Of an eval batch it tells what its raters may know."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.domain.terms import BallotState, BatchState
from app.models import Ballot, EvalBatch, Seat
from app.queries.paging import FIRST_PAGE, Wanted, Window, find


@dataclass(frozen=True)
class DeskRow:
    """One comparison, by the title of its invite: the name of an eval batch may tell who competes.

    ``open``: it takes votes. ``seated``: this rater may still give them.
    """

    batch_id: uuid.UUID
    title: str
    joined_at: datetime
    votes: int
    open: bool
    seated: bool
    waiting: bool
    """Whether a pair lies open on the desk."""


@dataclass(frozen=True)
class DeskPage:
    """A rater's comparisons, the newest first."""

    rows: tuple[DeskRow, ...]
    window: Window


def desk_page(session: Session, voter_id: uuid.UUID, wanted: Wanted = FIRST_PAGE) -> DeskPage:
    """What this voter has joined."""
    newest = (Seat.joined_at.desc(), Seat.id)
    ids, window = find(session, wanted, Seat, newest, Seat.title, within=Seat.voter_id == voter_id)
    found = session.execute(
        select(Seat, EvalBatch.state)
        .join(EvalBatch, EvalBatch.id == Seat.eval_batch_id)
        .where(Seat.id.in_(ids))
        .order_by(*newest)
    ).all()
    batches = [seat.eval_batch_id for seat, _ in found]
    counted = session.execute(
        select(Ballot.eval_batch_id, Ballot.state, func.count(Ballot.id))
        .where(Ballot.voter_id == voter_id, Ballot.eval_batch_id.in_(batches))
        .group_by(Ballot.eval_batch_id, Ballot.state)
    )
    ballots = {(batch_id, state): count for batch_id, state, count in counted}
    return DeskPage(
        tuple(
            DeskRow(
                batch_id=seat.eval_batch_id,
                title=seat.title,
                joined_at=seat.joined_at,
                votes=ballots.get((seat.eval_batch_id, BallotState.VOTED), 0),
                open=state is BatchState.OPEN,
                seated=seat.revoked_at is None,
                waiting=(seat.eval_batch_id, BallotState.OPEN) in ballots,
            )
            for seat, state in found
        ),
        window,
    )
