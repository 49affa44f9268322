"""Accounts and their sessions. Tokens leave the arena once; the database keeps only their hashes."""

import hashlib
import secrets
import uuid
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.domain.errors import ConflictError, ForbiddenError, NotFoundError
from app.domain.names import person_name
from app.domain.terms import Role, VoterKind
from app.models import Account, EntryLink, SignIn, Voter

ADMIN = "admin"
LINK_LIFETIME = timedelta(hours=24)
LINK_TRUST = timedelta(hours=1)
"""How long after a link a browser may set a new password without the old one: that is how a lost one is replaced."""
_ATTEMPTS = 50


def sha256(token: str) -> str:
    """What is stored of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def the_admin(session: Session, *, now: datetime) -> Account:
    """The admin account, made at first use."""
    account = session.scalar(select(Account).where(Account.name == ADMIN, Account.role == Role.ADMIN))
    return account or _add(session, ADMIN, Role.ADMIN, now=now)


def owner_link(session: Session, *, now: datetime) -> str:
    """A link for the admin, for whoever has the machine: also where another admin disabled that account."""
    account = the_admin(session, now=now)
    account.disabled_at = None
    return make_entry_link(session, account, now=now)


def make_account(session: Session, name: str, role: Role, *, now: datetime) -> Account:
    """An account of exactly this name.

    Raises:
        BadInputError: the name cannot be one.
        ConflictError: it is taken, in capitals or not.
    """
    name = person_name(name)
    if name.casefold() in _taken(session, name):
        raise ConflictError(f"There is an account called {name!r} already. Nothing was made; choose another name.")
    return _add(session, name, role, now=now)


def make_rater(session: Session, name: str, *, now: datetime) -> Account:
    """A rater's account of this name; where it is taken, with a number after it.

    Raises:
        BadInputError: the name cannot be one.
    """
    name = person_name(name)
    for _ in range(_ATTEMPTS):
        taken, free, number = _taken(session, name), name, 2
        while free.casefold() in taken:
            free, number = f"{name} {number}", number + 1
        try:
            with session.begin_nested():
                return _add(session, free, Role.RATER, now=now)
        except IntegrityError:  # somebody of the same name came in at this moment
            continue
    raise ConflictError("Too many people of this name come in at this moment. Nothing was stored; try again.")


def _taken(session: Session, name: str) -> set[str]:
    """Names that begin like this one, without capitals, and the admin's, which is nobody else's."""
    alike = func.lower(Account.name).startswith(name.lower(), autoescape=True)
    return {other.casefold() for other in session.scalars(select(Account.name).where(alike))} | {ADMIN}


def _add(session: Session, name: str, role: Role, *, now: datetime) -> Account:
    voter = Voter(kind=VoterKind.RATER, name=name, created_at=now)
    session.add(voter)
    session.flush()
    account = Account(name=name, role=role, voter_id=voter.id, created_at=now)
    session.add(account)
    session.flush()
    return account


def find_account(session: Session, account_id: uuid.UUID) -> Account:
    """An account by its id.

    Raises:
        NotFoundError: there is none.
    """
    account = session.get(Account, account_id)
    if account is None:
        raise NotFoundError("There is no such account. The page Raters shows who has one.")
    return account


def make_entry_link(session: Session, account: Account, *, now: datetime) -> str:
    """A token that signs its holder in once, within a day.

    Raises:
        ConflictError: the account is disabled.
    """
    if account.disabled_at is not None:
        raise ConflictError(f"{account.name} is disabled, so no link was made. Enable the account first.")
    token = secrets.token_urlsafe(32)
    session.add(
        EntryLink(
            account_id=account.id,
            token_sha256=sha256(token),
            created_at=now,
            expires_at=now + LINK_LIFETIME,
            used_at=None,
        )
    )
    return token


def enter(session: Session, token: str, *, now: datetime, lifetime: timedelta) -> str:
    """Use up an entry link and open a session; returns the session token.

    Raises:
        ForbiddenError: the link is unknown, used or expired, or its account disabled (one sentence for all).
    """
    able = select(Account.id).where(Account.disabled_at.is_(None))
    used = session.execute(
        update(EntryLink)
        .where(
            EntryLink.token_sha256 == sha256(token), EntryLink.used_at.is_(None), EntryLink.expires_at > now,
            EntryLink.account_id.in_(able),
        )
        .values(used_at=now)
        .returning(EntryLink.account_id)
    ).scalar()  # fmt: skip
    if used is None:
        raise ForbiddenError(
            "This link was used before or has expired. Ask for a new one where you got it; on the machine the arena "
            "runs on it is made by ./arena admin link"
        )
    return open_session(session, used, now=now, lifetime=lifetime)


def open_session(
    session: Session, account_id: uuid.UUID, *, now: datetime, lifetime: timedelta, token: str = ""
) -> str:
    """Sign a browser in, with a token that nobody has seen before; ``token`` must be such a one."""
    token = token or secrets.token_urlsafe(32)
    session.add(SignIn(account_id=account_id, token_sha256=sha256(token), created_at=now, expires_at=now + lifetime))
    return token


def account_of(session: Session, session_token: str, *, now: datetime) -> Account | None:
    """Who is signed in with this token, if anybody."""
    return session.scalar(
        select(Account)
        .join(SignIn, SignIn.account_id == Account.id)
        .where(
            SignIn.token_sha256 == sha256(session_token), SignIn.expires_at > now, Account.disabled_at.is_(None)
        )
    )  # fmt: skip


def came_by_link(session: Session, session_token: str, *, now: datetime) -> bool:
    """Whether this browser was signed in by an entry link, and lately."""
    found = select(EntryLink.id).join(
        SignIn, (SignIn.account_id == EntryLink.account_id) & (SignIn.created_at == EntryLink.used_at)
    ).where(SignIn.token_sha256 == sha256(session_token), EntryLink.used_at > now - LINK_TRUST)  # fmt: skip
    return session.scalar(found.limit(1)) is not None


def leave(session: Session, session_token: str) -> None:
    """End a session."""
    session.execute(delete(SignIn).where(SignIn.token_sha256 == sha256(session_token)))


def leave_everywhere(session: Session, account_id: uuid.UUID, *, but: str = "") -> int:
    """End every session of an account, or all but the one with this token; returns how many."""
    ended = delete(SignIn).where(SignIn.account_id == account_id, SignIn.token_sha256 != sha256(but))
    return len(session.scalars(ended.returning(SignIn.id)).all())


def disable(session: Session, account: Account, *, by: Account, now: datetime) -> None:
    """Keep somebody out from this moment on. Votes stay, and seats, for the day the account is enabled again.

    Raises:
        ConflictError: it is the own account: somebody must be left who can enable others.
    """
    if account.id == by.id:
        raise ConflictError("This is the account you are signed in with. Another admin can disable it.")
    account.disabled_at = account.disabled_at or now
    session.execute(delete(SignIn).where(SignIn.account_id == account.id))


def enable(account: Account) -> None:
    """Let somebody in again."""
    account.disabled_at = None


def voter_of(session: Session, account_id: uuid.UUID) -> Voter:
    """The voter an account votes as."""
    return session.get_one(Voter, session.get_one(Account, account_id).voter_id)
