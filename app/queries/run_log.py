"""The log of a run: its last lines for the page, and all of it as a text."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.domain.errors import NotFoundError
from app.domain.terms import LineKind
from app.models import Run, RunLine

TAIL = 12
"""Lines that a page shows."""


@dataclass(frozen=True)
class LogLine:
    """What was said, and when."""

    id: int
    at: datetime
    kind: LineKind
    text: str


@dataclass(frozen=True)
class LogTail:
    """The last lines of a run's log, oldest first, and how many lines there are."""

    run_id: uuid.UUID
    lines: tuple[LogLine, ...]
    total: int


def log_tail(session: Session, run_id: uuid.UUID, most: int = TAIL) -> LogTail:
    """The end of the log.

    Raises:
        NotFoundError: no run has this id.
    """
    _found(session, run_id)
    newest = select(RunLine).where(RunLine.run_id == run_id).order_by(RunLine.id.desc()).limit(most)
    lines = [LogLine(one.id, one.created_at, one.kind, one.text) for one in session.scalars(newest)]
    total = session.scalar(select(func.count(RunLine.id)).where(RunLine.run_id == run_id)) or 0
    return LogTail(run_id, tuple(reversed(lines)), total)


def log_text(session: Session, run_id: uuid.UUID) -> str:
    """The whole log, one line each: the moment in UTC, then what was said.

    Raises:
        NotFoundError: no run has this id.
    """
    _found(session, run_id)
    return "".join(_written(session, run_id))


def _found(session: Session, run_id: uuid.UUID) -> None:
    if session.get(Run, run_id) is None:
        raise NotFoundError("There is no such run. The list of runs shows what exists.")


def _written(session: Session, run_id: uuid.UUID) -> Iterator[str]:
    for one in session.scalars(select(RunLine).where(RunLine.run_id == run_id).order_by(RunLine.id)):
        warning = "warning: " if one.kind is LineKind.WARNING else ""
        yield f"{one.created_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z  {warning}{one.text}\n"
