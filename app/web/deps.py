"""What routes ask for: a transaction, the time, who is there.

What only picks something up is ``async``: a plain function would be run in a thread, which costs more than it does.
"""

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import Depends, Query, Request
from pydantic import BeforeValidator, Field
from sqlalchemy.orm import Session

from app.config import Settings
from app.db import Database
from app.domain.errors import ForbiddenError, SignInRequiredError
from app.domain.terms import Axis, Role
from app.models import Account
from app.queries.curves import View
from app.queries.paging import Wanted
from app.services import accounts
from app.services.assignment import Rules

COOKIE = "arena_session"
_WRITERS = 20
"""Half of the threads that run routes; also the size of the Postgres pool."""


async def get_settings(request: Request) -> Settings:
    """The settings the application was created with."""
    settings: Settings = request.app.state.settings
    return settings


SettingsDep = Annotated[Settings, Depends(get_settings)]


async def get_database(request: Request) -> Database:
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


async def get_now() -> datetime:
    """The time of this request."""
    return datetime.now(UTC)


NowDep = Annotated[datetime, Depends(get_now)]


async def get_rng() -> random.Random:
    """Randomness that nobody can predict, for orders and pairs."""
    return random.SystemRandom()


RngDep = Annotated[random.Random, Depends(get_rng)]


def get_rules(settings: SettingsDep) -> Rules:
    """The operator's rules of voting."""
    return Rules.of(settings)


RulesDep = Annotated[Rules, Depends(get_rules)]


async def session_token(request: Request) -> str:
    """The token of this browser's session; empty if it has none."""
    return request.cookies.get(COOKIE, "")


SessionTokenDep = Annotated[str, Depends(session_token)]


def if_signed_in(request: Request, token: SessionTokenDep, database: DatabaseDep, now: NowDep) -> Account | None:
    """Whoever is signed in, if anybody; also told to the templates as ``viewer``."""
    if not token:
        return None
    with database.session_scope(write=False) as session:
        account = accounts.account_of(session, token, now=now)
        if account is not None:
            session.expunge(account)
            request.state.viewer = account
    return account


MaybeAccountDep = Annotated[Account | None, Depends(if_signed_in)]


def required(account: Account | None) -> Account:
    """Whoever is signed in.

    Raises:
        SignInRequiredError: nobody is.
    """
    if account is None:
        raise SignInRequiredError(
            "This browser is not signed in, so nothing was done. Sign in on the first page and try again."
        )
    return account


async def signed_in(account: MaybeAccountDep) -> Account:
    """The same, for a route."""
    return required(account)


AccountDep = Annotated[Account, Depends(signed_in)]


async def require_admin(account: AccountDep) -> Account:
    """An admin.

    Raises:
        ForbiddenError: somebody else is signed in.
    """
    if account.role is not Role.ADMIN:
        raise ForbiddenError("This page is for admins.")
    return account


AdminDep = Annotated[Account, Depends(require_admin)]


def get_wanted(
    q: Annotated[str, Query(max_length=200)] = "", page: Annotated[int, Query(ge=1, le=1_000_000)] = 1
) -> Wanted:
    """What is asked of a list: ``?q=…&page=…``."""
    return Wanted(q.strip(), page)


WantedDep = Annotated[Wanted, Depends(get_wanted)]


def _left_empty(value: object) -> object:
    """A field that is left empty is sent as an empty text."""
    return None if value == "" else value


_Place = Annotated[Annotated[int, Field(ge=0, le=10**15)] | None, BeforeValidator(_left_empty)]


async def get_view(
    by: Axis = Axis.STEPS,
    scale: Literal["linear", "log"] = "linear",
    first: Annotated[_Place, Query(alias="from")] = None,
    last: Annotated[_Place, Query(alias="to")] = None,
) -> View:
    """What is asked of curves: ``?from=…&to=…&by=tokens&scale=log``."""
    return View(by, first, last, log=scale == "log")


ViewDep = Annotated[View, Depends(get_view)]
