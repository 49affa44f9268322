"""What the checks of an eval batch say: canaries, placebo and gold pairs. None of these votes enters a win rate.

They are read as the results are, through the same tallies, and cut by voter or order where those cannot tell.
"""

import uuid
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.domain.checks import gold_words, placebo_words, suspect_words
from app.domain.intervals import Interval, clopper_pearson
from app.domain.tally import Tally
from app.domain.terms import BallotState, Choice, Order, Outcome, PairKind, VoterKind
from app.models import Ballot, EvalBatch, Pair, Seat, Verdict, Voter
from app.queries.cells import SIMULATED, Cell
from app.queries.pair_tallies import cell, pair_tallies


@dataclass(frozen=True)
class CanaryRun:
    """One pass of the script over every canary pair in both orders.

    ``wrong`` votes arrived as a win of the text that the script did not choose. ``note`` says where it stopped.
    """

    at: datetime
    version: str
    wanted: int
    right: int
    wrong: int
    note: str

    @property
    def complete(self) -> bool:
        """Whether every ballot was voted on."""
        return self.right + self.wrong == self.wanted


@dataclass(frozen=True)
class Canaries:
    """All passes over the canary pairs, newest first, and what their tallies add up to."""

    pairs: int
    runs: tuple[CanaryRun, ...]
    right: int
    wrong: int
    sentence: str
    """The stop notice; empty while no order was found mixed up."""

    @property
    def suspect(self) -> bool:
        """Whether a vote arrived on the wrong text, so that no number of this batch can be trusted."""
        return self.wrong > 0


@dataclass(frozen=True)
class SideShare:
    """How often one voter chose what stood on side A of a placebo pair, with the exact interval."""

    voter: str
    a: int
    n: int
    interval: Interval

    @property
    def leans(self) -> bool:
        """Whether the interval leaves out one half."""
        return not self.interval.low <= 0.5 <= self.interval.high  # noqa: PLR2004


@dataclass(frozen=True)
class Placebo:
    """The baseline against itself: ``cell`` counts for its second text."""

    planned: int
    pairs: int
    cell: Cell
    behaves: bool | None
    """Whether the live range holds one half; ``None`` while there is none."""
    sides: tuple[SideShare, ...]
    sentence: str


@dataclass(frozen=True)
class GoldOrder:
    """Votes on gold pairs in one order."""

    order: Order
    right: int
    wrong: int
    tie: int


@dataclass(frozen=True)
class Gold:
    """All votes on gold pairs, by the order in which they were shown."""

    pairs: int
    orders: tuple[GoldOrder, ...]
    right: int
    wrong: int
    tie: int
    sentence: str


@dataclass(frozen=True)
class Checks:
    """The checks of one eval batch; ``None`` for what was not asked for at launch."""

    canaries: Canaries | None
    placebo: Placebo | None
    gold: Gold | None

    @property
    def suspect(self) -> bool:
        """Whether the canaries found an order that is mixed up."""
        return self.canaries is not None and self.canaries.suspect


def checks_of(session: Session, batch: EvalBatch) -> Checks:
    """What the checks of an eval batch say so far."""
    return Checks(
        canaries=canaries_of(session, batch) if batch.canary_pairs else None,
        placebo=_placebo(session, batch) if batch.placebo_pairs else None,
        gold=_gold(session, batch) if batch.gold_pairs else None,
    )


def canaries_of(session: Session, batch: EvalBatch) -> Canaries:
    """The passes of the script, and its votes as the results would count them."""
    counted = [pair.tally for pair in pair_tallies(session, batch.id, PairKind.CANARY, VoterKind.SCRIPT)]
    total = sum(counted, Tally(0, 0, 0))
    wrong = total.losses + total.ties
    runs = _runs(session, batch)
    return Canaries(
        pairs=len(counted),
        runs=runs,
        right=total.wins,
        wrong=wrong,
        sentence=suspect_words(wrong, total.n) if wrong else "",
    )


