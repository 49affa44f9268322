"""Assignment: which pair a voter sees next, in which order. Every rule here is also a constraint in the database."""

import random
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from sqlalchemy import Row, select, update
from sqlalchemy.orm import Session

from app import meters
from app.config import Settings
from app.domain import blinding
from app.domain.errors import NotFoundError
from app.domain.terms import BallotState, BatchState, Order, PairKind, VoterKind
from app.models import Ballot, EvalBatch, Pair, Tally, Voter
from app.queries.seals import ballot_seal

APART = 5
"""Ballots at least between the two showings of a gold pair, or a pair and its repeat: nobody remembers the sides."""

NOTHING_HERE = "There is nothing to vote on at this address. Ask for a new link."

_Rows = Sequence[Row[*tuple[Any, ...]]]

_LIVE = (BallotState.OPEN, BallotState.VOTED)
_MAY_COME_BACK = (BallotState.EXPIRED, BallotState.RETRACTED)
"""A pair whose ballots all lapsed or were taken back may come back to the same voter, in the same order."""


@dataclass(frozen=True)
class Rules:
    """What the operator sets: the key of the seals, how long a slot is held, how long a vote can be undone."""

    secret: bytes
    lease: timedelta
    grace: timedelta

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The rules that the operator has set."""
        return cls(
            secret=settings.secret_key(),
            lease=timedelta(seconds=settings.ballot_lease_seconds),
            grace=timedelta(seconds=settings.undo_seconds),
        )


@dataclass(frozen=True)
class _Card:
    """One pair that may be shown next. ``order``: fixed where it must not be drawn."""

    pair_id: uuid.UUID
    order: Order | None = None
    is_repeat: bool = False


def issue(
    session: Session, batch_id: uuid.UUID, voter: Voter, *, rules: Rules, now: datetime, rng: random.Random
) -> Ballot | None:
    """The ballot this voter should see now, or ``None`` when there is nothing to vote on.

    A ballot still open is shown again (two tabs, back button, closed laptop), however long ago. Otherwise
    a pair with a free slot is drawn uniformly at random among those of the least voted prompts, and the order
    is drawn and stored before anything is shown. Gold pairs and repeats lie between the others at random.

    Raises:
        NotFoundError: no such eval batch.
    """
    batch = locked(session, batch_id)
    if batch.state is BatchState.CLOSED:
        return None
    open_already = held(session, batch.id, voter.id)
    if open_already is not None:
        open_already.expires_at = now + rules.lease
        return open_already
    lapse(session, batch.id, Ballot.expires_at < now, now=now)
    mine = _mine(session, batch.id, voter.id)
    if voter.kind is VoterKind.SCRIPT:
        canaries = _both_orders(session, batch, PairKind.CANARY, mine, apart=0)
        if not canaries:
            return None
        return _show(session, batch, rng.choice(canaries), voter, mine, {}, rules=rules, now=now, rng=rng)
    votes = sum(ballot.state is BallotState.VOTED for ballot in mine)
    if batch.rater_limit is not None and votes >= batch.rater_limit:
        return None
    pairs = _pairs(session, batch, voter)
    card = _draw(session, batch, pairs, mine, rng)
    drawn = {
        Order.FIRST_IS_A: sum(row.drawn_first_is_a for row in pairs),
        Order.SECOND_IS_A: sum(row.drawn_second_is_a for row in pairs),
    }
    return _show(session, batch, card, voter, mine, drawn, rules=rules, now=now, rng=rng) if card else None


def locked(session: Session, batch_id: uuid.UUID) -> EvalBatch:
    """The batch, locked: issuing is serial within a batch, so blocks of orders and slots stay exact.

    Not against new pairs, which only point to it: voting must not make generation wait.

    Raises:
        NotFoundError: no such eval batch.
    """
    batch = session.get(EvalBatch, batch_id, with_for_update={"key_share": True}, populate_existing=True)
    if batch is None:
        raise NotFoundError(NOTHING_HERE)
    return batch


def held(session: Session, batch_id: uuid.UUID, voter_id: uuid.UUID) -> Ballot | None:
    """The voter's open ballot in the batch, locked: another tab may be voting on it at this moment."""
    return session.scalar(
        select(Ballot).where(
            Ballot.eval_batch_id == batch_id, Ballot.voter_id == voter_id, Ballot.state == BallotState.OPEN
        ).with_for_update()
    )  # fmt: skip


