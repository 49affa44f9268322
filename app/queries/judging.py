"""Judges at work: what each was asked about an eval batch, how far it is, what it cost, and what went wrong."""

import uuid
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from app.domain.errors import NotFoundError
from app.domain.terms import (
    BallotState,
    BatchState,
    CallState,
    JobState,
    JudgingState,
    PairKind,
    ProviderKind,
    SwapMode,
    Trouble,
    UnparsedReason,
)
from app.models import Ballot, EvalBatch, Judge, JudgeCall, Judging, Pair, Voter
from app.queries.jobs import JobView, job_views

_CENT = 10_000
"""Micro-dollars. A cap that is offered is a whole number of cents, rounded up."""


@dataclass(frozen=True)
class Spend:
    """Millionths of a dollar by the price table. What is not known is what it can be at most."""

    known: int = 0
    under_way: int = 0
    unknown: int = 0
    """For calls whose replies were lost."""

    @property
    def at_most(self) -> int:
        """What is held against a cap."""
        return self.known + self.under_way + self.unknown


@dataclass
class Calls:
    """The calls of one judging, or of all of one judge."""

    states: Counter[CallState] = field(default_factory=Counter)
    unparsed: Counter[UnparsedReason] = field(default_factory=Counter)
    troubles: Counter[Trouble] = field(default_factory=Counter)
    known: int = 0
    under_way: int = 0
    unknown: int = 0
    dearest: int = 0
    """What the dearest call was held to cost at most."""

    @property
    def sent(self) -> int:
        """All of them."""
        return self.states.total()

    @property
    def replies(self) -> int:
        """Those that came back with a text, whatever it says."""
        return self.states[CallState.VERDICT] + self.states[CallState.UNPARSED]

    @property
    def unparsed_share(self) -> float | None:
        """Of the replies, how many hold no legal choice."""
        return self.states[CallState.UNPARSED] / self.replies if self.replies else None

    @property
    def spend(self) -> Spend:
        """What they cost."""
        return Spend(self.known, self.under_way, self.unknown)