def _runs(session: Session, batch: EvalBatch) -> tuple[CanaryRun, ...]:
    seats = session.execute(
        select(Voter.id, Voter.name, Seat.title, Seat.joined_at)
        .join(Seat, Seat.voter_id == Voter.id)
        .where(Seat.eval_batch_id == batch.id, Voter.kind == VoterKind.SCRIPT)
        .order_by(Seat.joined_at.desc(), Voter.name)
    ).all()
    counts: dict[uuid.UUID, dict[Outcome, int]] = defaultdict(dict)
    for voter_id, outcome, count in session.execute(
        _standing(batch, PairKind.CANARY, Ballot.voter_id, Verdict.outcome)
    ):
        counts[voter_id][outcome] = count
    return tuple(
        CanaryRun(
            at=at,
            version=name.rpartition(" ")[2],
            wanted=2 * batch.canary_pairs,
            right=counts[voter_id].get(Outcome.SECOND, 0),
            wrong=sum(count for outcome, count in counts[voter_id].items() if outcome is not Outcome.SECOND),
            note=title,
        )
        for voter_id, name, title, at in seats
    )


def _standing(batch: EvalBatch, kind: PairKind, *by: Any) -> Any:
    """Standing votes on pairs of a kind, counted by these columns."""
    return (
        select(*by, func.count())
        .select_from(Ballot)
        .join(Pair, Pair.id == Ballot.pair_id)
        .join(Verdict, Verdict.ballot_id == Ballot.id)
        .where(Ballot.eval_batch_id == batch.id, Pair.kind == kind, Ballot.state == BallotState.VOTED)
        .group_by(*by)
    )


def _placebo(session: Session, batch: EvalBatch) -> Placebo:
    found = pair_tallies(session, batch.id, PairKind.PLACEBO, VoterKind.RATER)
    whole = cell("placebo pairs", found)
    sides = _sides(session, batch)
    behaves = None if whole.live is None else whole.live.low <= 0.5 <= whole.live.high  # noqa: PLR2004
    words = placebo_words(Tally(whole.wins, whole.losses, whole.ties, whole.both_bad), behaves)
    return Placebo(batch.placebo_pairs, len(found), whole, behaves, sides, _label(session, batch) + words)


def _sides(session: Session, batch: EvalBatch) -> tuple[SideShare, ...]:
    chosen: dict[tuple[uuid.UUID, str], dict[Choice, int]] = defaultdict(dict)
    query = _standing(batch, PairKind.PLACEBO, Voter.id, Voter.name, Verdict.choice)
    for voter_id, name, choice, count in session.execute(query.join(Voter, Voter.id == Ballot.voter_id)):
        chosen[voter_id, name][choice] = count
    shares = []
    for (_, name), counts in sorted(chosen.items(), key=lambda item: item[0][1]):
        a, b = counts.get(Choice.A, 0), counts.get(Choice.B, 0)
        if a + b:
            shares.append(SideShare(name, a, a + b, clopper_pearson(a, a + b)))
    return tuple(shares)


def _gold(session: Session, batch: EvalBatch) -> Gold:
    found = pair_tallies(session, batch.id, PairKind.GOLD, VoterKind.RATER)
    counts: dict[Order, dict[Outcome, int]] = defaultdict(dict)
    for order, outcome, count in session.execute(_standing(batch, PairKind.GOLD, Ballot.order, Verdict.outcome)):
        counts[order][outcome] = count
    orders = tuple(
        GoldOrder(order, *(counts[order].get(outcome, 0) for outcome in (Outcome.SECOND, Outcome.FIRST, Outcome.TIE)))
        for order in Order
    )
    total = sum((pair.tally for pair in found), Tally(0, 0, 0))
    words = _label(session, batch) + gold_words(total)
    return Gold(len(found), orders, total.wins, total.losses, total.ties, words)


def _label(session: Session, batch: EvalBatch) -> str:
    """Before sentences that votes of simulated raters went into."""
    query = (
        select(Ballot.id)
        .join(Voter, Voter.id == Ballot.voter_id)
        .where(Ballot.eval_batch_id == batch.id, Voter.simulated, Ballot.state == BallotState.VOTED)
    )
    return SIMULATED if session.scalar(query.limit(1)) is not None else ""
