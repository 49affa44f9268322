"""Which pairs a judge is still to see, in which order, each issued as a ballot before anything is sent.

A judge is a voter like people: blind, with the order stored first. What differs: nobody draws what comes next (it
judges all pairs), a ballot waits as long as it takes, and an eval batch that is closed to people may still be judged.
"""

import random
import uuid
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy.orm import Session, aliased

from app.domain import blinding
from app.domain.terms import BallotState, CallState, Confidence, Order, Outcome, PairKind, SwapMode, VoterKind
from app.models import Ballot, EvalBatch, Judge, JudgeCall, Judging, Pair, Tally, Verdict
from app.services.assignment import Rules, open_ballot
from app.services.slots import hold, locked

LEASE = timedelta(days=3650)
"""A judge's ballot is never in anybody's way, so it does not lapse."""


def next_ballots(
    session: Session,
    judging: Judging,
    most: int,
    waiting: Collection[uuid.UUID] = (),
    *,
    rules: Rules,
    now: datetime,
    rng: random.Random,
) -> list[Ballot]:
    """Up to ``most`` ballots to ask about now: those that are open first, then new ones, each with its order stored.

    ``waiting``: open ballots whose time has not come.
    """
    judge = session.get_one(Judge, judging.judge_id)
    under_way = select(JudgeCall.id).where(JudgeCall.ballot_id == Ballot.id, JudgeCall.state == CallState.SENT)
    found = session.scalars(
        select(Ballot)
        .where(Ballot.eval_batch_id == judging.eval_batch_id, Ballot.voter_id == judge.voter_id)
        .where(Ballot.state == BallotState.OPEN, ~under_way.exists(), Ballot.id.not_in(waiting))
        .order_by(Ballot.number)
        .limit(most)
    ).all()
    if len(found) < most:
        found = [*found, *_issue(session, judging, judge, most - len(found), rules=rules, now=now, rng=rng)]
    return list(found[:most])  # an order more than was asked for stays open, and is the next


def progress_of(session: Session, judging: Judging) -> tuple[int, int]:
    """Ballots that have ended, with a verdict or without, and how many there will be at most."""
    judge = session.get_one(Judge, judging.judge_id)
    mine = (Ballot.eval_batch_id == judging.eval_batch_id, Ballot.voter_id == judge.voter_id)
    seen, ended = session.execute(
        select(func.count(Ballot.pair_id.distinct()), func.count().filter(Ballot.state != BallotState.OPEN)).where(
            *mine
        )
    ).one()
    unseen = session.scalar(select(func.count()).select_from(_unseen(session, judging, judge).subquery())) or 0
    return ended, 2 * (seen + unseen) - _shown_once(session, judging, mine)


def _shown_once(session: Session, judging: Judging, mine: Sequence[ColumnElement[bool]]) -> int:
    """Pairs that will not be shown in the other order."""
    if judging.mode is SwapMode.BOTH:
        return 0
    other = aliased(Ballot)
    swapped = select(other.id).where(
        other.pair_id == Ballot.pair_id, other.voter_id == Ballot.voter_id, other.order != Ballot.order
    )
    query = (
        select(func.count())
        .select_from(Ballot)
        .join(Verdict, Verdict.ballot_id == Ballot.id, isouter=True)
        .where(*mine, Ballot.state != BallotState.OPEN, ~swapped.exists())
        .where(or_(Verdict.outcome == Outcome.TIE, Ballot.state == BallotState.UNPARSED))
    )
    return session.scalar(query) or 0


