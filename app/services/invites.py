"""Invites: a link by which people join one eval batch as raters, with one name and one click."""

import secrets
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.domain.errors import BadInputError, ConflictError, ForbiddenError, NotFoundError
from app.domain.names import line_of_text
from app.domain.terms import BatchState
from app.models import Account, BatchCheckpoint, Checkpoint, EvalBatch, Invite, Seat, Voter
from app.services import accounts
from app.services.seats import give_seat, seat_of

TITLE = "A comparison of texts"
DAYS, USES = 7, 20
MOST_DAYS, MOST_USES = 90, 1000
LONGEST_TITLE = 120
REFUSED = "This link lets nobody in: it has ended, or all its places are taken. Ask for a new one where you got it."


@dataclass(frozen=True)
class Opened:
    """A link that somebody holds. ``seat``: the one they have already. ``closed``: the comparison is over."""

    invite: Invite
    seat: Seat | None
    closed: bool


def make_invite(
    session: Session,
    batch: EvalBatch,
    *,
    by: Account,
    now: datetime,
    title: str = TITLE,
    days: int = DAYS,
    uses: int = USES,
) -> tuple[Invite, str]:
    """An invite and its token, which is known now and never again.

    Raises:
        BadInputError: a figure is out of range, or the title would tell raters what they compare.
        ConflictError: the batch is closed.
    """
    if batch.state is not BatchState.OPEN:
        raise ConflictError(f"{batch.name} is closed and takes no more votes, so no invite was made.")
    if not 1 <= days <= MOST_DAYS:
        raise BadInputError(f"An invite lasts 1 to {MOST_DAYS} days, not {days}. Nothing was made.")
    if not 1 <= uses <= MOST_USES:
        raise BadInputError(f"An invite lets 1 to {MOST_USES} people in, not {uses}. Nothing was made.")
    title = line_of_text(title, "title", LONGEST_TITLE) or TITLE
    _refuse_telling(session, batch, title)
    token = secrets.token_urlsafe(32)
    invite = Invite(
        eval_batch_id=batch.id, title=title, token_sha256=accounts.sha256(token), most_uses=uses, uses=0,
        created_by=by.id, created_at=now, expires_at=now + timedelta(days=days), revoked_at=None,
    )  # fmt: skip
    session.add(invite)
    session.flush()
    return invite, token


def _refuse_telling(session: Session, batch: EvalBatch, title: str) -> None:
    """No title may hold the name of a checkpoint that takes part, nor that of the batch, which often holds one."""
    members = select(Checkpoint.name).join(BatchCheckpoint, BatchCheckpoint.checkpoint_id == Checkpoint.id)
    names = session.scalars(members.where(BatchCheckpoint.eval_batch_id == batch.id)).all()
    for name in (batch.name, *names):
        if name.casefold() in title.casefold():
            raise BadInputError(
                f"Raters read the title, and “{name}” in it would tell them what they compare. Nothing was made; "
                "choose other words."
            )


def find_invite(session: Session, invite_id: uuid.UUID) -> Invite:
    """An invite by its id.

    Raises:
        NotFoundError: there is none.
    """
    invite = session.get(Invite, invite_id)
    if invite is None:
        raise NotFoundError("There is no such invite. The page of the eval batch's raters shows those that exist.")
    return invite


def revoke_invite(session: Session, invite: Invite, *, now: datetime) -> None:
    """Let nobody else in by this link. Who has joined stays."""
    invite.revoked_at = invite.revoked_at or now
    session.flush()


def open_invite(session: Session, token: str, account: Account | None, *, now: datetime) -> Opened:
    """What a link leads to, for whoever holds it; nothing is used up.

    Raises:
        ForbiddenError: it lets nobody in (one sentence, whatever the reason).
    """
    invite = session.scalar(select(Invite).where(Invite.token_sha256 == accounts.sha256(token)))
    if invite is None:
        raise ForbiddenError(REFUSED)
    closed = session.get_one(EvalBatch, invite.eval_batch_id).state is not BatchState.OPEN
    seat = seat_of(session, invite.eval_batch_id, account.voter_id) if account else None
    if seat is not None and seat.revoked_at is None:
        return Opened(invite, seat, closed)
    if seat is not None or invite.revoked_at or invite.expires_at <= now or invite.uses >= invite.most_uses:
        raise ForbiddenError(REFUSED)
    return Opened(invite, None, closed)


def join(
    session: Session, token: str, account: Account | None, *, now: datetime, name: str = "", opens: str = ""
) -> tuple[Account, Seat]:
    """Give whoever holds the link a seat: the account that is signed in, or a new rater of this name.

    ``opens``: token of the session that is to be opened. Whoever it belongs to already sent the same form before.

    Raises:
        BadInputError: a new rater needs a name.
        ConflictError: the comparison is over.
        ForbiddenError: the link lets nobody in, or its last place was taken at this moment.
    """
    locked = select(Invite.id).where(Invite.token_sha256 == accounts.sha256(token)).with_for_update()
    session.execute(locked)  # two clicks of one person come after one another: the second finds the seat of the first
    account = account or (accounts.account_of(session, opens, now=now) if opens else None)
    opened = open_invite(session, token, account, now=now)
    if account is not None and opened.seat is not None:
        return account, opened.seat
    if opened.closed:
        raise ConflictError("This comparison is over and takes no more votes. Nothing was stored of you.")
    invite = opened.invite
    used = session.execute(
        update(Invite)
        .where(
            Invite.id == invite.id, Invite.uses < Invite.most_uses, Invite.revoked_at.is_(None), Invite.expires_at > now
        )
        .values(uses=Invite.uses + 1)
        .returning(Invite.id)
        .execution_options(synchronize_session=False)
    ).scalar()  # fmt: skip
    if used is None:
        raise ForbiddenError(REFUSED)
    joining = account or accounts.make_rater(session, name, now=now)
    batch, voter = session.get_one(EvalBatch, invite.eval_batch_id), session.get_one(Voter, joining.voter_id)
    return joining, give_seat(session, batch, voter, title=invite.title, now=now, invite_id=invite.id)
