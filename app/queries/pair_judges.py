"""Pairs by what judges say of them: where they disagree with each other, with people, or with themselves.

A tally counts all judges and both orders together and cannot tell that, so here verdicts are read, in the database.
"""

import uuid
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, func, or_, select, true
from sqlalchemy.orm import Session

from app.domain.position import BOTH_WAYS
from app.domain.terms import BallotState, Outcome, SwapMode, VoterKind
from app.models import Ballot, EvalBatch, Judge, Judging, Pair, Tally, Verdict, Voter
from app.queries.reveal import Member

_SIDES = (1, 0, -1)


class PairJudges(StrEnum):
    """Pairs to read because of what judges say."""

    JUDGES = "judges"  # two judges prefer different texts, or one calls it a tie
    PEOPLE = "people"  # a judge says something else than most people
    ORDERS = "orders"  # a judge says something else in the other order


def judged_as(batch: EvalBatch, wanted: PairJudges, judge_id: uuid.UUID | None = None) -> ColumnElement[bool]:
    """Whether a pair is one of these, by what this judge says or any. ``people`` needs the tally of people at hand."""
    says = _says(batch).subquery()
    this = true() if judge_id is None else says.c.judge_id == judge_id
    if wanted is PairJudges.ORDERS:
        return Pair.id.in_(select(says.c.pair_id).where(this, says.c.kinds > 1))
    side = _sign(says.c.score)
    whole = or_(
        says.c.verdicts == BOTH_WAYS,
        says.c.mode == SwapMode.ONE,
        and_(says.c.mode == SwapMode.DECISIVE, says.c.verdicts == 1, says.c.score == 0),
    )
    if wanted is PairJudges.JUDGES:
        said = select(says.c.pair_id).where(whole)
        return or_(
            *(and_(Pair.id.in_(said.where(this, side == one)), Pair.id.in_(said.where(side != one))) for one in _SIDES)
        )
    people = _sign(Tally.second - Tally.first)
    voted = Tally.first + Tally.second + Tally.tie > 0
    differ = select(says.c.pair_id).where(this, whole)
    return and_(voted, or_(*(and_(people == one, Pair.id.in_(differ.where(side != one))) for one in _SIDES)))


def judged_by(batch: EvalBatch, judge_id: uuid.UUID) -> ColumnElement[bool]:
    """Whether this judge gave a verdict on a pair."""
    voter = select(Judge.voter_id).where(Judge.id == judge_id).scalar_subquery()
    return Pair.id.in_(select(Ballot.pair_id).where(_of_judges(batch), Ballot.voter_id == voter))


def judges_heard(session: Session, batch: EvalBatch) -> tuple[Member, ...]:
    """The judges that gave verdicts on the batch, by name."""
    query = (
        select(Judge.id, Voter.name)
        .join(Voter, Voter.id == Judge.voter_id)
        .join(Judging, and_(Judging.judge_id == Judge.id, Judging.eval_batch_id == batch.id))
        .where(select(1).select_from(Ballot).where(_of_judges(batch), Ballot.voter_id == Judge.voter_id).exists())
        .order_by(Voter.name, Judge.id)
    )
    return tuple(Member(id_, name) for id_, name in session.execute(query))


def _says(batch: EvalBatch) -> Select[*tuple[Any, ...]]:
    """What each judge said of each pair: verdicts, different outcomes among them, and their sum by side."""
    value = case((Verdict.outcome == Outcome.SECOND, 1), (Verdict.outcome == Outcome.FIRST, -1), else_=0)
    return (
        select(
            Ballot.pair_id, Judge.id.label("judge_id"), Judging.mode, func.count().label("verdicts"),
            func.count(Verdict.outcome.distinct()).label("kinds"), func.sum(value).label("score"),
        )
        .join(Verdict, Verdict.ballot_id == Ballot.id)
        .join(Judge, Judge.voter_id == Ballot.voter_id)
        .join(Judging, and_(Judging.judge_id == Judge.id, Judging.eval_batch_id == Ballot.eval_batch_id))
        .where(_of_judges(batch))
        .group_by(Ballot.pair_id, Judge.id, Judging.mode)
    )  # fmt: skip


def _of_judges(batch: EvalBatch) -> ColumnElement[bool]:
    return and_(
        Ballot.eval_batch_id == batch.id, Ballot.voter_kind == VoterKind.JUDGE, Ballot.state == BallotState.VOTED
    )


def _sign(number: Any) -> ColumnElement[int]:
    return case((number > 0, 1), (number < 0, -1), else_=0)
