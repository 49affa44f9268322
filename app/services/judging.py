"""Judging: which pairs a judge still has to see, a row for every call before it is sent, and what came back.

A judge is a voter: its ballots are issued, blind, with their order stored first, and its choices are cast like those of
people. What differs: nobody draws what comes next (it judges all pairs), a ballot waits as long as it takes, and an
eval batch that is closed to people may still be judged.
"""

import random
import secrets
import uuid
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from app import jobs
from app.domain import blinding
from app.domain.errors import BadInputError, ConflictError
from app.domain.judging import Judged, judge_prompt, read_reply
from app.domain.terms import (
    BallotState,
    CallState,
    Confidence,
    JobKind,
    JobState,
    JudgingState,
    Order,
    Outcome,
    PairKind,
    SwapMode,
    Trouble,
    VoterKind,
)
from app.models import Ballot, EvalBatch, Job, Judge, JudgeCall, Judging, Pair, Tally, Verdict, Voter
from app.providers.calls import JudgeRequest, Parameters, Provider, Reply, Usage
from app.providers.errors import BadRequestError, ProviderError
from app.providers.prices import dollars, price, price_table, worst_case
from app.queries.ballots import blind_ballot
from app.services.assignment import Rules, hold, locked, open_ballot, release
from app.services.events import announce
from app.services.voting import cast

LEASE = timedelta(days=3650)
"""A judge's ballot is never in anybody's way, so it does not lapse."""
MOST_UNPARSED = 2
"""Replies without a legal choice after which a ballot gets no verdict: the first, and one new try."""
MOST_FAULTS = 8
"""Calls for one ballot that brought no reply after which the judge stops, to be resumed when the trouble is over."""
_BYTES_PER_TOKEN = 2.5
"""Rather too few: what a call is held to cost at most must not be too low. English has about four."""


@dataclass(frozen=True)
class Spent:
    """What one judging has cost, in millionths of a dollar, by the price table."""

    known: int
    under_way: int
    """At most, for calls that have no reply yet."""
    unknown: int
    """At most, for calls whose replies were lost: nobody knows whether they were paid for."""

    @property
    def at_most(self) -> int:
        """What is held against the cap."""
        return self.known + self.under_way + self.unknown


@dataclass(frozen=True)
class Prepared:
    """A call whose row is stored, ready to be sent."""

    call_id: uuid.UUID
    ballot_id: uuid.UUID
    request: JudgeRequest


def ask(
    session: Session,
    batch: EvalBatch,
    judge: Judge,
    *,
    mode: SwapMode = SwapMode.BOTH,
    after: Judging | None = None,
    in_batches: bool = False,
    cap: int | None = None,
    projected: int | None = None,
    now: datetime,
) -> Judging:
    """Ask a judge about the pairs of an eval batch, or go on where it stopped; only what is missing is asked for.

    ``cap`` and ``projected`` are millionths of a dollar. The mode of a judge that has begun stays.

    Raises:
        ConflictError: the judge is retired, or at work on this batch.
        BadInputError: the cap is not positive, or ``after`` is of another eval batch.
    """
    if judge.retired_at is not None:
        raise ConflictError("This judge is retired: it takes no new work. Add one with a model that is offered.")
    if cap is not None and cap <= 0:
        raise BadInputError("The most that may be spent is more than nothing. Nothing was started.")
    if after is not None and after.eval_batch_id != batch.id:
        raise BadInputError("The judge to go by has judged another eval batch. Nothing was started.")
    judging = session.scalar(
        select(Judging).where(Judging.eval_batch_id == batch.id, Judging.judge_id == judge.id).with_for_update()
    )
    if judging is None:
        judging = Judging(
            eval_batch_id=batch.id, judge_id=judge.id, mode=mode, after_id=after.id if after else None, created_at=now
        )
        session.add(judging)
    elif judging.state is JudgingState.RUNNING and _unfinished(session, judging.job_id) is not None:
        raise ConflictError("This judge is at work on this eval batch already. Stop it first, or wait for it.")
    judging.in_batches, judging.cap_micro_dollars, judging.projected_micro_dollars = in_batches, cap, projected
    judging.state, judging.trouble, judging.message, judging.ended_at = JudgingState.RUNNING, None, "", None
    session.flush()
    name = session.get_one(Voter, judge.voter_id).name
    first = _unfinished(session, after.job_id if after else None) or _unfinished(session, batch.job_id)
    judging.job_id = jobs.enqueue(
        session, JobKind.JUDGE, judging.id, title=f"{name} judges {batch.name}", now=now, after=first
    ).id
    announce(session, "verdicts", batch.id, now=now)
    session.flush()
    return judging


def end(
    session: Session, judging: Judging, state: JudgingState, *, trouble: Trouble | None = None, message: str = "", now: datetime
) -> None:
    """Say that a judge is done or why it stopped."""
    judging.state, judging.trouble, judging.message, judging.ended_at = state, trouble, message, now
    announce(session, "verdicts", judging.eval_batch_id, now=now)
    session.flush()


def spent(session: Session, judging: Judging) -> Spent:
    """What this judging has cost so far, and may have cost."""
    query = (
        select(JudgeCall.state, func.sum(JudgeCall.cost_micro_dollars), func.sum(JudgeCall.worst_micro_dollars))
        .where(JudgeCall.judging_id == judging.id)
        .group_by(JudgeCall.state)
    )
    rows = {state: (int(cost or 0), int(worst or 0)) for state, cost, worst in session.execute(query)}
    return Spent(
        known=sum(cost for cost, _ in rows.values()),
        under_way=rows.get(CallState.SENT, (0, 0))[1],
        unknown=rows.get(CallState.UNKNOWN, (0, 0))[1],
    )


