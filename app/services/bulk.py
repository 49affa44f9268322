"""Rows by the thousand: handed to the driver as it takes them, without a statement or an object a row.

Postgres gets them by COPY, SQLite by one prepared statement. Values are plain: ids and times as text.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import repeat
from typing import Any, NamedTuple

from sqlalchemy import Table, Uuid
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import DeclarativeBase, Session

_MOMENT = len("2026-01-31 12:00:00.000000")


class Load(NamedTuple):
    """Rows of one table as they will be stored; plain values, so that it can be handed to another process."""

    table: str
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


def load(
    dialect: str,
    model: type[DeclarativeBase],
    rows: Sequence[tuple[Any, ...]],
    columns: Sequence[str],
    **constants: Any,
) -> Load:
    """Rows whose values stand in the order of ``columns``; what is the same in each of them is given once.

    ``dialect``: "sqlite" or "postgresql". Raises ``TypeError`` where not every column is given.
    """
    table = model.__table__
    if not isinstance(table, Table) or {*columns, *constants} != {column.name for column in table.columns}:
        raise TypeError(f"{model.__name__} has other columns")
    names = (*columns, *constants)
    ids = {column.name for column in table.columns if isinstance(column.type, Uuid)}
    as_stored: Callable[[Any], Any] = _without_dashes if dialect == "sqlite" else _as_it_is
    # By column, not by row: most columns are taken as they are.
    whole = [
        map(as_stored, values) if name in ids else values
        for name, values in zip(columns, zip(*rows, strict=True), strict=False)
    ]
    fixed = [repeat(as_stored(value) if name in ids else value) for name, value in constants.items()]
    return Load(str(table.name), names, list(zip(*whole, *fixed, strict=False)) if rows else [])


def insert(session: Session, loads: Sequence[Load]) -> None:
    """Insert them, in this order.

    Raises:
        DBAPIError: the database refuses a row or goes away; nothing of the transaction stays.
    """
    connection = session.connection()
    quote = connection.dialect.identifier_preparer.quote
    if connection.dialect.name == "sqlite":
        # The indexes of a large import do not fit the 2 MB that SQLite keeps in memory by itself, and a page that
        # each portion changes need not go from the log into the file after each of them. (KiB; pages.)
        connection.exec_driver_sql("PRAGMA cache_size = -200000")
        connection.exec_driver_sql("PRAGMA wal_autocheckpoint = 50000")
    else:
        connection.exec_driver_sql("SET LOCAL TIME ZONE 'UTC'")  # that of the times that are given as text
    driver: Any = connection.connection.driver_connection
    for one in loads:
        if not one.rows:
            continue
        into = f"{quote(one.table)} ({', '.join(map(quote, one.columns))})"
        if connection.dialect.name == "sqlite":
            places = ", ".join("?" * len(one.columns))
            statement = f"INSERT INTO {into} VALUES ({places})"  # noqa: S608 (names of our own tables)
            connection.exec_driver_sql(statement, one.rows)
            continue
        statement, errors = f"COPY {into} FROM STDIN", connection.dialect.loaded_dbapi.Error
        try:
            with driver.cursor() as cursor, cursor.copy(statement) as copy:
                for row in one.rows:
                    copy.write_row(row)
        except errors as error:  # as SQLAlchemy would tell it, past which this goes
            raise DBAPIError.instance(
                statement, None, error, errors, hide_parameters=True, dialect=connection.dialect
            ) from error


def moment(at: datetime) -> str:
    """A time in UTC, as both databases read it."""
    return at.isoformat(" ", "microseconds")[:_MOMENT]


def _without_dashes(value: str) -> str:
    """An id as SQLite keeps it."""
    return value.replace("-", "")


def _as_it_is(value: str) -> str:
    return value