@dataclass(frozen=True)
class JudgingView:
    """One judge on one eval batch. It names no checkpoint and says of no verdict which text it prefers."""

    id: uuid.UUID
    judge_id: uuid.UUID
    judge: str
    model: str
    simulated: bool
    retired: bool
    batch_id: uuid.UUID
    batch: str
    batch_state: BatchState
    mode: SwapMode
    after: str
    """Name of the judge that was torn on the pairs which this one sees; empty: it sees all."""
    in_batches: bool
    cap: int | None
    projected: int | None
    state: JudgingState
    """As it is: work whose job has ended is not running, whatever ended it."""
    trouble: Trouble | None
    message: str
    job: JobView | None
    verdicts: int
    without: int
    """Showings of a pair that ended without a verdict."""
    waiting: int
    """Showings that were begun and have no verdict yet."""
    pairs: int
    """Pairs that it was shown, in one order or both."""
    calls: Calls
    created_at: datetime
    ended_at: datetime | None

    @property
    def running(self) -> bool:
        """Whether it is at work or waits for its turn."""
        return self.state is JudgingState.RUNNING

    @property
    def priced(self) -> bool:
        """Whether the price table has its model."""
        return self.cap is not None or self.projected is not None

    @property
    def next_cap(self) -> int | None:
        """A cap with which it can finish: what was spent, and for all that is left as much as its dearest call."""
        if not self.priced:
            return None
        left = max((self.job.total - self.job.done) if self.job else 0, self.waiting, 1)
        needed = self.calls.spend.at_most + left * self.calls.dearest
        cap = max(needed, self.cap or 0)
        return -(-cap // _CENT) * _CENT


@dataclass(frozen=True)
class OfferedJudge:
    """A judge that may be asked."""

    id: uuid.UUID
    name: str
    model: str
    rubric: str
    simulated: bool
    takes_batches: bool
    needs_key: bool


@dataclass(frozen=True)
class BatchJudges:
    """The judges of one eval batch: who was asked, and who may be."""

    batch_id: uuid.UUID
    batch_name: str
    asked: tuple[JudgingView, ...]
    offered: tuple[OfferedJudge, ...]
    """Neither retired nor asked yet."""
    judges: int
    """All there are, retired ones too."""
    pairs: int
    """Pairs that a judge can be shown so far."""
    planned_pairs: int
    has_key: bool

    @property
    def running(self) -> bool:
        """Whether one of them is at work."""
        return any(view.running for view in self.asked)

    @property
    def all_done(self) -> bool:
        """Whether everybody who was asked has said everything."""
        return bool(self.asked) and all(
            view.state is JudgingState.DONE and not self.missing(view) for view in self.asked
        )

    def missing(self, view: JudgingView) -> int:
        """Pairs that a judge of all pairs was not shown yet, such as those that came after it was done."""
        return 0 if view.after else max(0, self.pairs - view.pairs)


def calls_of(session: Session, key: Any, *conditions: Any) -> dict[uuid.UUID, Calls]:
    """The calls by a column of ``Judging``, in one query."""
    query = (
        select(
            key,
            JudgeCall.state,
            JudgeCall.unparsed,
            JudgeCall.trouble,
            func.count(JudgeCall.id),
            func.sum(JudgeCall.cost_micro_dollars),
            func.sum(JudgeCall.worst_micro_dollars),
            func.max(JudgeCall.worst_micro_dollars),
        )
        .join(Judging, Judging.id == JudgeCall.judging_id)
        .where(*conditions)
        .group_by(key, JudgeCall.state, JudgeCall.unparsed, JudgeCall.trouble)
    )
    found: dict[uuid.UUID, Calls] = {}
    for owner, state, unparsed, trouble, count, cost, worst, dearest in session.execute(query):
        calls = found.setdefault(owner, Calls())
        calls.states[state] += count
        if unparsed is not None:
            calls.unparsed[unparsed] += count
        if trouble is not None:
            calls.troubles[trouble] += count
        calls.known += int(cost or 0)
        calls.dearest = max(calls.dearest, int(dearest or 0))
        if state is CallState.SENT:
            calls.under_way += int(worst or 0)
        elif state is CallState.UNKNOWN:
            calls.unknown += int(worst or 0)
    return found


def judging_views(session: Session, *conditions: Any, order: Any = Judging.created_at) -> tuple[JudgingView, ...]:
    """Judges at work, in a fixed number of queries."""
    earlier, earlier_judge, earlier_voter = aliased(Judging), aliased(Judge), aliased(Voter)
    query = (
        select(Judging, Judge, Voter.name, Voter.simulated, EvalBatch.name, EvalBatch.state, earlier_voter.name)
        .join(Judge, Judge.id == Judging.judge_id)
        .join(Voter, Voter.id == Judge.voter_id)
        .join(EvalBatch, EvalBatch.id == Judging.eval_batch_id)
        .join(earlier, earlier.id == Judging.after_id, isouter=True)
        .join(earlier_judge, earlier_judge.id == earlier.judge_id, isouter=True)
        .join(earlier_voter, earlier_voter.id == earlier_judge.voter_id, isouter=True)
        .where(*conditions)
        .order_by(order, Judging.id)
    )
    rows = session.execute(query).all()
    ids = [judging.id for judging, *_ in rows]
    calls = calls_of(session, Judging.id, Judging.id.in_(ids))
    ballots, pairs = _ballots(session, ids), _pairs(session, ids)
    jobs = job_views(session, (judging.job_id for judging, *_ in rows))
    views = []
    for judging, judge, name, simulated, batch, batch_state, after in rows:
        job = jobs.get(judging.job_id) if judging.job_id else None
        state, message = _now(judging, job)
        views.append(
            JudgingView(
                id=judging.id,
                judge_id=judge.id,
                judge=name,
                model=judge.model,
                simulated=simulated,
                retired=judge.retired_at is not None,
                batch_id=judging.eval_batch_id,
                batch=batch,
                batch_state=batch_state,
                mode=judging.mode,
                after=after or "",
                in_batches=judging.in_batches,
                cap=judging.cap_micro_dollars,
                projected=judging.projected_micro_dollars,
                state=state,
                trouble=judging.trouble,
                message=message,
                job=job,
                verdicts=ballots.get((judging.id, BallotState.VOTED), 0),
                without=ballots.get((judging.id, BallotState.UNPARSED), 0),
                waiting=ballots.get((judging.id, BallotState.OPEN), 0),
                pairs=pairs.get(judging.id, 0),
                calls=calls.get(judging.id, Calls()),
                created_at=judging.created_at,
                ended_at=judging.ended_at,
            )
        )
    return tuple(views)


def _now(judging: Judging, job: JobView | None) -> tuple[JudgingState, str]:
    """The state as it is: a worker that is killed or a job that is cancelled or tried again elsewhere tells nobody."""
    if job is not None and job.unfinished:
        return JudgingState.RUNNING, ""
    if judging.state is not JudgingState.RUNNING:
        return judging.state, judging.message
    cancelled = job is not None and job.state is JobState.CANCELLED
    why = "Somebody stopped it." if cancelled else (job.error if job else "") or "Its job has ended."
    return JudgingState.STOPPED, f"{why} All verdicts so far are kept; it can go on."


def _ballots(session: Session, ids: list[uuid.UUID]) -> dict[tuple[uuid.UUID, BallotState], int]:
    query = (
        select(Judging.id, Ballot.state, func.count(Ballot.id))
        .join(Judge, Judge.id == Judging.judge_id)
        .join(Ballot, (Ballot.eval_batch_id == Judging.eval_batch_id) & (Ballot.voter_id == Judge.voter_id))
        .where(Judging.id.in_(ids))
        .group_by(Judging.id, Ballot.state)
    )
    return {(id_, state): count for id_, state, count in session.execute(query)}


def _pairs(session: Session, ids: list[uuid.UUID]) -> dict[uuid.UUID, int]:
    query = (
        select(Judging.id, func.count(Ballot.pair_id.distinct()))
        .join(Judge, Judge.id == Judging.judge_id)
        .join(Ballot, (Ballot.eval_batch_id == Judging.eval_batch_id) & (Ballot.voter_id == Judge.voter_id))
        .where(Judging.id.in_(ids))
        .group_by(Judging.id)
    )
    return dict(session.execute(query).all())


def judges_of_batch(session: Session, batch_id: uuid.UUID, *, has_key: bool) -> BatchJudges:
    """The judges of one eval batch. ``has_key``: whether there is a key for Anthropic.

    Raises:
        NotFoundError: no eval batch has this id.
    """
    batch = session.get(EvalBatch, batch_id)
    if batch is None:
        raise NotFoundError("There is no such eval batch. The list of eval batches shows what exists.")
    asked = judging_views(session, Judging.eval_batch_id == batch_id)
    begun = {view.judge_id for view in asked}
    rows = session.execute(
        select(Judge, Voter.name, Voter.simulated).join(Voter, Voter.id == Judge.voter_id).order_by(Voter.name)
    ).all()
    main = (Pair.eval_batch_id == batch_id, Pair.kind == PairKind.MAIN)
    pairs, settled = session.execute(
        select(func.count(Pair.id), func.count().filter(Pair.settled.is_not(None))).where(*main)
    ).one()
    return BatchJudges(
        batch_id=batch_id,
        batch_name=batch.name,
        asked=asked,
        offered=tuple(
            OfferedJudge(
                id=judge.id,
                name=called,
                model=judge.model,
                rubric=f"{judge.rubric_name} v{judge.rubric_version}",
                simulated=simulated,
                takes_batches=judge.provider is ProviderKind.ANTHROPIC,
                needs_key=judge.provider is ProviderKind.ANTHROPIC,
            )
            for judge, called, simulated in rows
            if judge.retired_at is None and judge.id not in begun
        ),
        judges=len(rows),
        pairs=pairs - settled,
        planned_pairs=batch.planned_pairs - settled,
        has_key=has_key,
    )
