"""Fixtures that several folders import into their conftest.py."""

from collections.abc import Iterator

import pytest
from sqlalchemy.orm import Session

from app.db import Database

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For tests of rules in which the database has no say: once is enough."""

on_postgres = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
"""For tests of row locks, which SQLite does not have: it lets one writer in at a time."""


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """The migrated database as the code sees it."""
    opened = Database.at(database_url)
    yield opened
    opened.engine.dispose()


@pytest.fixture
def session(database: Database) -> Iterator[Session]:
    """One transaction that is rolled back at the end."""
    with Session(database.engine, expire_on_commit=False) as opened:
        yield opened
