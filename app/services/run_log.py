"""The log of a run: what its training says, line by line, bounded so that no run fills the database."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.domain.terms import LineKind
from app.models import Run, RunLine

MOST_LINES = 5000
"""Of one run; older ones go."""

LONGEST = 2000
"""Characters of one line; the rest is cut off, which is said."""

_CUT = " … (cut)"


def say(session: Session, run: Run, lines: Iterable[tuple[datetime, LineKind, str]]) -> None:
    """Add lines, each with the moment at which it was said, and drop the oldest beyond ``MOST_LINES``."""
    made = [RunLine(run_id=run.id, kind=kind, text=_fitting(text), created_at=at) for at, kind, text in lines]
    if not made:
        return
    session.add_all(made)
    session.flush()
    beyond = (
        select(RunLine.id).where(RunLine.run_id == run.id).order_by(RunLine.id.desc()).offset(MOST_LINES).limit(1)
    ).scalar_subquery()
    session.execute(delete(RunLine).where(RunLine.run_id == run.id, RunLine.id <= beyond))


def _fitting(text: str) -> str:
    """One line that the database can hold."""
    line = " ".join(text.replace("\0", " ").split())
    return line if len(line) <= LONGEST else line[: LONGEST - len(_CUT)] + _CUT
