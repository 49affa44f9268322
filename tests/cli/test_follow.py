"""What a log says of a job that is followed without a terminal."""

import uuid
from datetime import UTC, datetime

from app.cli.follow import Tenths
from app.domain.terms import JobKind, JobState
from app.queries.jobs import JobView

NOW = datetime(2026, 11, 30, tzinfo=UTC)


def job(done: int, total: int, *, message: str = "", eta: float | None = None) -> JobView:
    return JobView(
        id=uuid.UUID(int=1), kind=JobKind.TRAIN, title="Train brie", state=JobState.RUNNING, done=done, total=total,
        message=message, eta_seconds=eta, error="", attempt=1, cancel_requested=False, created_at=NOW, started_at=NOW,
        finished_at=None,
    )  # fmt: skip


def test_each_tenth_of_the_work_is_told_once() -> None:
    told = Tenths()
    lines = [told.line(job(done, 200)) for done in range(201)]
    assert [place for place, line in enumerate(lines) if line] == list(range(20, 201, 20))
    assert lines[20] == "Train brie: 20 of 200"


def test_a_line_says_what_the_job_says_and_how_long_it_will_take() -> None:
    told = Tenths()
    assert told.line(job(50, 100, message="Step 50 of 100", eta=150)) == "Train brie: Step 50 of 100, about 2 min left"
    assert told.line(job(100, 100, message="Step 100 of 100", eta=1)) == "Train brie: Step 100 of 100"


def test_work_of_unknown_size_is_told_when_its_size_is_known_and_a_job_that_begins_again_anew() -> None:
    told = Tenths()
    assert told.line(job(3, 0)) is None
    assert told.line(job(3, 10)) == "Train brie: 3 of 10"
    assert told.line(job(3, 10)) is None
    assert told.line(job(1, 10)) == "Train brie: 1 of 10"
