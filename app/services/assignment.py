"""Assignment: which pair a voter sees next, in which order. Every rule here is also a constraint in the database."""

import random
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from app import meters
from app.config import Settings
from app.domain import blinding
from app.domain.terms import BallotState, BatchState, Order, PairKind, VoterKind
from app.models import Ballot, EvalBatch, Pair, Voter
from app.queries.deck import MAY_COME_BACK, Deck, deck_of, pair_next_up
from app.queries.seals import ballot_seal
from app.services.slots import held, hold, lapse_overdue, locked

APART = 5
"""Ballots at least between the two showings of a pair: nobody remembers the sides. A gold pair that is the last thing
left comes all the same; a repeat does not, as who remembers agrees."""

_Rows = Sequence[Row[*tuple[Any, ...]]]

_LIVE = (BallotState.OPEN, BallotState.VOTED)


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
    if batch.state is not BatchState.OPEN:
        return None
    open_already = held(session, batch.id, voter.id)
    if open_already is not None:
        open_already.expires_at = now + rules.lease
        return open_already
    lapse_overdue(session, batch.id, voter.kind, now=now)
    mine = _mine(session, batch.id, voter.id)
    if voter.kind is VoterKind.SCRIPT:
        canaries = _both_orders(session, batch, PairKind.CANARY, mine, apart=0)
        if not canaries:
            return None
        return _show(session, batch, rng.choice(canaries), voter, mine, {}, rules=rules, now=now, rng=rng)
    votes = sum(ballot.state is BallotState.VOTED for ballot in mine)
    if batch.rater_limit is not None and votes >= batch.rater_limit:
        return None
    deck = deck_of(session, batch, voter.id, voter.kind)
    card = _draw(session, batch, voter, deck, mine, rng)
    return _show(session, batch, card, voter, mine, deck.drawn, rules=rules, now=now, rng=rng) if card else None


def _mine(session: Session, batch_id: uuid.UUID, voter_id: uuid.UUID) -> _Rows:
    """What this voter was shown in the batch so far."""
    shown = (Ballot.pair_id, Ballot.order, Ballot.showing, Ballot.is_repeat, Ballot.state, Ballot.number)
    return session.execute(
        select(*shown).where(Ballot.eval_batch_id == batch_id, Ballot.voter_id == voter_id).order_by(Ballot.number)
    ).all()


def _draw(
    session: Session, batch: EvalBatch, voter: Voter, deck: Deck, mine: _Rows, rng: random.Random
) -> _Card | None:
    """What comes next: a ticket for everything that this rater may still meet, so that checks lie anywhere."""
    if not deck.pairs:
        return None  # gold pairs are there from the launch on; alone they would announce themselves
    checks = [*_gold(session, batch, mine, apart=APART), *_repeats(session, batch, mine, rng)]
    if checks and rng.randrange(deck.places + len(checks)) < len(checks):
        return rng.choice(checks)
    if not deck.next_up:  # nothing is left to lie between: rather close together than in one order only
        last = _gold(session, batch, mine, apart=0)
        return rng.choice(last) if last else None
    return _Card(pair_next_up(session, batch, voter.id, voter.kind, deck, rng.randrange(deck.next_up)))


def _gold(session: Session, batch: EvalBatch, mine: _Rows, *, apart: int) -> list[_Card]:
    return _both_orders(session, batch, PairKind.GOLD, mine, apart=apart) if batch.gold_pairs else []


def _both_orders(session: Session, batch: EvalBatch, kind: PairKind, mine: _Rows, *, apart: int) -> list[_Card]:
    """Each pair of a kind in each order that this voter has not met, the second order not right after the first."""
    ids = session.scalars(select(Pair.id).where(Pair.eval_batch_id == batch.id, Pair.kind == kind).order_by(Pair.id))
    met = {(ballot.pair_id, ballot.order) for ballot in mine if ballot.state not in MAY_COME_BACK}
    lately = {ballot.pair_id for ballot in mine if len(mine) - (ballot.number or 0) <= apart}
    return [
        _Card(id_, order) for id_ in ids if id_ not in lately for order in Order if (id_, order) not in met
    ]  # fmt: skip


def _repeats(session: Session, batch: EvalBatch, mine: _Rows, rng: random.Random) -> list[_Card]:
    """As many cards as pairs are still to be shown again, each in the order opposite to the one voted on."""
    if not batch.repeat_pairs:
        return []
    again = {ballot.pair_id for ballot in mine if ballot.is_repeat and ballot.state not in MAY_COME_BACK}
    left = batch.repeat_pairs - len(again)
    voted = {ballot.pair_id for ballot in mine if ballot.state is BallotState.VOTED}
    main = set(session.scalars(select(Pair.id).where(Pair.id.in_(voted), Pair.kind == PairKind.MAIN)))
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
    live = session.execute(
        select(Ballot.slot, Ballot.order).where(
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
        order = blinding.draw_order(rng, Counter(ballot.order for ballot in live), drawn)
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
        hold(
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
