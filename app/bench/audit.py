"""What became of the votes: each one that was acknowledged is there once, and everything adds up."""

import uuid
from collections import Counter
from dataclasses import dataclass

from sqlalchemy import select

from app.bench.arena import BenchArena
from app.db import Database
from app.domain.terms import BallotState, Order
from app.models import Ballot, Verdict
from app.queries.verification import verify


@dataclass(frozen=True)
class Audit:
    """``lost``: acknowledged and not there, or with another choice. ``doubled``: there and nobody's acknowledged vote.

    ``uneven``: pairs whose orders are more than one apart. ``mismatches``: what `arena verify` says.
    """

    stored: int
    lost: int
    doubled: int
    uneven: int
    first_is_a: int
    second_is_a: int
    mismatches: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether no vote was lost, doubled or miscounted."""
        return not (self.lost or self.doubled or self.uneven or self.mismatches)


def audit(arena: BenchArena, acknowledged: dict[uuid.UUID, str]) -> Audit:
    """Read the whole database and compare."""
    database = Database.at(arena.settings.database)
    try:
        with database.session_scope(write=False) as session:
            found = session.execute(
                select(Verdict.ballot_id, Verdict.choice)
                .join(Ballot, Ballot.id == Verdict.ballot_id)
                .where(Ballot.eval_batch_id == arena.batch_id)
            ).all()
            shown = session.execute(
                select(Ballot.pair_id, Ballot.order).where(
                    Ballot.eval_batch_id == arena.batch_id, Ballot.state.in_((BallotState.OPEN, BallotState.VOTED))
                )
            ).all()
        with database.session_scope(write=False) as session:
            checked = verify(session, arena.settings.secret_key(), arena.batch_id)
    finally:
        database.engine.dispose()
    stored = Counter((ballot_id, choice.value) for ballot_id, choice in found)
    leads: Counter[uuid.UUID] = Counter()
    for pair_id, order in shown:
        leads[pair_id] += 1 if order is Order.FIRST_IS_A else -1
    orders = Counter(order for _, order in shown)
    return Audit(
        stored=len(found),
        lost=sum(vote not in stored for vote in acknowledged.items()),
        doubled=sum((stored - Counter(acknowledged.items())).values()),
        uneven=sum(abs(lead) > 1 for lead in leads.values()),
        first_is_a=orders[Order.FIRST_IS_A],
        second_is_a=orders[Order.SECOND_IS_A],
        mismatches=tuple(one.sentence for one in checked.mismatches),
    )
