"""What a run says is kept line by line, and never without an end."""

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.domain.errors import NotFoundError
from app.domain.terms import JobKind, JobState, LineKind
from app.models import Job, Run, RunLine
from app.queries.run_log import log_tail, log_text
from app.services import run_log
from app.services.run_log import say, tell_end
from tests.factories import NOW, make_base, make_run


@pytest.fixture
def run(session: Session, tmp_path: Path) -> Run:
    make_base(session, tmp_path)
    return make_run(session, tmp_path)


def lines(count: int, first: int = 0) -> list[tuple]:
    return [(NOW + timedelta(seconds=n), LineKind.TOLD, f"line {n}") for n in range(first, first + count)]


def test_the_tail_has_the_newest_lines_oldest_first(session: Session, run: Run) -> None:
    say(session, run, lines(20))
    tail = log_tail(session, run.id, most=3)
    assert ([line.text for line in tail.lines], tail.total) == (["line 17", "line 18", "line 19"], 20)


def test_the_oldest_go_when_there_are_too_many(
    session: Session, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_log, "MOST_LINES", 5)
    other = make_run(session, tmp_path)
    say(session, other, lines(4))
    say(session, run, lines(4))
    say(session, run, lines(4, first=4))
    assert [line.text for line in log_tail(session, run.id).lines] == [f"line {n}" for n in (3, 4, 5, 6, 7)]
    assert log_tail(session, other.id).total == 4


def test_the_whole_log_as_text(session: Session, run: Run) -> None:
    say(session, run, [*lines(1), (NOW, LineKind.WARNING, "watch\nout\0 now")])
    first, second = log_text(session, run.id).splitlines()
    assert first == f"{NOW:%Y-%m-%d %H:%M:%S}Z  line 0"
    assert second.endswith("Z  warning: watch out now")
    with pytest.raises(NotFoundError):
        log_text(session, session.get_one(Job, run.job_id).id)


def test_a_line_has_an_end(session: Session, run: Run) -> None:
    say(session, run, [(NOW, LineKind.TOLD, "x" * 9000)])
    (line,) = log_tail(session, run.id).lines
    assert (len(line.text), line.text[-5:]) == (run_log.LONGEST, "(cut)")


def test_nothing_said_is_nothing_stored(session: Session, run: Run) -> None:
    say(session, run, [])
    assert session.scalar(select(func.count(RunLine.id))) == 0


@pytest.mark.parametrize(
    ("state", "kind", "text"),
    [
        (JobState.DONE, LineKind.TOLD, "done"),
        (JobState.CANCELLED, LineKind.TOLD, "cancelled"),
        (JobState.FAILED, LineKind.WARNING, "The disk is full."),
    ],
)
def test_the_end_of_an_attempt_is_told(session: Session, run: Run, state: JobState, kind: LineKind, text: str) -> None:
    job = session.get_one(Job, run.job_id)
    tell_end(session, job, state, "The disk is full.", now=NOW)
    (line,) = log_tail(session, run.id).lines
    assert (line.kind, line.text) == (kind, text)
    job.kind = JobKind.GENERATE
    tell_end(session, job, state, "", now=NOW)
    assert log_tail(session, run.id).total == 1
