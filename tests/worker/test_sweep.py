"""The sweep: silent jobs go to others, lost messages are sent again, old rows go."""

import uuid
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from app import jobs
from app.db import Database, session_scope
from app.domain.terms import JobKind, JobState, Queue
from app.models import Event, Job, Worker
from tests.factories import NOW
from worker.claim import claim
from worker.sweep import sweep

STALE_SECONDS = 60.0
LATER = NOW + timedelta(seconds=61)
SOON = NOW + timedelta(seconds=59)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[uuid.UUID]]:
    """The messages that leave, in order."""
    gone: list[uuid.UUID] = []
    monkeypatch.setattr(jobs, "send", lambda job_id, _queue: gone.append(job_id))
    return gone


def add(**values: object) -> uuid.UUID:
    with session_scope() as session:
        job = jobs.enqueue(session, JobKind.GENERATE, uuid.uuid4(), title="Generate", now=NOW)
        for name, value in values.items():
            setattr(job, name, value)
        return job.id


def running(**values: object) -> uuid.UUID:
    """A job that a worker claimed and was last heard of at ``NOW``."""
    job_id = add()
    assert claim(job_id, worker="lost:1") is not None
    with session_scope() as session:
        job = session.get_one(Job, job_id)
        for name, value in ({"heartbeat_at": NOW} | values).items():
            setattr(job, name, value)
    return job_id


def row(job_id: uuid.UUID) -> Job:
    with session_scope(write=False) as session:
        return session.get_one(Job, job_id)


def test_a_silent_job_goes_back_in_line(database: Database, sent: list[uuid.UUID]) -> None:
    job_id = running()
    sent.clear()
    with database.session_scope() as session:
        assert sweep(session, now=LATER, stale_seconds=STALE_SECONDS) == 1
    job = row(job_id)
    assert (job.state, job.message) == (JobState.QUEUED, "Its worker (lost:1) fell silent.")
    assert sent == [job_id]
    again = claim(job_id, worker="new")
    assert again is not None
    assert again.attempt == 2


def test_a_job_that_was_heard_of_lately_is_left_alone(database: Database, sent: list[uuid.UUID]) -> None:
    job_id = running()
    sent.clear()
    with database.session_scope() as session:
        assert sweep(session, now=SOON, stale_seconds=STALE_SECONDS) == 0
    assert (row(job_id).state, sent) == (JobState.RUNNING, [])


def test_a_job_that_falls_silent_at_its_last_attempt_fails_and_can_be_tried_again(
    database: Database, sent: list[uuid.UUID]
) -> None:
    job_id = running(attempt=3)
    sent.clear()
    with database.session_scope() as session:
        sweep(session, now=LATER, stale_seconds=STALE_SECONDS)
    job = row(job_id)
    assert (job.state, sent) == (JobState.FAILED, [])
    assert "lost:1" in job.error
    assert "what was stored is kept" in job.error
    with database.session_scope() as session:
        jobs.retry(session, job_id, now=LATER)
    assert claim(job_id, worker="new") is not None


def test_a_silent_job_that_was_to_be_cancelled_is_cancelled(database: Database, sent: list[uuid.UUID]) -> None:
    job_id = running(cancel_requested_at=NOW)
    with database.session_scope() as session:
        sweep(session, now=LATER, stale_seconds=STALE_SECONDS)
    assert row(job_id).state is JobState.CANCELLED


def test_a_lost_message_is_sent_again_but_not_at_every_sweep(database: Database, sent: list[uuid.UUID]) -> None:
    job_id = add()
    sent.clear()
    for now in (SOON, LATER, LATER + timedelta(seconds=59), LATER + timedelta(seconds=61)):
        with database.session_scope() as session:
            sweep(session, now=now, stale_seconds=STALE_SECONDS)
    assert sent == [job_id, job_id]
    assert row(job_id).state is JobState.QUEUED


def test_a_job_that_waits_for_another_is_not_sent(database: Database, sent: list[uuid.UUID]) -> None:
    first = running(heartbeat_at=LATER)
    with database.session_scope() as session:
        after = session.get_one(Job, first)
        jobs.enqueue(session, JobKind.TRAIN, uuid.uuid4(), title="Train", now=NOW, after=after)
    sent.clear()
    with database.session_scope() as session:
        assert sweep(session, now=LATER, stale_seconds=STALE_SECONDS) == 0
    assert sent == []


@pytest.mark.parametrize("state", [JobState.DONE, JobState.FAILED, JobState.CANCELLED])
def test_what_has_ended_stays_as_it_is(database: Database, sent: list[uuid.UUID], state: JobState) -> None:
    job_id = running(state=state)
    sent.clear()
    with database.session_scope() as session:
        assert sweep(session, now=LATER, stale_seconds=STALE_SECONDS) == 0
    assert (row(job_id).state, sent) == (state, [])


def test_old_hints_and_dead_workers_are_forgotten(database: Database) -> None:
    now = NOW + timedelta(days=2)
    with database.session_scope() as session:
        for name, heard in (("old:1", NOW), ("new:1", now)):
            session.add(Event(topic="jobs", subject_id=uuid.uuid4(), created_at=heard))
            session.add(Worker(name=name, queue=Queue.GPU, started_at=heard, heartbeat_at=heard))
    with database.session_scope() as session:
        sweep(session, now=now, stale_seconds=STALE_SECONDS)
    with database.session_scope(write=False) as session:
        assert list(session.scalars(select(Worker.name))) == ["new:1"]
        assert session.scalar(select(func.count(Event.id))) == 1
