"""What routes ask for: a transaction, the time, who is there."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, Query, Request
from sqlalchemy.orm import Session

from app.config import Settings
from app.db import Database
from app.domain.errors import ForbiddenError, SignInRequiredError
from app.domain.terms import Role
from app.models import Account, Voter
from app.queries.paging import Wanted
from app.services import accounts
from app.services.assignment import Rules

COOKIE = "arena_session"
_WRITERS = 20
"""Half of the threads that run routes; also the size of the Postgres pool."""


def get_settings(request: Request) -> Settings:
    """The settings the application was created with."""
    settings: Settings = request.app.state.settings
    return settings


SettingsDep = Annotated[Settings, Depends(get_settings)]


def get_database(request: Request) -> Database:
    """The database the application was created with."""
    database: Database = request.app.state.database
    return database


DatabaseDep = Annotated[Database, Depends(get_database)]


def read_session(database: DatabaseDep) -> Iterator[Session]:
    """A transaction that only reads."""
    with database.session_scope(write=False) as session:
        yield session


def write_session(database: DatabaseDep) -> Iterator[Session]:
    """A transaction that is committed when the route returns and rolled back when it raises."""
    with database.session_scope() as session:
        yield session


# With FastAPI's default scope a failing commit answers 200: a vote lost in silence. "function" ends the
# transaction before the response leaves.
ReadDep = Annotated[Session, Depends(read_session, scope="function")]
# Writers wait in line for SQLite's one lock. Waiting in a thread each, forty of them would hold every thread of the
# server, and the one with the lock would find none to go on in; this way most of them wait without a thread.
WriteDep = Annotated[Session, Depends(write_session, scope="function", max_concurrency=_WRITERS)]


def get_now() -> datetime:
    """The time of this request."""
    return datetime.now(UTC)


NowDep = Annotated[datetime, Depends(get_now)]


def get_rng() -> random.Random:
    """Randomness that nobody can predict, for orders and pairs."""
    return random.SystemRandom()


RngDep = Annotated[random.Random, Depends(get_rng)]


def get_rules(settings: SettingsDep) -> Rules:
    """The operator's rules of voting."""
    return Rules.of(settings)


RulesDep = Annotated[Rules, Depends(get_rules)]


def signed_in(request: Request, database: DatabaseDep, now: NowDep) -> Account:
    """Whoever is signed in; also told to the templates as ``viewer``.

    Raises:
        SignInRequiredError: nobody is.
    """
    token = request.cookies.get(COOKIE, "")
    with database.session_scope(write=False) as session:
        account = accounts.account_of(session, token, now=now) if token else None
        if account is None:
            raise SignInRequiredError("Please sign in: open the link that ./arena up printed, or make a new one.")
        session.expunge(account)
    request.state.viewer = account
    return account


AccountDep = Annotated[Account, Depends(signed_in)]


def require_admin(account: AccountDep) -> Account:
    """An admin.

    Raises:
        ForbiddenError: somebody else is signed in.
    """
    if account.role is not Role.ADMIN:
        raise ForbiddenError("This page is for admins.")
    return account


AdminDep = Annotated[Account, Depends(require_admin)]


def get_voter(account: AccountDep, database: DatabaseDep) -> Voter:
    """The voter that the signed-in account votes as."""
    with database.session_scope(write=False) as session:
        voter = accounts.voter_of(session, account.id)
        session.expunge(voter)
    return voter


VoterDep = Annotated[Voter, Depends(get_voter)]


def get_wanted(
    q: Annotated[str, Query(max_length=200)] = "", page: Annotated[int, Query(ge=1, le=1_000_000)] = 1
) -> Wanted:
    """What is asked of a list: ``?q=…&page=…``."""
    return Wanted(q.strip(), page)


WantedDep = Annotated[Wanted, Depends(get_wanted)]
