"""A database and one open transaction for the reads."""

from tests.fixtures import database, session

__all__ = ["database", "session"]