def lapse(session: Session, batch_id: uuid.UUID, *which: Any, now: datetime) -> None:
    """Let open ballots of a batch expire and free their slots.

    One statement finds and changes them: a vote that is being stored at this moment is waited for, not overwritten.
    """
    lapsed = session.execute(
        update(Ballot)
        .where(Ballot.eval_batch_id == batch_id, Ballot.state == BallotState.OPEN, *which)
        .values(state=BallotState.EXPIRED, closed_at=now)
        .returning(Ballot.pair_id, Ballot.voter_kind, Ballot.is_repeat)
    ).all()
    meters.count(session, meters.BALLOTS, "expired", len(lapsed))
    for pair_id, voter_kind, is_repeat in lapsed:
        if not is_repeat:
            _hold(session, pair_id, voter_kind, -1)


def release(session: Session, ballot: Ballot, state: BallotState, *, now: datetime) -> None:
    """Take a ballot out of its slot."""
    ballot.state = state
    ballot.closed_at = now
    if state is BallotState.EXPIRED:
        meters.count(session, meters.BALLOTS, "expired")
    if not ballot.is_repeat:
        _hold(session, ballot.pair_id, ballot.voter_kind, -1)


def _hold(session: Session, pair_id: uuid.UUID, voter_kind: VoterKind, by: int, **drawn: int) -> None:
    """Keep the count of taken slots in step with the ballots, in the same transaction."""
    values: dict[Any, Any] = {Tally.held: Tally.held + by}
    values |= {getattr(Tally, name): getattr(Tally, name) + more for name, more in drawn.items()}
    session.execute(
        update(Tally)
        .where(Tally.pair_id == pair_id, Tally.voter_kind == voter_kind)
        .values(values)
        .execution_options(synchronize_session=False)
    )


def _mine(session: Session, batch_id: uuid.UUID, voter_id: uuid.UUID) -> _Rows:
    """What this voter was shown in the batch so far."""
    shown = (Ballot.pair_id, Ballot.order, Ballot.showing, Ballot.is_repeat, Ballot.state, Ballot.number)
    return session.execute(
        select(*shown).where(Ballot.eval_batch_id == batch_id, Ballot.voter_id == voter_id).order_by(Ballot.number)
    ).all()


def _pairs(session: Session, batch: EvalBatch, voter: Voter) -> _Rows:
    """Every pair of the batch that takes slots, with how many are taken and which orders were drawn."""
    return session.execute(
        select(
            Pair.id, Pair.prompt_id, Pair.replicate, Tally.held, Tally.drawn_first_is_a, Tally.drawn_second_is_a
        )
        .join(Tally, (Tally.pair_id == Pair.id) & (Tally.voter_kind == voter.kind))
        .where(
            Pair.eval_batch_id == batch.id,
            Pair.kind.in_((PairKind.MAIN, PairKind.PLACEBO)),
            Pair.settled.is_(None),
        )
        .order_by(Pair.id)
    ).all()  # fmt: skip


def _draw(session: Session, batch: EvalBatch, pairs: _Rows, mine: _Rows, rng: random.Random) -> _Card | None:
    """What comes next: a ticket for everything that this rater may still meet, so that checks lie anywhere."""
    if not pairs:
        return None  # gold pairs are there from the launch on; alone they would announce themselves
    within = _within(batch, pairs, mine)
    checks = [*_gold(session, batch, mine), *_repeats(session, batch, mine, rng)]
    places = len(within) if batch.allow_repeats else len({(row.prompt_id, row.replicate) for row in within})
    if checks and rng.randrange(places + len(checks)) < len(checks):
        return rng.choice(checks)
    if not within:
        return None
    prompt_votes: Counter[uuid.UUID] = Counter()
    for row in pairs:
        prompt_votes[row.prompt_id] += row.held
    least = min(prompt_votes[row.prompt_id] for row in within)
    return _Card(rng.choice([row.id for row in within if prompt_votes[row.prompt_id] == least]))


def _within(batch: EvalBatch, pairs: _Rows, mine: _Rows) -> _Rows:
    """The pairs with a free slot that this voter may meet."""
    if batch.vote_limit is not None and sum(row.held for row in pairs) >= batch.vote_limit:
        return []
    met = {ballot.pair_id for ballot in mine if ballot.state not in _MAY_COME_BACK}
    found = [row for row in pairs if row.held < batch.votes_per_pair and row.id not in met]
    if batch.allow_repeats:
        return found
    # A pair that lapsed was read all the same: of its prompt and replicate this voter may only meet it again.
    shown = {ballot.pair_id for ballot in mine}
    pair_at = {(row.prompt_id, row.replicate): row.id for row in pairs if row.id in shown}
    return [row for row in found if pair_at.get((row.prompt_id, row.replicate), row.id) == row.id]


