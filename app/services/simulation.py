"""Simulated raters: they vote through the real path and can be taken out again without a trace."""

import random
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Select, and_, case, delete, func, or_, select, update
from sqlalchemy.orm import Session

from app.domain.errors import BadInputError, ConflictError
from app.domain.simulation import Taste, draw, prompt_rates
from app.domain.terms import BallotState, BatchState, Choice, Order, Outcome, PairKind, VoterKind
from app.domain.words import EVEN
from app.models import Ballot, EvalBatch, Event, Pair, Prompt, Recognition, Response, Tally, Verdict, Voter
from app.queries.ballots import BlindBallot, blind_ballot
from app.services import assignment, voting

MOST_RATERS = 200


def begin(session: Session, batch: EvalBatch, *, raters: int, now: datetime) -> list[Voter]:
    """New simulated raters for an eval batch. Each is stored with its first vote, so that none is left without one.

    Raises:
        BadInputError: no rater, or more than anybody needs.
        ConflictError: the batch is closed, or has no pair to vote on yet.
    """
    if not 1 <= raters <= MOST_RATERS:
        raise BadInputError(f"Nothing was simulated: 1 to {MOST_RATERS} raters can vote, not {raters}.")
    if batch.state is not BatchState.OPEN:
        raise ConflictError(f"Nothing was simulated: {batch.name} is closed and takes no votes.")
    votable = (Pair.eval_batch_id == batch.id, Pair.kind == PairKind.MAIN, Pair.settled.is_(None))
    if not session.scalar(select(func.count()).where(*votable)):
        raise ConflictError(f"Nothing was simulated: {batch.name} has no pair to vote on yet.")
    there = session.scalar(select(func.count(Voter.id)).where(Voter.simulated)) or 0
    return [
        Voter(
            id=uuid.uuid4(),
            kind=VoterKind.RATER,
            name=f"simulated rater {there + number}",
            simulated=True,
            created_at=now,
        )
        for number in range(1, raters + 1)
    ]


def tastes_of(session: Session, batch: EvalBatch, taste: Taste, rng: random.Random) -> dict[uuid.UUID, float]:
    """How often the challenger wins on each prompt of the batch, as the simulation has it."""
    prompts = session.scalars(
        select(Prompt.id).where(Prompt.suite_id == batch.suite_id).order_by(Prompt.position)
    ).all()
    return dict(zip(prompts, prompt_rates(taste, len(prompts), rng), strict=True))


def vote_once(
    session: Session,
    batch_id: uuid.UUID,
    voter: Voter,
    taste: Taste,
    rates: Mapping[uuid.UUID, float],
    *,
    rules: assignment.Rules,
    now: datetime,
    rng: random.Random,
) -> Verdict | None:
    """One vote as a person casts it: issue, read both texts, pick a side; ``None`` when nothing is left.

    The preferred text is looked for on the screen. So an order that was mixed up anywhere shows as a win rate on the
    wrong side of the truth.
    """
    is_new = session.get(Voter, voter.id) is None
    voter = session.merge(voter)
    session.flush()
    ballot = assignment.issue(session, batch_id, voter, rules=rules, now=now, rng=rng)
    if ballot is None:
        if is_new:
            session.delete(voter)
        return None
    pair = session.get_one(Pair, ballot.pair_id)
    choice = _pick(session, blind_ballot(session, ballot.id), pair, _wanted(session, pair, taste, rates, rng))
    return voting.cast(session, ballot.id, voter, choice, rules=rules, now=now)


def _wanted(
    session: Session, pair: Pair, taste: Taste, rates: Mapping[uuid.UUID, float], rng: random.Random
) -> Outcome:
    """What this rater prefers: a challenger by the taste, of two equals either, of a gold pair the better text."""
    if pair.kind is PairKind.GOLD:
        return Outcome.SECOND
    baseline_id = session.get_one(EvalBatch, pair.eval_batch_id).baseline_id
    is_challenge = pair.kind is PairKind.MAIN and pair.first_id == baseline_id
    return draw(taste, rates[pair.prompt_id] if is_challenge else EVEN, rng)


def _pick(session: Session, shown: BlindBallot, pair: Pair, wanted: Outcome) -> Choice:
    """The side on which the wanted text stands."""
    if wanted is Outcome.TIE:
        return Choice.TIE
    wanted_id = pair.first_response_id if wanted is Outcome.FIRST else pair.second_response_id
    return Choice.A if shown.text_a == session.get_one(Response, wanted_id).text else Choice.B


