"""What a format is: rows, each for one of its files."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

Row = tuple[str, dict[str, Any]]
"""The file it belongs to, and its fields in order. All rows of a file come one after the other."""


class Shape(StrEnum):
    """How the rows of a file are written."""

    LINES = "lines"  # JSON, one object a line
    LIST = "list"  # JSON, one list
    CSV = "csv"


@dataclass(frozen=True)
class Format:
    """One format. ``file`` is its only file, or empty where it has several, which go into a folder."""

    title: str
    shape: Shape
    file: str
    rows: Callable[[Session, UUID], Iterator[Row]]
    left_out: Callable[[Session, UUID], dict[str, int]] | None = None
    """How many pairs the format has no room for, by reason."""
