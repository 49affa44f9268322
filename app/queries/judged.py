"""What judges said of each pair, as it is stored: who was asked, the answers by pair and order, and their replies.

Grows with pairs and judges; a fixed number of statements. The blind side may not import what is made of it.
"""

import uuid
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from app.domain.position import VALUES, value_of
from app.domain.terms import (
    BallotState,
    CallState,
    Choice,
    JudgingState,
    Order,
    Outcome,
    PairKind,
    SwapMode,
    UnparsedReason,
    VoterKind,
)
from app.models import Ballot, Judge, JudgeCall, Judging, Pair, Response, Verdict, Voter


class Answer(NamedTuple):
    """One verdict: the side that was picked, and whose text that was."""

    choice: Choice | None
    """``None``: it was imported without a word on the order, so no side is known."""
    outcome: Outcome
    score: float | None = None
    """Where a judge gave a weight instead of a choice: how far it prefers ``second``, in [0, 1]."""

    @property
    def value(self) -> float:
        """The verdict from ``second``'s side: its score, or 1, ½ and 0."""
        return VALUES[self.outcome] if self.score is None else self.score


Answers = Mapping[Order, Answer | None]
"""A judge's answers on one pair by order: absent while it waits, ``None`` where no reply held a legal choice."""

Sorted = dict[uuid.UUID, dict[uuid.UUID, dict[Order, Answer | None]]]
"""Answers by voter and pair, while they are collected."""

Replies = Counter[tuple[CallState, UnparsedReason | None]]
"""Calls by what became of them."""


@dataclass(frozen=True)
class Asked:
    """A judge of an eval batch."""

    voter_id: uuid.UUID
    name: str
    simulated: bool
    mode: SwapMode
    state: JudgingState
    judge_id: uuid.UUID


@dataclass(frozen=True)
class Heard:
    """Everything that the judges of an eval batch said of its main pairs."""

    answers: Mapping[uuid.UUID, Mapping[uuid.UUID, Answers]] = field(default_factory=dict)
    """By voter and pair."""
    replies: Mapping[uuid.UUID, Replies] = field(default_factory=dict)
    """By voter."""
    longer_by: Mapping[uuid.UUID, int] = field(default_factory=dict)
    """By pair: characters that the text of ``second`` has more than that of ``first``."""


def judges_of(session: Session, batch_id: uuid.UUID) -> tuple[Asked, ...]:
    """The judges that were asked about an eval batch, in the order in which they were."""
    query = (
        select(Judge.voter_id, Voter.name, Voter.simulated, Judging.mode, Judging.state, Judge.id)
        .join(Judge, Judge.id == Judging.judge_id)
        .join(Voter, Voter.id == Judge.voter_id)
        .where(Judging.eval_batch_id == batch_id)
        .order_by(Judging.created_at, Voter.name)
    )
    return tuple(Asked(*row) for row in session.execute(query))


def heard(session: Session, batch_id: uuid.UUID) -> Heard:
    """What is stored of their answers, replies and of the lengths of the texts."""
    return Heard(_answers(session, batch_id), _replies(session, batch_id), _lengths(session, batch_id))


def add_answer(
    answers: Sorted, ballot: Ballot, choice: Choice | None, outcome: Outcome | None, score: float | None
) -> None:
    """Sort in one ballot: with a verdict, without one for good, or waiting."""
    of_pair = answers.setdefault(ballot.voter_id, {}).setdefault(ballot.pair_id, {})
    if ballot.state is BallotState.VOTED and choice is not None and outcome is not None:
        of_pair[ballot.order] = Answer(choice if ballot.order_known else None, outcome, score)
    elif ballot.state is BallotState.UNPARSED:
        of_pair[ballot.order] = None


def observation(answers: Answers, mode: SwapMode) -> float | None:
    """The one value that a pair has for a judge; ``None`` while there is none."""
    return value_of([answer.value for answer in answers.values() if answer is not None], mode)


def _answers(session: Session, batch_id: uuid.UUID) -> Sorted:
    query = (
        select(Ballot, Verdict.choice, Verdict.outcome, Verdict.score)
        .join(Pair, Pair.id == Ballot.pair_id)
        .join(Verdict, Verdict.ballot_id == Ballot.id, isouter=True)
        .where(Ballot.eval_batch_id == batch_id, Ballot.voter_kind == VoterKind.JUDGE)
        .where(Pair.kind == PairKind.MAIN, Ballot.is_repeat.is_(False))
    )
    found: Sorted = {}
    for ballot, choice, outcome, score in session.execute(query):
        add_answer(found, ballot, choice, outcome, score)
    return found


def _replies(session: Session, batch_id: uuid.UUID) -> dict[uuid.UUID, Replies]:
    query = (
        select(Judge.voter_id, JudgeCall.state, JudgeCall.unparsed, func.count())
        .join(Judging, Judging.id == JudgeCall.judging_id)
        .join(Judge, Judge.id == Judging.judge_id)
        .where(Judging.eval_batch_id == batch_id)
        .group_by(Judge.voter_id, JudgeCall.state, JudgeCall.unparsed)
    )
    found: dict[uuid.UUID, Replies] = defaultdict(Counter)
    for voter_id, state, reason, calls in session.execute(query):
        found[voter_id][state, reason] = calls
    return dict(found)


def _lengths(session: Session, batch_id: uuid.UUID) -> dict[uuid.UUID, int]:
    first, second = aliased(Response), aliased(Response)
    query = (
        select(Pair.id, func.length(second.text) - func.length(first.text))
        .join(first, first.id == Pair.first_response_id)
        .join(second, second.id == Pair.second_response_id)
        .where(Pair.eval_batch_id == batch_id, Pair.kind == PairKind.MAIN, Pair.settled.is_(None))
    )
    return {pair_id: int(longer_by) for pair_id, longer_by in session.execute(query)}