def recover(session: Session, judging: Judging, *, now: datetime) -> int:
    """After a crash: calls that went out one by one and whose replies nobody can fetch any more become unknown."""
    lost = session.execute(
        update(JudgeCall)
        .where(JudgeCall.judging_id == judging.id, JudgeCall.state == CallState.SENT, JudgeCall.provider_batch == "")
        .values(
            state=CallState.UNKNOWN, trouble=Trouble.LOST_REPLY, ended_at=now,
            detail="The arena stopped before the reply came. It may have been paid for.",
        )
        .returning(JudgeCall.id)
    ).all()  # fmt: skip
    return len(lost)


def next_ballots(
    session: Session, judging: Judging, most: int, *, rules: Rules, now: datetime, rng: random.Random
) -> list[Ballot]:
    """Up to ``most`` ballots that wait for a call: those that are open first, then new ones, each order stored.

    Pairs come replicate by replicate, so that every prompt is met once before any is met again, and within that by
    their random ids: where a cap ends it, what was judged is a random part.
    """
    judge = session.get_one(Judge, judging.judge_id)
    under_way = select(JudgeCall.id).where(JudgeCall.ballot_id == Ballot.id, JudgeCall.state == CallState.SENT)
    waiting = session.scalars(
        select(Ballot)
        .where(
            Ballot.eval_batch_id == judging.eval_batch_id, Ballot.voter_id == judge.voter_id,
            Ballot.state == BallotState.OPEN, ~under_way.exists(),
        )
        .order_by(Ballot.number)
        .limit(most)
    ).all()  # fmt: skip
    found = list(waiting)
    if len(found) < most:
        found += _issue(session, judging, judge, most - len(found), rules=rules, now=now, rng=rng)
    return found


def _issue(
    session: Session, judging: Judging, judge: Judge, most: int, *, rules: Rules, now: datetime, rng: random.Random
) -> list[Ballot]:
    batch = locked(session, judging.eval_batch_id)
    mine = Ballot.voter_id == judge.voter_id
    orders = dict(
        session.execute(
            select(Ballot.order, func.count()).where(Ballot.eval_batch_id == batch.id, mine).group_by(Ballot.order)
        ).all()
    )
    number = (
        session.scalar(select(func.max(Ballot.number)).where(Ballot.eval_batch_id == batch.id, mine)) or 0
        if orders
        else -1
    )
    cards: list[tuple[uuid.UUID, Order]] = []
    if judging.mode is SwapMode.DECISIVE:
        cards += [(pair_id, blinding.opposite(order)) for pair_id, order in _decisive_once(session, batch, mine)]
    wanted = [
        Pair.eval_batch_id == batch.id, Pair.kind == PairKind.MAIN, Pair.settled.is_(None),
        ~select(Ballot.id).where(Ballot.pair_id == Pair.id, mine).exists(),
    ]  # fmt: skip
    if judging.after_id is not None:
        wanted.append(Pair.id.in_(torn(session, session.get_one(Judging, judging.after_id))))
    new = session.scalars(select(Pair.id).where(*wanted).order_by(Pair.replicate, Pair.id).limit(most))
    for pair_id in new:
        first = blinding.draw_order(rng, {}, orders)
        orders[first] = orders.get(first, 0) + 1
        cards.append((pair_id, first))
        if judging.mode is SwapMode.BOTH:
            cards.append((pair_id, blinding.opposite(first)))
            orders[cards[-1][1]] = orders.get(cards[-1][1], 0) + 1
    cards = cards[: max(most, 2)]  # never one order of a pair without the other that goes with it
    _tallies(session, batch, {pair_id for pair_id, _ in cards})
    ballots = []
    for place, (pair_id, order) in enumerate(cards, start=1):
        ballot = Ballot(
            pair_id=pair_id, eval_batch_id=batch.id, voter_id=judge.voter_id, voter_kind=VoterKind.JUDGE,
            number=number + place, slot=int(order is Order.SECOND_IS_A), order=order, is_repeat=False, showing=0,
        )  # fmt: skip
        ballots.append(open_ballot(session, ballot, rules=replace(rules, lease=LEASE), now=now))
        drawn = {f"drawn_{order.value}": 1}
        hold(session, pair_id, VoterKind.JUDGE, +1, **drawn)
    return ballots


def _decisive_once(session: Session, batch: EvalBatch, mine: ColumnElement[bool]) -> Sequence[tuple[uuid.UUID, Order]]:
    """Pairs that this judge has seen in one order only and in which it preferred a text."""
    return [
        (pair_id, order)
        for pair_id, order, seen, tie in session.execute(
            select(
                Ballot.pair_id, func.max(Ballot.order), func.count(),
                func.sum(func.coalesce(Verdict.outcome == Outcome.TIE, True)),  # noqa: FBT003 (SQL)
            )
            .join(Verdict, Verdict.ballot_id == Ballot.id, isouter=True)
            .where(Ballot.eval_batch_id == batch.id, mine)
            .group_by(Ballot.pair_id)
            .order_by(Ballot.pair_id)
        )
        if seen == 1 and not tie
    ]  # fmt: skip