def remove(session: Session, batch: EvalBatch | None = None) -> int:
    """Take out every trace of simulated raters, in one eval batch or everywhere; returns how many votes that were.

    Verdicts are never edited or deleted, except these: they were never anybody's.
    """
    ballots = select(Ballot.id).join(Voter, Voter.id == Ballot.voter_id).where(Voter.simulated)
    if batch is not None:
        ballots = ballots.where(Ballot.eval_batch_id == batch.id)
    touched = select(Ballot.eval_batch_id).where(Ballot.id.in_(ballots))
    # As issuing does: no simulated vote may come in between what is counted and what is deleted.
    one = EvalBatch.id == batch.id if batch is not None else EvalBatch.id.is_not(None)
    session.execute(select(EvalBatch.id).where(one).order_by(EvalBatch.id).with_for_update(key_share=True))
    voters = set(session.scalars(select(Ballot.voter_id).where(Ballot.id.in_(ballots)).distinct()))
    cast = select(Verdict).where(Verdict.ballot_id.in_(ballots))
    votes = session.scalar(select(func.count()).select_from(cast.subquery())) or 0
    _uncount(session, ballots)
    # Hints bear the moment of their vote. With them gone the database is what it was; open pages connect anew.
    cast_at = select(Verdict.cast_at).where(Verdict.ballot_id.in_(ballots))
    retracted_at = select(Verdict.retracted_at).where(Verdict.ballot_id.in_(ballots), Verdict.retracted_at.is_not(None))
    session.execute(
        delete(Event).where(
            Event.topic == "verdicts",
            Event.subject_id.in_(touched),
            or_(Event.created_at.in_(cast_at), Event.created_at.in_(retracted_at))
        ).execution_options(synchronize_session=False)
    )  # fmt: skip
    verdicts = select(Verdict.id).where(Verdict.ballot_id.in_(ballots))
    session.execute(
        delete(Recognition).where(Recognition.verdict_id.in_(verdicts)).execution_options(synchronize_session=False)
    )
    session.execute(delete(Verdict).where(Verdict.ballot_id.in_(ballots)).execution_options(synchronize_session=False))
    session.execute(delete(Ballot).where(Ballot.id.in_(ballots)).execution_options(synchronize_session=False))
    session.execute(delete(Voter).where(Voter.id.in_(voters)).execution_options(synchronize_session=False))
    return votes


def _uncount(session: Session, ballots: Select[uuid.UUID]) -> None:
    """Take the slots, drawn orders and standing votes of these ballots out of the tallies."""
    shown = session.execute(
        select(
            Ballot.pair_id,
            Ballot.voter_kind,
            func.count(case((Ballot.state.in_((BallotState.OPEN, BallotState.VOTED)), 1))),
            func.count(case((and_(Ballot.showing == 0, Ballot.order == Order.FIRST_IS_A), 1))),
            func.count(case((and_(Ballot.showing == 0, Ballot.order == Order.SECOND_IS_A), 1))),
        )
        .where(Ballot.id.in_(ballots), Ballot.is_repeat.is_(False))
        .group_by(Ballot.pair_id, Ballot.voter_kind)
    ).all()
    for pair_id, voter_kind, held, first_is_a, second_is_a in shown:
        session.execute(
            update(Tally)
            .where(Tally.pair_id == pair_id, Tally.voter_kind == voter_kind)
            .values(
                held=Tally.held - held,
                drawn_first_is_a=Tally.drawn_first_is_a - first_is_a,
                drawn_second_is_a=Tally.drawn_second_is_a - second_is_a,
            )
        )
    counted = session.execute(
        select(Ballot.pair_id, Ballot.voter_kind, Verdict.outcome, Verdict.choice, func.count())
        .join(Verdict, Verdict.ballot_id == Ballot.id)
        .where(Ballot.id.in_(ballots), Ballot.state == BallotState.VOTED, Ballot.is_repeat.is_(False))
        .group_by(Ballot.pair_id, Ballot.voter_kind, Verdict.outcome, Verdict.choice)
    ).all()
    columns = {Outcome.FIRST: Tally.first, Outcome.SECOND: Tally.second, Outcome.TIE: Tally.tie}
    for pair_id, voter_kind, outcome, choice, votes in counted:
        column = columns[outcome]
        values: dict[Any, Any] = {column: column - votes}
        if choice is Choice.BOTH_BAD:
            values[Tally.both_bad] = Tally.both_bad - votes
        session.execute(update(Tally).where(Tally.pair_id == pair_id, Tally.voter_kind == voter_kind).values(values))
