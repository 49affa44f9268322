"""What a judge has said about an eval batch, counted: each pair and order it was shown is in exactly one state."""

import uuid
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.domain.terms import BallotState, CallState
from app.models import Ballot, Judge, JudgeCall, Judging


@dataclass(frozen=True)
class JudgeCounts:
    """Showings of a pair in one order, and the calls for them."""

    verdicts: int
    unparsed: int
    """Showings that ended without a verdict."""
    open: int
    """Showings that were begun and have not ended."""
    calls: int
    unknown: int
    """Calls whose replies were lost."""


def judge_counts(session: Session, judging_id: uuid.UUID) -> JudgeCounts:
    """The figures of one judge on one eval batch."""
    voter = select(Judge.voter_id).join(Judging, Judging.judge_id == Judge.id).where(Judging.id == judging_id)
    batch = select(Judging.eval_batch_id).where(Judging.id == judging_id)
    ballots = dict(
        session.execute(
            select(Ballot.state, func.count())
            .where(Ballot.voter_id == voter.scalar_subquery(), Ballot.eval_batch_id == batch.scalar_subquery())
            .group_by(Ballot.state)
        ).all()
    )
    calls = dict(
        session.execute(
            select(JudgeCall.state, func.count()).where(JudgeCall.judging_id == judging_id).group_by(JudgeCall.state)
        ).all()
    )
    return JudgeCounts(
        verdicts=ballots.get(BallotState.VOTED, 0),
        unparsed=ballots.get(BallotState.UNPARSED, 0),
        open=ballots.get(BallotState.OPEN, 0),
        calls=sum(calls.values()),
        unknown=calls.get(CallState.UNKNOWN, 0),
    )
