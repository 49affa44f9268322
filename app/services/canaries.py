"""The script that votes on canary pairs: who it is, where it still has to vote, and what is kept of a pass."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, exists, select
from sqlalchemy.orm import Session

from app import __version__
from app.domain.errors import ConflictError
from app.domain.terms import BatchState, PairKind, Role, VoterKind
from app.models import Account, EvalBatch, Pair, Seat, SignIn, Voter
from app.services.accounts import open_session
from app.services.events import announce
from app.services.seats import give_seat

_NAME = f"canary script, version {__version__}"
_LIFETIME = timedelta(hours=1)
_LONGEST_NOTE = 120


@dataclass(frozen=True)
class ScriptSeat:
    """A throw-away voter that may vote on one eval batch, with the token of its session."""

    batch_id: uuid.UUID
    voter_id: uuid.UUID
    token: str


def waiting(session: Session) -> Sequence[uuid.UUID]:
    """Open eval batches that the script of this version of the arena has not been through.

    A pass that found no way on counts, and is run again by hand; one that was cut off by a shutdown does not.
    """
    seen = exists(
        select(Seat.id)
        .join(Voter, Voter.id == Seat.voter_id)
        .where(Seat.eval_batch_id == EvalBatch.id, Voter.kind == VoterKind.SCRIPT, Voter.name == _NAME)
        .where(Seat.revoked_at.is_not(None))
    )
    pair = exists(select(Pair.id).where(Pair.eval_batch_id == EvalBatch.id, Pair.kind == PairKind.CANARY))
    query = select(EvalBatch.id).where(EvalBatch.state == BatchState.OPEN, pair, ~seen)
    return session.scalars(query.order_by(EvalBatch.created_at)).all()


def begin(session: Session, batch: EvalBatch, *, now: datetime) -> ScriptSeat:
    """A new voter for a pass, with an account, a seat and a session as a rater has them.

    Raises:
        ConflictError: the batch has no canary pairs, or takes no votes any more.
    """
    if not batch.canary_pairs:
        raise ConflictError(f"{batch.name} was launched without canary pairs, so there is nothing to vote on.")
    if batch.state is not BatchState.OPEN:
        raise ConflictError(f"{batch.name} is closed and takes no votes, not even of the canary script.")
    voter = Voter(kind=VoterKind.SCRIPT, name=_NAME, created_at=now)
    session.add(voter)
    session.flush()
    account = Account(name=f"{_NAME}, {voter.id.hex[:12]}", role=Role.RATER, voter_id=voter.id, created_at=now)
    session.add(account)
    session.flush()
    token = open_session(session, account.id, now=now, lifetime=_LIFETIME)
    give_seat(session, batch, voter, title="", now=now)
    return ScriptSeat(batch.id, voter.id, token)


def end(session: Session, seat: ScriptSeat, *, note: str = "", now: datetime) -> None:
    """Close the account of a pass. Its votes stay; ``note`` says where it stopped."""
    account = session.scalars(select(Account).where(Account.voter_id == seat.voter_id)).one()
    session.execute(delete(SignIn).where(SignIn.account_id == account.id))
    account.disabled_at = now
    stored = session.scalars(select(Seat).where(Seat.voter_id == seat.voter_id)).one()
    stored.title = note[:_LONGEST_NOTE]
    stored.revoked_at = now
    announce(session, "verdicts", seat.batch_id, now=now)
    session.flush()
