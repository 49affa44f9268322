"""Pairs by what judges say of them: where they disagree with each other, with people, or with themselves.

A tally counts all judges and both orders together and cannot tell that, so here verdicts are read, in the database.
"""

from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, func, or_, select

from app.domain.position import BOTH_WAYS
from app.domain.terms import BallotState, Outcome, SwapMode, VoterKind
from app.models import Ballot, EvalBatch, Judge, Judging, Pair, Tally, Verdict

_SIDES = (1, 0, -1)


class PairJudges(StrEnum):
    """Pairs to read because of what judges say."""

    JUDGES = "judges"  # two judges prefer different texts, or one calls it a tie
    PEOPLE = "people"  # a judge says something else than most people
    ORDERS = "orders"  # a judge says something else in the other order


def judged_as(batch: EvalBatch, wanted: PairJudges) -> ColumnElement[bool]:
    """Whether a pair is one of these. ``people`` needs the tally of people at hand."""
    says = _says(batch).subquery()
    if wanted is PairJudges.ORDERS:
        return Pair.id.in_(select(says.c.pair_id).where(says.c.kinds > 1))
    side = _sign(says.c.score)
    whole = or_(
        says.c.verdicts == BOTH_WAYS,
        says.c.mode == SwapMode.ONE,
        and_(says.c.mode == SwapMode.DECISIVE, says.c.verdicts == 1, says.c.score == 0),
    )
    if wanted is PairJudges.JUDGES:
        differ = func.min(side) != func.max(side)
        return Pair.id.in_(select(says.c.pair_id).where(whole).group_by(says.c.pair_id).having(differ))
    people = _sign(Tally.second - Tally.first)
    voted = Tally.first + Tally.second + Tally.tie > 0
    others = (and_(people == one, Pair.id.in_(select(says.c.pair_id).where(whole, side != one))) for one in _SIDES)
    return and_(voted, or_(*others))


def has_judges(batch: EvalBatch) -> Select[Any]:
    """A row where judges gave verdicts on the batch."""
    return select(Ballot.id).where(_of_judges(batch)).limit(1)


def _says(batch: EvalBatch) -> Select[*tuple[Any, ...]]:
    """What each judge said of each pair: verdicts, different outcomes among them, and their sum by side."""
    value = case((Verdict.outcome == Outcome.SECOND, 1), (Verdict.outcome == Outcome.FIRST, -1), else_=0)
    return (
        select(
            Ballot.pair_id, Judging.mode, func.count().label("verdicts"),
            func.count(Verdict.outcome.distinct()).label("kinds"), func.sum(value).label("score"),
        )
        .join(Verdict, Verdict.ballot_id == Ballot.id)
        .join(Judge, Judge.voter_id == Ballot.voter_id)
        .join(Judging, and_(Judging.judge_id == Judge.id, Judging.eval_batch_id == Ballot.eval_batch_id))
        .where(_of_judges(batch))
        .group_by(Ballot.pair_id, Ballot.voter_id, Judging.mode)
    )  # fmt: skip


def _of_judges(batch: EvalBatch) -> ColumnElement[bool]:
    return and_(
        Ballot.eval_batch_id == batch.id, Ballot.voter_kind == VoterKind.JUDGE, Ballot.state == BallotState.VOTED
    )


def _sign(number: Any) -> ColumnElement[int]:
    return case((number > 0, 1), (number < 0, -1), else_=0)
