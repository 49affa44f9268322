"""Rows by the thousand: handed to the driver as it takes them, without a statement or an object a row.

Postgres gets them by COPY, SQLite by one prepared statement. Values are plain: ids and times as text.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Table, Uuid
from sqlalchemy.orm import DeclarativeBase, Session


class Bulk:
    """Inserts into one table. What is the same in every row is given once, as ``constants``."""

    def __init__(
        self, session: Session, model: type[DeclarativeBase], columns: Sequence[str], **constants: Any
    ) -> None:
        """Raises ``TypeError`` where not every column is given."""
        table = model.__table__
        if not isinstance(table, Table) or {*columns, *constants} != {column.name for column in table.columns}:
            raise TypeError(f"{model.__name__} has other columns")
        self._connection = session.connection()
        self._constants = tuple(constants.values())
        quote = self._connection.dialect.identifier_preparer.quote
        self._table = quote(table.name)
        self._columns = [quote(name) for name in (*columns, *constants)]
        names = {column.name for column in table.columns if isinstance(column.type, Uuid)}
        self._ids = [place for place, name in enumerate((*columns, *constants)) if name in names]

    def add(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert rows whose values stand in the order of ``columns``."""
        if not rows:
            return
        columns = ", ".join(self._columns)
        if self._connection.dialect.name != "postgresql":
            # The indexes of a large import do not fit the 2 MB that SQLite keeps in memory by itself, and a page that
            # each portion changes need not go from the log into the file after each of them. (KiB; pages.)
            self._connection.exec_driver_sql("PRAGMA cache_size = -200000")
            self._connection.exec_driver_sql("PRAGMA wal_autocheckpoint = 50000")
            whole = [self._plain(row) for row in rows]
            places = ", ".join("?" * len(self._columns))
            statement = f"INSERT INTO {self._table} ({columns}) VALUES ({places})"  # noqa: S608 (names of our own tables)
            self._connection.exec_driver_sql(statement, whole)
            return
        self._connection.exec_driver_sql("SET LOCAL TIME ZONE 'UTC'")  # that of the times that are given as text
        driver: Any = self._connection.connection.driver_connection
        with driver.cursor() as cursor, cursor.copy(f"COPY {self._table} ({columns}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row((*row, *self._constants))

    def _plain(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        """A row as SQLite keeps it: ids without dashes."""
        values = [*row, *self._constants]
        for place in self._ids:
            values[place] = values[place].replace("-", "")
        return tuple(values)


def moment(at: datetime) -> str:
    """A time in UTC, as both databases read it."""
    return at.replace(tzinfo=None).isoformat(" ", "microseconds")
