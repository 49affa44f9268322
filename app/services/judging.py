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
from math import ceil

from sqlalchemy import ColumnElement, Select, func, or_, select, update
from sqlalchemy.orm import Session, aliased

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
from app.providers.calls import JudgeRequest, Parameters, Provider, Reply
from app.providers.errors import BadRequestError, ProviderError
from app.providers.prices import price, worst_case
from app.queries.ballots import blind_ballot
from app.services.assignment import Rules, open_ballot
from app.services.events import announce
from app.services.slots import hold, locked, release
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
    session: Session,
    judging: Judging,
    state: JudgingState,
    *,
    trouble: Trouble | None = None,
    message: str = "",
    now: datetime,
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

    In both orders, one more may come than was asked for.
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
    """Pairs that this judge is still to see: replicate by replicate, so that every prompt is met once before any is met
    again, and within that by their random ids. Where a cap ends it, what was judged is a random part.
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


def prepare(
    session: Session, judging: Judging, ballot: Ballot, provider: Provider, *, now: datetime
) -> Prepared | None:
    """Store the row of a call, or return ``None`` where it could take the spending over the cap."""
    judge = session.get_one(Judge, judging.judge_id)
    shown = blind_ballot(session, ballot.id)
    request = JudgeRequest(
        model=judge.model,
        prompt=judge_prompt(judge.rubric_text, shown.prompt, shown.text_a, shown.text_b, secrets.token_hex(16)),
        parameters=Parameters(**judge.parameters),
    )
    worst = worst_micro_dollars(judge, request, in_batch=judging.in_batches, now=now)
    cap = judging.cap_micro_dollars
    if cap is not None and spent(session, judging).at_most + (worst or 0) > cap:
        return None
    tried = session.scalar(select(func.count(JudgeCall.id)).where(JudgeCall.ballot_id == ballot.id)) or 0
    body = provider.batch_body(request) if judging.in_batches else provider.body(request)
    call = JudgeCall(
        judging_id=judging.id, ballot_id=ballot.id, attempt=tried + 1, state=CallState.SENT, request=body,
        worst_micro_dollars=worst, sent_at=now,
    )  # fmt: skip
    session.add(call)
    session.flush()
    return Prepared(call.id, ballot.id, request)


def worst_micro_dollars(judge: Judge, request: JudgeRequest, *, in_batch: bool, now: datetime) -> int | None:
    """What a call can cost at most, by a count of tokens that is rather too high; ``None``: it has no price."""
    size = len((request.prompt.system + request.prompt.user).encode())
    usage = worst_case(ceil(size / _BYTES_PER_TOKEN), request.parameters.max_tokens, batch=in_batch)
    found = price(judge.provider, judge.model, usage, now, batch=in_batch, base_url=judge.base_url)
    return None if found is None else found.micro_dollars


def settle(
    session: Session,
    judging: Judging,
    call_id: uuid.UUID,
    outcome: Reply | ProviderError,
    *,
    rules: Rules,
    now: datetime,
) -> JudgeCall:
    """Store what came back and, where it holds a legal choice, cast the verdict, in one transaction.

    A call that has ended already stays as it is: a batch may tell its results twice.
    """
    call = session.get_one(JudgeCall, call_id, with_for_update=True, populate_existing=True)
    if call.state is not CallState.SENT:
        return call
    call.ended_at = now
    if isinstance(outcome, ProviderError):
        _failed(session, call, outcome, now=now)
    else:
        _replied(session, judging, call, outcome, rules=rules, now=now)
    session.flush()
    return call


def _replied(session: Session, judging: Judging, call: JudgeCall, reply: Reply, *, rules: Rules, now: datetime) -> None:
    judge = session.get_one(Judge, judging.judge_id)
    call.raw, call.reply, call.stop = _storable(reply.raw), _storable(reply.text), reply.stop
    call.answered_as, call.request_id, call.latency_ms = reply.model[:200], reply.request_id[:200], reply.latency_ms
    for name, tokens in asdict(reply.usage).items():
        setattr(call, name, tokens)
    cost = price(
        judge.provider, judge.model, reply.usage, call.sent_at, batch=bool(call.provider_batch), base_url=judge.base_url
    )
    if cost is not None:
        call.cost_micro_dollars, call.price_table = cost.micro_dollars, cost.table.label
    said = read_reply(call.reply, reply.stop)
    if isinstance(said, Judged):
        call.state, call.confidence = CallState.VERDICT, said.confidence
        voter = session.get_one(Voter, judge.voter_id)
        cast(session, call.ballot_id, voter, said.choice, rules=rules, now=now, reason=said.reasoning)
        return
    call.state, call.unparsed, call.detail = CallState.UNPARSED, said.reason, said.detail
    if _count(session, call, CallState.UNPARSED) >= MOST_UNPARSED:
        give_up(session, call.ballot_id, now=now)


def _failed(session: Session, call: JudgeCall, error: ProviderError, *, now: datetime) -> None:
    call.state = CallState.UNKNOWN if error.unknown else CallState.FAILED
    call.trouble, call.raw, call.request_id = error.trouble, _storable(error.said.raw), error.said.request_id[:200]
    call.detail = _storable(f"{error.message} {error.detail}".strip())
    judged = select(JudgeCall.id).where(
        JudgeCall.judging_id == call.judging_id, JudgeCall.state.in_((CallState.VERDICT, CallState.UNPARSED))
    )
    if isinstance(error, BadRequestError) and session.scalar(judged.limit(1)) is not None:
        give_up(session, call.ballot_id, now=now)  # others went through: it is about these texts


def give_up(session: Session, ballot_id: uuid.UUID, *, now: datetime) -> None:
    """End a ballot without a verdict."""
    release(session, session.get_one(Ballot, ballot_id), BallotState.UNPARSED, now=now)


def stops(session: Session, call: JudgeCall, outcome: Reply | ProviderError) -> ProviderError | None:
    """The trouble over which the judge has to stop, if this outcome is one."""
    if not isinstance(outcome, ProviderError):
        return None
    if outcome.blocks:
        return outcome
    if isinstance(outcome, BadRequestError):
        return outcome if session.get_one(Ballot, call.ballot_id).state is BallotState.OPEN else None
    return outcome if _count(session, call, CallState.FAILED, CallState.UNKNOWN) >= MOST_FAULTS else None


def _count(session: Session, call: JudgeCall, *states: CallState) -> int:
    """Calls for the same ballot in these states, this one included."""
    session.flush()
    return (
        session.scalar(
            select(func.count(JudgeCall.id)).where(JudgeCall.ballot_id == call.ballot_id, JudgeCall.state.in_(states))
        )
        or 0
    )


def _storable(text: str) -> str:
    """A text as both databases take it: no NUL, no half of a character."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def _unfinished(session: Session, job_id: uuid.UUID | None) -> Job | None:
    job = session.get(Job, job_id) if job_id else None
    return job if job is not None and job.state in (JobState.QUEUED, JobState.RUNNING) else None