def _issue(
    session: Session, judging: Judging, judge: Judge, most: int, *, rules: Rules, now: datetime, rng: random.Random
) -> list[Ballot]:
    """New ballots; the two orders of a pair that is shown in both are issued together."""
    batch = locked(session, judging.eval_batch_id)
    mine = (Ballot.eval_batch_id == batch.id, Ballot.voter_id == judge.voter_id)
    orders = Counter(
        dict(session.execute(select(Ballot.order, func.count()).where(*mine).group_by(Ballot.order)).all())
    )
    cards: list[tuple[uuid.UUID, Order]] = []
    if judging.mode is SwapMode.DECISIVE:
        cards += _decisive_once(session, mine, most)
    both = judging.mode is SwapMode.BOTH
    pairs = (most - len(cards) + both) // (1 + both)
    for pair_id in session.scalars(_unseen(session, judging, judge).limit(pairs)).all():
        first = blinding.draw_order(rng, {}, orders)
        cards += [(pair_id, order) for order in ((first, blinding.opposite(first)) if both else (first,))]
        orders.update(order for _, order in cards[-1 - both :])
    _make_tallies(session, batch, {pair_id for pair_id, _ in cards})
    number = session.scalar(select(func.max(Ballot.number)).where(*mine))
    ballots = []
    for pair_id, order in cards:
        number = 0 if number is None else number + 1
        ballot = Ballot(
            pair_id=pair_id, eval_batch_id=batch.id, voter_id=judge.voter_id, voter_kind=VoterKind.JUDGE,
            number=number, slot=int(order is Order.SECOND_IS_A), order=order, is_repeat=False, showing=0,
        )  # fmt: skip
        ballots.append(open_ballot(session, ballot, rules=replace(rules, lease=LEASE), now=now))
        hold(session, pair_id, VoterKind.JUDGE, +1, **{f"drawn_{order.value}": 1})
    return ballots


def _unseen(session: Session, judging: Judging, judge: Judge) -> Select[uuid.UUID]:
    """Pairs that this judge is still to see.

    Replicate by replicate, so that every prompt is met once before any is met again, and within that by their random
    ids: where a cap ends it, what was judged is a random part.
    """
    seen = select(Ballot.id).where(Ballot.pair_id == Pair.id, Ballot.voter_id == judge.voter_id)
    wanted = (
        select(Pair.id)
        .where(Pair.eval_batch_id == judging.eval_batch_id, Pair.kind == PairKind.MAIN, Pair.settled.is_(None))
        .where(~seen.exists())
        .order_by(Pair.replicate, Pair.id)
    )
    if judging.after_id is None:
        return wanted
    earlier = session.get_one(Judging, judging.after_id)
    return wanted.where(Pair.id.in_(torn(earlier.eval_batch_id, session.get_one(Judge, earlier.judge_id).voter_id)))


def torn(batch_id: uuid.UUID, voter_id: uuid.UUID) -> Select[uuid.UUID]:
    """Pairs on which a judge said nothing clear: a tie, another text in the other order, low confidence, no verdict."""
    said = func.count(Verdict.outcome.distinct())
    unsure = or_(
        Verdict.outcome == Outcome.TIE,
        JudgeCall.confidence == Confidence.LOW,
        Ballot.state == BallotState.UNPARSED,
    )
    return (
        select(Ballot.pair_id)
        .join(Verdict, Verdict.ballot_id == Ballot.id, isouter=True)
        .join(JudgeCall, (JudgeCall.ballot_id == Ballot.id) & (JudgeCall.state == CallState.VERDICT), isouter=True)
        .where(Ballot.eval_batch_id == batch_id, Ballot.voter_id == voter_id)
        .group_by(Ballot.pair_id)
        .having(or_(said > 1, func.count().filter(unsure) > 0))
    )


def _decisive_once(session: Session, mine: Sequence[ColumnElement[bool]], most: int) -> list[tuple[uuid.UUID, Order]]:
    """The order in which this judge has not yet seen a pair, where it preferred a text in the other one."""
    other = aliased(Ballot)
    swapped = select(other.id).where(
        other.pair_id == Ballot.pair_id, other.voter_id == Ballot.voter_id, other.order != Ballot.order
    )
    found = session.execute(
        select(Ballot.pair_id, Ballot.order)
        .join(Verdict, Verdict.ballot_id == Ballot.id)
        .where(*mine, Verdict.outcome != Outcome.TIE, ~swapped.exists())
        .order_by(Ballot.number)
        .limit(most)
    )
    return [(pair_id, blinding.opposite(order)) for pair_id, order in found]


def _make_tallies(session: Session, batch: EvalBatch, pairs: Collection[uuid.UUID]) -> None:
    """Tallies of judges are made with the first ballot: which pairs are judged is not part of the plan."""
    there = set(
        session.scalars(select(Tally.pair_id).where(Tally.pair_id.in_(pairs), Tally.voter_kind == VoterKind.JUDGE))
    )
    session.add_all(
        Tally(pair_id=pair_id, voter_kind=VoterKind.JUDGE, eval_batch_id=batch.id)
        for pair_id in pairs
        if pair_id not in there
    )
    session.flush()
