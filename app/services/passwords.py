"""Passwords: kept as Argon2 hashes, compared in the same time whether a name exists or not."""

import secrets
import threading
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

from pwdlib import PasswordHash
from pwdlib.exceptions import PwdlibError
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.errors import BadInputError, ForbiddenError
from app.models import Account
from app.services import accounts

SHORTEST, LONGEST = 10, 200
REFUSED = "This name and password do not fit together. Check both, or ask for a link that signs you in."
_HASHER = PasswordHash.recommended()
_AT_ONCE = threading.BoundedSemaphore(4)
"""A hash takes 64 MB and a core for a moment; a crowd that signs in waits here, not for memory."""


@dataclass(frozen=True)
class Known:
    """What is stored of a name that was typed in. ``account_id`` is ``None`` where nobody of it may sign in."""

    account_id: uuid.UUID | None
    password_hash: str


@lru_cache(maxsize=1)
def _nobodys() -> str:
    """A hash that no password fits, for names without one."""
    return _HASHER.hash(secrets.token_urlsafe(32))


def known(session: Session, name: str) -> Known:
    """What there is to compare a password with. Read it, and close the transaction: comparing takes its time."""
    account = session.scalar(select(Account).where(Account.name == name.strip()))
    if account is None or account.disabled_at is not None or not account.password_hash:
        return Known(None, "")
    return Known(account.id, account.password_hash)


def check(found: Known, password: str) -> uuid.UUID:
    """Whose password this is.

    Raises:
        ForbiddenError: nobody's of that name (one sentence for every reason).
    """
    nobody = _nobodys()  # before the branch, so that the first call takes the same time for all
    fits = _fits(password, found.password_hash or nobody)
    if found.account_id is None or not fits:
        raise ForbiddenError(REFUSED)
    return found.account_id


def _fits(password: str, stored: str) -> bool:
    if len(password) > LONGEST:
        return False
    with _AT_ONCE:
        try:
            return _HASHER.verify(password, stored)
        except PwdlibError:  # such as a hash of another kind, restored from elsewhere
            return False


def sign_in(session: Session, found: Known, *, now: datetime, lifetime: timedelta) -> str:
    """Open a session for whom ``check`` let in; returns its token.

    Raises:
        ForbiddenError: the account was disabled or its password changed meanwhile.
    """
    account = session.get(Account, found.account_id) if found.account_id else None
    if account is None or account.disabled_at is not None or account.password_hash != found.password_hash:
        raise ForbiddenError(REFUSED)
    return accounts.open_session(session, account.id, now=now, lifetime=lifetime)


def hashed(password: str) -> str:
    """The hash of a new password.

    Raises:
        BadInputError: it is too short or too long.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise BadInputError(f"A password has {SHORTEST} to {LONGEST} characters. Nothing was changed.")
    with _AT_ONCE:
        return _HASHER.hash(password)


def require_current(stored: str, current: str) -> None:
    """Whoever found an open browser does not know the password and may not change it.

    Raises:
        ForbiddenError: it is not the stored one.
    """
    if not _fits(current, stored):
        raise ForbiddenError(
            "This is not your present password, so it was not changed. If it is lost, ask for a link that signs you "
            "in: for an hour after it, the old password is not asked for."
        )


def change(session: Session, account_id: uuid.UUID, new_hash: str, *, keep: str) -> None:
    """Store a new password and sign out every other browser than the one with the session token ``keep``."""
    session.get_one(Account, account_id).password_hash = new_hash
    accounts.leave_everywhere(session, account_id, but=keep)
