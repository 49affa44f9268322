"""Long lists: one page of the rows whose name holds what somebody looks for, cut by the database."""

import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, func, or_, select, true
from sqlalchemy.orm import Session

PAGE = 50
"""Rows on one page of a list, where nothing else is said."""


@dataclass(frozen=True)
class Wanted:
    """What a reader asks of a list: a piece of a name, in capitals or not, and a page, counted from 1."""

    text: str = ""
    page: int = 1


FIRST_PAGE = Wanted()


@dataclass(frozen=True)
class Window:
    """The part of a list that is shown. ``total`` rows exist, ``matching`` of them are what was asked for."""

    text: str
    page: int
    matching: int
    total: int
    size: int = PAGE

    @classmethod
    def over(cls, wanted: Wanted, matching: int, total: int, size: int = PAGE) -> "Window":
        """The wanted page, or the last one where there are fewer."""
        return cls(wanted.text, min(wanted.page, _pages(matching, size)), matching, total, size)

    @property
    def pages(self) -> int:
        """Pages of what matches; at least 1."""
        return _pages(self.matching, self.size)

    @property
    def before(self) -> int:
        """Rows on the pages before this one."""
        return (self.page - 1) * self.size

    @property
    def last(self) -> int:
        """Number of the last row on this page, counted from 1."""
        return min(self.before + self.size, self.matching)

    @property
    def is_long(self) -> bool:
        """Whether a search is of use."""
        return self.total > self.size or bool(self.text)


def find(
    session: Session,
    wanted: Wanted,
    table: Any,
    order: tuple[Any, ...],
    *names: Any,
    within: ColumnElement[bool] | None = None,
    size: int = PAGE,
) -> tuple[list[uuid.UUID], Window]:
    """Ids of the rows on one page of a table, in this order, and where they stand in it; in two queries.

    The rows themselves are then read as everywhere else, for these ids alone: that keeps a page of a thousand rows,
    and each time it fetches itself again, as quick as one of fifty. No two rows may be equal in ``order``; ``names``
    are the columns that are searched. ``within``: the list is not the whole table, but these rows of it.
    """
    listed = true() if within is None else within
    holds = or_(*(name.icontains(wanted.text, autoescape=True) for name in names))
    counts = select(func.count(), func.count().filter(holds)).select_from(table).where(listed)
    total, matching = session.execute(counts).one()
    window = Window.over(wanted, matching, total, size)
    page = select(table.id).where(listed, holds).order_by(*order).limit(window.size).offset(window.before)
    return list(session.scalars(page)), window


def _pages(matching: int, size: int) -> int:
    return max(1, -(-matching // size))
