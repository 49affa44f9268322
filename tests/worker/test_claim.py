"""Claiming: one of many gets the job, and an attempt that lost it cannot write any more."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from app import jobs
from app.db import Database
from app.domain.terms import JobKind, JobState
from app.models import Job
from tests.factories import NOW
from worker.claim import Claim, LostJobError, claim, requeue

RIVALS = 8


def add() -> uuid.UUID:
    from app.db import session_scope  # noqa: PLC0415

    with session_scope() as session:
        return jobs.enqueue(session, JobKind.GENERATE, uuid.uuid4(), title="Generate", now=NOW).id


def row(database: Database, job_id: uuid.UUID) -> Job:
    with database.session_scope(write=False) as session:
        return session.get_one(Job, job_id)


def taken(job_id: uuid.UUID, worker: str = "first") -> Claim:
    found = claim(job_id, worker=worker)
    assert found is not None
    return found


def lose(database: Database, job_id: uuid.UUID) -> Claim:
    """Give the job to a second worker, as the sweep does with one that fell silent."""
    with database.session_scope() as session:
        requeue(session, session.get_one(Job, job_id), reason="silence", now=NOW)
    return taken(job_id, "second")


def test_of_many_workers_at_once_exactly_one_gets_the_job(database: Database) -> None:
    for _ in range(5):
        job_id = add()
        together = Barrier(RIVALS)

        def rival(number: int, job_id: uuid.UUID = job_id, together: Barrier = together) -> Claim | None:
            together.wait()
            return claim(job_id, worker=str(number))

        with ThreadPoolExecutor(RIVALS) as pool:
            results = list(pool.map(rival, range(RIVALS)))
        (winner,) = [number for number, result in enumerate(results) if result is not None]
        job = row(database, job_id)
        assert (job.state, job.attempt, job.worker) == (JobState.RUNNING, 1, str(winner))


def test_a_second_message_finds_nothing_to_claim(database: Database) -> None:
    job_id = add()
    first = taken(job_id)
    assert claim(job_id, worker="second") is None
    with database.session_scope() as session:
        first.end(session, JobState.DONE)
    assert claim(job_id, worker="second") is None
    assert claim(uuid.uuid4(), worker="second") is None
    assert (row(database, job_id).worker, row(database, job_id).attempt) == ("first", 1)


def test_progress_and_end_are_stored(database: Database) -> None:
    job_id = add()
    mine = taken(job_id)
    with database.session_scope() as session:
        mine.progress(session, done=3, total=8, message="3 of 8", eta_seconds=2.5)
    job = row(database, job_id)
    assert (job.done, job.total, job.message, job.eta_seconds) == (3, 8, "3 of 8", 2.5)
    with database.session_scope() as session:
        mine.end(session, JobState.DONE)
    job = row(database, job_id)
    assert (job.state, job.done, job.eta_seconds) == (JobState.DONE, 8, None)
    assert job.finished_at is not None


def test_a_lost_attempt_cannot_write(database: Database) -> None:
    job_id = add()
    old = taken(job_id)
    new = lose(database, job_id)
    before = row(database, job_id)
    assert (old.attempt, new.attempt, before.worker) == (1, 2, "second")
    with pytest.raises(LostJobError), database.session_scope() as session:
        old.progress(session, done=1, total=1)
    with pytest.raises(LostJobError), database.session_scope() as session:
        old.end(session, JobState.FAILED, error="too late")
    old.give_back(reason="too late")
    assert old.cancel_requested()
    assert not new.cancel_requested()
    after = row(database, job_id)
    assert {column.name: getattr(after, column.name) for column in Job.__table__.columns} == {
        column.name: getattr(before, column.name) for column in Job.__table__.columns
    }


@pytest.mark.parametrize("state", [JobState.DONE, JobState.FAILED, JobState.CANCELLED])
def test_what_has_ended_ends_only_once(database: Database, state: JobState) -> None:
    job_id = add()
    mine = taken(job_id)
    with database.session_scope() as session:
        mine.end(session, state)
    with pytest.raises(LostJobError), database.session_scope() as session:
        mine.end(session, JobState.DONE)
    mine.give_back(reason="too late")
    assert row(database, job_id).state is state


def test_what_is_given_back_is_taken_again_until_the_last_attempt(database: Database) -> None:
    job_id = add()
    for attempt in (1, 2, 3):
        mine = taken(job_id)
        assert mine.attempt == attempt
        mine.give_back(reason="The process was killed.")
    job = row(database, job_id)
    assert job.state is JobState.FAILED
    assert job.error == "The process was killed. This was attempt 3; what was stored is kept. Press retry to go on."


def test_a_worker_that_is_told_to_stop_uses_no_attempt_up(database: Database) -> None:
    job_id = add()
    for _ in range(5):
        taken(job_id).give_back(reason="The worker was stopped.", counts=False)
    assert row(database, job_id).state is JobState.QUEUED
    for _ in range(3):
        taken(job_id).give_back(reason="The process was killed.")
    assert row(database, job_id).state is JobState.FAILED


def test_what_is_given_back_after_a_cancel_is_cancelled(database: Database) -> None:
    job_id = add()
    mine = taken(job_id)
    with database.session_scope() as session:
        jobs.request_cancel(session, job_id, now=NOW)
    mine.give_back(reason="The worker was stopped.")
    assert row(database, job_id).state is JobState.CANCELLED
