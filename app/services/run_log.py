"""The log of a run: what its training says, line by line, bounded so that no run fills the database."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.domain.terms import JobKind, JobState, LineKind
from app.models import Job, Run, RunLine

MOST_LINES = 5000
"""Of one run; older ones go."""

LONGEST = 2000
"""Characters of one line; the rest is cut off, which is said."""

_CUT = " … (cut)"
_ENDED = {JobState.DONE: "done", JobState.CANCELLED: "cancelled"}


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


def tell_end(session: Session, job: Job, state: JobState, error: str, *, now: datetime) -> None:
    """The last line of an attempt at a training: how it ended. Other jobs have no log."""
    run = session.get(Run, job.subject_id) if job.kind is JobKind.TRAIN else None
    if run is not None:
        ended = _ENDED.get(state)
        say(session, run, [(now, LineKind.TOLD, ended) if ended else (now, LineKind.WARNING, error)])


def _fitting(text: str) -> str:
    """One line that the database can hold."""
    line = " ".join(text.replace("\0", " ").split())
    return line if len(line) <= LONGEST else line[: LONGEST - len(_CUT)] + _CUT
