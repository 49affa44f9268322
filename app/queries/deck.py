"""The pairs of an eval batch that take slots, and those that one voter may still meet. Blind side: counts and ids.

The database counts, so that a handful of rows leaves it however many pairs there are. Statements are built once.
"""

import uuid
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Select, bindparam, case, distinct, func, select
from sqlalchemy.orm import Session, aliased

from app.domain.terms import BallotState, Order, PairKind, VoterKind
from app.models import Ballot, EvalBatch, Pair, Tally

MAY_COME_BACK = (BallotState.EXPIRED, BallotState.RETRACTED)
"""A pair whose ballots all lapsed or were taken back may come back to the same voter, in the same order."""

_TAKES_SLOTS = (PairKind.MAIN, PairKind.PLACEBO)
_BATCH: BindParameter[Any] = bindparam("batch")
_VOTER: BindParameter[Any] = bindparam("voter")
_KIND: BindParameter[Any] = bindparam("kind")
_K: BindParameter[Any] = bindparam("k")
_Shown, _Other = aliased(Pair), aliased(Pair)


@dataclass(frozen=True)
class Deck:
    """What lies before one voter.

    ``places``: prompts and replicates of which the voter may still meet a pair; pairs, where repeats are allowed.
    ``next_up``: how many of these pairs are on the prompts with the fewest votes, which are ``least``.
    ``pairs``, ``held`` and ``drawn``: pairs, slots taken and orders drawn in the whole batch.
    """

    pairs: int
    held: int
    drawn: dict[Order, int]
    places: int
    next_up: int
    least: int


def deck_of(session: Session, batch: EvalBatch, voter_id: uuid.UUID, kind: VoterKind) -> Deck:
    """Count the pairs before a voter of this kind."""
    levels = session.execute(_levels(batch.allow_repeats), _parameters(batch, voter_id, kind)).all()
    held = sum(int(level.votes * level.prompts) for level in levels)
    full = batch.vote_limit is not None and held >= batch.vote_limit
    free = [] if full else [level for level in levels if level.free]
    return Deck(
        pairs=sum(int(level.pairs) for level in levels),
        held=held,
        drawn={
            Order.FIRST_IS_A: sum(int(level.first_is_a) for level in levels),
            Order.SECOND_IS_A: sum(int(level.second_is_a) for level in levels),
        },
        places=sum(int(level.places) for level in free),
        next_up=int(free[0].free) if free else 0,
        least=int(free[0].votes) if free else 0,
    )


def pair_next_up(
    session: Session, batch: EvalBatch, voter_id: uuid.UUID, kind: VoterKind, deck: Deck, number: int
) -> uuid.UUID:
    """One of the ``next_up`` pairs of a deck, by its number."""
    which = {"least": deck.least, "number": number}
    return session.scalars(_next_up(batch.allow_repeats), _parameters(batch, voter_id, kind) | which).one()


def _parameters(batch: EvalBatch, voter_id: uuid.UUID, kind: VoterKind) -> dict[str, Any]:
    return {"batch": batch.id, "voter": voter_id, "kind": kind, "k": batch.votes_per_pair}


@cache
def _levels(allow_repeats: bool) -> Select[Any]:  # noqa: FBT001
    """Prompts by their votes, the fewest first, and what there is on them."""
    free = case((_may_meet(allow_repeats), Pair.id if allow_repeats else Pair.replicate))
    prompts = _tallied(
        func.sum(Tally.held).label("votes"), func.count().label("pairs"),
        func.count(free).label("free"), func.count(free if allow_repeats else distinct(free)).label("places"),
        func.sum(Tally.drawn_first_is_a).label("first_is_a"), func.sum(Tally.drawn_second_is_a).label("second_is_a"),
    ).group_by(Pair.prompt_id).subquery()  # fmt: skip
    sums = (func.sum(column).label(column.name) for column in prompts.c if column.name != "votes")
    found = select(prompts.c.votes, func.count().label("prompts"), *sums)
    return found.group_by(prompts.c.votes).order_by(prompts.c.votes)


@cache
def _next_up(allow_repeats: bool) -> Select[uuid.UUID]:  # noqa: FBT001
    prompts = _tallied(Pair.prompt_id).group_by(Pair.prompt_id).having(func.sum(Tally.held) == bindparam("least"))
    found = _tallied(Pair.id).where(_may_meet(allow_repeats), Pair.prompt_id.in_(prompts))
    return found.order_by(Pair.id).offset(bindparam("number")).limit(1)


def _tallied(*columns: Any) -> Select[Any]:
    return (
        select(*columns)
        .select_from(Pair)
        .join(Tally, (Tally.pair_id == Pair.id) & (Tally.voter_kind == _KIND))
        .where(Tally.eval_batch_id == _BATCH, Pair.kind.in_(_TAKES_SLOTS), Pair.settled.is_(None))
    )


def _may_meet(allow_repeats: bool) -> ColumnElement[bool]:  # noqa: FBT001
    """Whether a pair has a free slot and is for this voter: no pair twice, and one of each prompt and replicate."""
    mine = (Ballot.eval_batch_id == _BATCH, Ballot.voter_id == _VOTER)
    met = select(Ballot.pair_id).where(*mine, Ballot.state.not_in(MAY_COME_BACK))
    free = (Tally.held < _K) & Tally.pair_id.not_in(met)
    if allow_repeats:
        return free
    # A pair that lapsed was read all the same: of its prompt and replicate this voter may only meet it again.
    takes_slots = (_Shown.kind.in_(_TAKES_SLOTS), _Other.kind.in_(_TAKES_SLOTS), _Other.eval_batch_id == _BATCH)
    same = (_Other.prompt_id == _Shown.prompt_id) & (_Other.replicate == _Shown.replicate) & (_Other.id != _Shown.id)
    others = select(_Other.id).join(_Shown, same).join(Ballot, Ballot.pair_id == _Shown.id)
    return free & Tally.pair_id.not_in(others.where(*mine, *takes_slots))