def _gold(session: Session, batch: EvalBatch, mine: _Rows) -> list[_Card]:
    return _both_orders(session, batch, PairKind.GOLD, mine, apart=APART) if batch.gold_pairs else []


def _both_orders(session: Session, batch: EvalBatch, kind: PairKind, mine: _Rows, *, apart: int) -> list[_Card]:
    """Each pair of a kind in each order that this voter has not met, the second order not right after the first."""
    ids = session.scalars(select(Pair.id).where(Pair.eval_batch_id == batch.id, Pair.kind == kind).order_by(Pair.id))
    met = {(ballot.pair_id, ballot.order) for ballot in mine if ballot.state not in _MAY_COME_BACK}
    lately = {ballot.pair_id for ballot in mine if len(mine) - (ballot.number or 0) <= apart}
    return [
        _Card(id_, order) for id_ in ids if id_ not in lately for order in Order if (id_, order) not in met
    ]  # fmt: skip


def _repeats(session: Session, batch: EvalBatch, mine: _Rows, rng: random.Random) -> list[_Card]:
    """As many cards as pairs are still to be shown again, each in the order opposite to the one voted on."""
    if not batch.repeat_pairs:
        return []
    again = {ballot.pair_id for ballot in mine if ballot.is_repeat and ballot.state not in _MAY_COME_BACK}
    left = batch.repeat_pairs - len(again)
    main = set(session.scalars(select(Pair.id).where(Pair.eval_batch_id == batch.id, Pair.kind == PairKind.MAIN)))
    cards = [
        _Card(ballot.pair_id, blinding.opposite(ballot.order), is_repeat=True)
        for ballot in mine
        if ballot.state is BallotState.VOTED and not ballot.is_repeat and ballot.pair_id in main - again
        and len(mine) - (ballot.number or 0) > APART
    ]  # fmt: skip
    return rng.sample(cards, min(len(cards), max(left, 0)))


def _show(
    session: Session,
    batch: EvalBatch,
    card: _Card,
    voter: Voter,
    mine: _Rows,
    drawn: dict[Order, int],
    *,
    rules: Rules,
    now: datetime,
    rng: random.Random,
) -> Ballot:
    """Take the lowest free slot of a pair and fix the order."""
    live = session.scalars(
        select(Ballot).where(
            Ballot.pair_id == card.pair_id,
            Ballot.voter_kind == voter.kind,
            Ballot.is_repeat.is_(False),
            Ballot.state.in_(_LIVE),
        )
    ).all()
    earlier = [
        ballot
        for ballot in mine
        if ballot.pair_id == card.pair_id and ballot.is_repeat == card.is_repeat and card.order in (None, ballot.order)
    ]
    if card.order is not None:
        order = card.order
    elif earlier:
        order = earlier[0].order  # the same pair in the other order would tell which text is which
    else:
        order = blinding.draw_order(rng, Counter(b.order for b in live), drawn)
    taken = {ballot.slot for ballot in live}
    slot = next(slot for slot in range(len(taken) + 1) if slot not in taken)
    ballot = open_ballot(
        session,
        Ballot(
            pair_id=card.pair_id, eval_batch_id=batch.id, voter_id=voter.id, voter_kind=voter.kind,
            number=len(mine), slot=slot, order=order, is_repeat=card.is_repeat,
            showing=1 + max((shown.showing for shown in earlier), default=-1),
        ),
        rules=rules, now=now,
    )  # fmt: skip
    if not card.is_repeat:
        first = ballot.showing == 0
        _hold(
            session, ballot.pair_id, voter.kind, +1,
            drawn_first_is_a=int(first and order is Order.FIRST_IS_A),
            drawn_second_is_a=int(first and order is Order.SECOND_IS_A),
        )  # fmt: skip
    return ballot


def open_ballot(session: Session, ballot: Ballot, *, rules: Rules, now: datetime) -> Ballot:
    """Store a ballot as open, with its lease and its seal. Its slot is not counted here."""
    ballot.id = uuid.uuid4()
    ballot.state = BallotState.OPEN
    ballot.issued_at = now
    ballot.expires_at = now + rules.lease
    ballot.closed_at = None
    ballot.seal = ballot_seal(session, ballot, rules.secret)
    session.add(ballot)
    session.flush()
    meters.count(session, meters.BALLOTS, "issued")
    return ballot
