"""Raters, for admins: of one eval batch its invites and who votes how far; of the arena, who has an account."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.orm import Session

from app.domain.errors import NotFoundError
from app.domain.quality import Sheet
from app.domain.terms import BallotState, BatchState, Role, VoterKind
from app.models import Account, Ballot, EvalBatch, Invite, Seat, Voter
from app.queries.paging import FIRST_PAGE, Wanted, Window, find
from app.queries.quality import Excluded, excluded_of, sheets_of

MOST_BATCHES = 8
"""Eval batches on the first page of raters; all of them are one link away."""


@dataclass(frozen=True)
class InviteRow:
    """One invite. ``open``: it still lets people in."""

    id: uuid.UUID
    batch: str
    title: str
    uses: int
    most_uses: int
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    open: bool


@dataclass(frozen=True)
class RaterRow:
    """How far one voter is in one eval batch. ``joined_at`` is ``None`` for whoever needs no seat."""

    voter_id: uuid.UUID
    name: str
    simulated: bool
    is_admin: bool
    disabled: bool
    votes: int
    skipped: int
    open_ballot: bool
    last_at: datetime | None
    """When the last ballot was shown, voted on or skipped."""
    joined_at: datetime | None
    seat_revoked_at: datetime | None
    sheet: Sheet
    """What the votes look like. ``excluded`` says why the rule of the plan leaves them out; empty: it does not."""
    excluded: tuple[str, ...]


@dataclass(frozen=True)
class BatchInvites:
    """An eval batch on the first page of raters, with what its invites and raters come to."""

    id: uuid.UUID
    name: str
    state: BatchState
    raters: int
    votes: int
    invites: int
    open_invites: int


@dataclass(frozen=True)
class AccountRow:
    """Somebody who may sign in, or might if the account were enabled."""

    id: uuid.UUID
    name: str
    role: Role
    has_password: bool
    seats: int
    created_at: datetime
    disabled_at: datetime | None


@dataclass(frozen=True)
class RatersPage:
    """The first page of raters: open eval batches, and a page of the accounts."""

    batches: tuple[BatchInvites, ...]
    all_batches: int
    accounts: tuple[AccountRow, ...]
    window: Window


@dataclass(frozen=True)
class BatchRatersPage:
    """The invites of one eval batch, and a page of its raters."""

    batch: BatchInvites
    invites: tuple[InviteRow, ...]
    rows: tuple[RaterRow, ...]
    window: Window
    excluded: Excluded


def raters_page(session: Session, wanted: Wanted = FIRST_PAGE, *, now: datetime) -> RatersPage:
    """The first page of raters."""
    order = (Account.name, Account.id)
    ids, window = find(session, wanted, Account, order, Account.name)
    accounts = session.scalars(select(Account).where(Account.id.in_(ids)).order_by(*order)).all()
    seats = _counts(session, Seat.voter_id, Seat.voter_id.in_([account.voter_id for account in accounts]))
    is_open = EvalBatch.state == BatchState.OPEN
    newest = select(EvalBatch).where(is_open).order_by(EvalBatch.created_at.desc(), EvalBatch.name).limit(MOST_BATCHES)
    return RatersPage(
        batches=_batches(session, session.scalars(newest).all(), now=now),
        all_batches=session.scalar(select(func.count(EvalBatch.id))) or 0,
        accounts=tuple(
            AccountRow(
                id=account.id,
                name=account.name,
                role=account.role,
                has_password=bool(account.password_hash),
                seats=seats.get(account.voter_id, 0),
                created_at=account.created_at,
                disabled_at=account.disabled_at,
            )
            for account in accounts
        ),
        window=window,
    )


def _batches(session: Session, found: Sequence[EvalBatch], *, now: datetime) -> tuple[BatchInvites, ...]:
    """Eval batches with their counts, in a fixed number of queries."""
    ids = [batch.id for batch in found]
    shown = session.execute(
        select(Ballot.eval_batch_id, func.count(Ballot.id))
        .where(
            Ballot.eval_batch_id.in_(ids), Ballot.state == BallotState.VOTED, Ballot.voter_kind == VoterKind.RATER
        )
        .group_by(Ballot.eval_batch_id)
    )  # fmt: skip
    votes = {batch_id: int(count) for batch_id, count in shown}
    seats = _counts(session, Seat.eval_batch_id, Seat.eval_batch_id.in_(ids))
    invites = _counts(session, Invite.eval_batch_id, Invite.eval_batch_id.in_(ids))
    open_invites = _counts(session, Invite.eval_batch_id, Invite.eval_batch_id.in_(ids), *_lets_in(now))
    return tuple(
        BatchInvites(
            id=batch.id,
            name=batch.name,
            state=batch.state,
            raters=seats.get(batch.id, 0),
            votes=votes.get(batch.id, 0),
            invites=invites.get(batch.id, 0),
            open_invites=open_invites.get(batch.id, 0),
        )
        for batch in found
    )


def _lets_in(now: datetime) -> tuple[ColumnElement[bool], ...]:
    return (Invite.revoked_at.is_(None), Invite.expires_at > now, Invite.uses < Invite.most_uses)


def _counts(session: Session, by: Any, *conditions: Any) -> dict[uuid.UUID, int]:
    """Rows by the value of a column."""
    rows = session.execute(select(by, func.count()).where(*conditions).group_by(by))
    return {key: int(count) for key, count in rows}


def batch_raters_page(
    session: Session, batch_id: uuid.UUID, wanted: Wanted = FIRST_PAGE, *, now: datetime
) -> BatchRatersPage:
    """The invites and raters of one eval batch.

    Raises:
        NotFoundError: no eval batch has this id.
    """
    batch = session.get(EvalBatch, batch_id)
    if batch is None:
        raise NotFoundError("There is no such eval batch. The list of eval batches shows what exists.")
    order = (Voter.name, Voter.id)
    ids, window = find(session, wanted, Voter, order, Voter.name, within=_takes_part(batch_id))
    excluded = excluded_of(session, batch)
    return BatchRatersPage(
        batch=_batches(session, [batch], now=now)[0],
        invites=invite_rows(session, Invite.eval_batch_id == batch_id, now=now),
        rows=rater_rows(session, batch, excluded, Voter.id.in_(ids)),
        window=window,
        excluded=excluded,
    )


def _takes_part(batch_id: uuid.UUID) -> ColumnElement[bool]:
    """Voters with a seat or a ballot in the batch. The script that votes on canary pairs is nobody to list."""
    seated = select(Seat.voter_id).where(Seat.eval_batch_id == batch_id)
    shown = select(Ballot.voter_id).where(Ballot.eval_batch_id == batch_id)
    return and_(Voter.kind == VoterKind.RATER, or_(Voter.id.in_(seated), Voter.id.in_(shown)))


def invite_rows(session: Session, *conditions: Any, now: datetime) -> tuple[InviteRow, ...]:
    """Invites, the newest first."""
    found = session.execute(
        select(Invite, EvalBatch.name)
        .join(EvalBatch, EvalBatch.id == Invite.eval_batch_id)
        .where(*conditions)
        .order_by(Invite.created_at.desc(), Invite.id)
    )
    return tuple(
        InviteRow(
            id=invite.id,
            batch=batch,
            title=invite.title,
            uses=invite.uses,
            most_uses=invite.most_uses,
            created_at=invite.created_at,
            expires_at=invite.expires_at,
            revoked_at=invite.revoked_at,
            open=invite.revoked_at is None and invite.expires_at > now and invite.uses < invite.most_uses,
        )
        for invite, batch in found
    )


def rater_rows(session: Session, batch: EvalBatch, excluded: Excluded, *conditions: Any) -> tuple[RaterRow, ...]:
    """Voters of an eval batch by name, each with how far it is and what its votes look like."""
    found = session.execute(
        select(Voter, Seat.joined_at, Seat.revoked_at, Account.role, Account.disabled_at)
        .outerjoin(Seat, and_(Seat.voter_id == Voter.id, Seat.eval_batch_id == batch.id))
        .outerjoin(Account, Account.voter_id == Voter.id)
        .where(_takes_part(batch.id), *conditions)
        .order_by(Voter.name, Voter.id)
    ).all()
    ids = [voter.id for voter, *_ in found]
    counted = session.execute(
        select(
            Ballot.voter_id, Ballot.state, func.count(Ballot.id),
            func.max(func.coalesce(Ballot.closed_at, Ballot.issued_at), type_=Ballot.issued_at.type),
        )
        .where(Ballot.eval_batch_id == batch.id, Ballot.voter_id.in_(ids))
        .group_by(Ballot.voter_id, Ballot.state)
    )  # fmt: skip
    ballots: dict[uuid.UUID, dict[BallotState, int]] = {}
    last: dict[uuid.UUID, datetime] = {}
    for voter_id, state, count, moment in counted:
        ballots.setdefault(voter_id, {})[state] = count
        last[voter_id] = max(moment, last.get(voter_id, moment))
    sheets = sheets_of(session, batch, ids)
    return tuple(
        RaterRow(
            voter_id=voter.id,
            name=voter.name,
            simulated=voter.simulated,
            is_admin=role is Role.ADMIN,
            disabled=disabled_at is not None,
            votes=ballots.get(voter.id, {}).get(BallotState.VOTED, 0),
            skipped=ballots.get(voter.id, {}).get(BallotState.SKIPPED, 0),
            open_ballot=BallotState.OPEN in ballots.get(voter.id, {}),
            last_at=last.get(voter.id),
            joined_at=joined_at,
            seat_revoked_at=revoked_at,
            sheet=sheets.get(voter.id, Sheet()),
            excluded=excluded.reasons.get(voter.id, ()),
        )
        for voter, joined_at, revoked_at, role, disabled_at in found
    )
