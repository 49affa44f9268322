"""Long lists: one page of the rows whose name holds what somebody looks for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

PAGE = 50
"""Rows on one page of a list."""

T = TypeVar("T")


@dataclass(frozen=True)
class Wanted:
    """What a reader asks of a list: a piece of a name, in capitals or not, and a page, counted from 1."""

    text: str = ""
    page: int = 1


FIRST_PAGE = Wanted()


@dataclass(frozen=True)
class Window:
    """The part of a list that is shown. ``total`` rows exist, ``matching`` of them hold ``text``."""

    text: str
    page: int
    matching: int
    total: int

    @classmethod
    def over(cls, wanted: Wanted, matching: int, total: int) -> "Window":
        """The wanted page, or the last one where there are fewer."""
        return cls(wanted.text, min(wanted.page, max(1, -(-matching // PAGE))), matching, total)

    @property
    def pages(self) -> int:
        """Pages of what matches; at least 1."""
        return max(1, -(-self.matching // PAGE))

    @property
    def before(self) -> int:
        """Rows on the pages before this one."""
        return (self.page - 1) * PAGE

    @property
    def is_long(self) -> bool:
        """Whether a search is of use."""
        return self.total > PAGE or bool(self.text)


def cut(rows: Sequence[T], wanted: Wanted, name: Callable[[T], str]) -> tuple[tuple[T, ...], Window]:
    """The wanted rows of a list that is at hand, and where they stand in it."""
    text = wanted.text.casefold()
    matching = [row for row in rows if text in name(row).casefold()] if text else list(rows)
    window = Window.over(wanted, len(matching), len(rows))
    return tuple(matching[window.before : window.before + PAGE]), window
