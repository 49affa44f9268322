"""A database and one open transaction for the tables."""

from tests.fixtures import database, session

__all__ = ["database", "session"]
