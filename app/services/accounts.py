"""Signing in. Tokens leave the arena once; the database keeps only their hashes."""

import hashlib
import secrets
import uuid
from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.domain.errors import ForbiddenError
from app.domain.terms import Role, VoterKind
from app.models import Account, EntryLink, SignIn, Voter

ADMIN = "admin"
LINK_LIFETIME = timedelta(hours=24)


def _sha256(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def the_admin(session: Session, *, now: datetime) -> Account:
    """The admin account, made at first use."""
    account = session.scalar(select(Account).where(Account.name == ADMIN))
    if account is None:
        voter = Voter(kind=VoterKind.RATER, name=ADMIN, created_at=now)
        session.add(voter)
        session.flush()
        account = Account(name=ADMIN, role=Role.ADMIN, voter_id=voter.id, created_at=now)
        session.add(account)
        session.flush()
    return account


def make_entry_link(session: Session, account: Account, *, now: datetime) -> str:
    """A token that signs its holder in once, within a day."""
    token = secrets.token_urlsafe(32)
    session.add(
        EntryLink(
            account_id=account.id,
            token_sha256=_sha256(token),
            created_at=now,
            expires_at=now + LINK_LIFETIME,
            used_at=None,
        )
    )
    return token


def enter(session: Session, token: str, *, now: datetime, lifetime: timedelta) -> str:
    """Use up an entry link and open a session; returns the session token.

    Raises:
        ForbiddenError: the link is unknown, used or expired (one sentence for all three).
    """
    used = session.execute(
        update(EntryLink)
        .where(EntryLink.token_sha256 == _sha256(token), EntryLink.used_at.is_(None), EntryLink.expires_at > now)
        .values(used_at=now)
        .returning(EntryLink.account_id)
    ).scalar()
    if used is None:
        raise ForbiddenError(
            "This link was used before or has expired. Make a new one on the machine the arena runs on: "
            "./arena admin link"
        )
    session_token = secrets.token_urlsafe(32)
    session.add(SignIn(account_id=used, token_sha256=_sha256(session_token), created_at=now, expires_at=now + lifetime))
    return session_token


def account_of(session: Session, session_token: str, *, now: datetime) -> Account | None:
    """Who is signed in with this token, if anybody."""
    return session.scalar(
        select(Account)
        .join(SignIn, SignIn.account_id == Account.id)
        .where(SignIn.token_sha256 == _sha256(session_token), SignIn.expires_at > now)
    )


def leave(session: Session, session_token: str) -> None:
    """End a session."""
    sign_in = session.scalar(select(SignIn).where(SignIn.token_sha256 == _sha256(session_token)))
    if sign_in is not None:
        session.delete(sign_in)


def voter_of(session: Session, account_id: uuid.UUID) -> Voter:
    """The voter an account votes as."""
    return session.get_one(Voter, session.get_one(Account, account_id).voter_id)
