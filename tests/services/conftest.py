"""A database and one open transaction for the use cases."""

from tests.fixtures import database, session

__all__ = ["database", "session"]
