"""The watching side of a job: whatever becomes of its process, the row ends up in a state that goes on."""

import os
import signal
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from app import jobs
from app.config import get_settings
from app.db import Database, session_scope
from app.domain.errors import UnavailableError
from app.domain.terms import JobKind, JobState
from app.models import Job
from tests.factories import NOW
from tests.fixtures import on_sqlite
from tests.processes import QUICK, process_settings, wait_for
from worker import supervise as module
from worker.claim import claim, requeue
from worker.supervise import supervise, worker_name

pytestmark = on_sqlite


@pytest.fixture
def database(database_url: str, home: Path) -> Iterator[Database]:
    from app.db import get_database  # noqa: PLC0415

    with process_settings(home, database_url=database_url, **QUICK):
        yield get_database()


@pytest.fixture
def job_id(database: Database) -> uuid.UUID:
    with database.session_scope() as session:
        return jobs.enqueue(session, JobKind.GENERATE, uuid.uuid4(), title="Generate", now=NOW).id


def row(job_id: uuid.UUID) -> Job:
    with session_scope(write=False) as session:
        return session.get_one(Job, job_id)


def child_that(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHILD", "tests.fakes.child_process")
    monkeypatch.setenv("FAKE_CHILD", mode)


@contextmanager
def supervising(job_id: uuid.UUID, home: Path) -> Iterator[tuple[int, threading.Event, "Future[None]"]]:
    """The id of a child that is at work, what stops its worker, and the end of supervising."""
    stopping = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        ending = pool.submit(supervise, job_id, get_settings(), stopping)
        try:
            wait_for(lambda: (home / "child").exists() or ending.done(), "the child")
            yield int((home / "child").read_text(encoding="utf-8")), stopping, ending
        finally:
            stopping.set()


def alive(process: int) -> bool:
    return Path(f"/proc/{process}").exists()


@pytest.mark.parametrize(
    ("mode", "told"),
    [
        ("crashes", "The process of this job ended unexpectedly (exit code 3)."),
        ("is killed", "The process of this job was ended by SIGKILL. Often the machine ran out of memory."),
    ],
)
def test_the_job_of_a_process_that_dies_goes_back_in_line(
    job_id: uuid.UUID, mode: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    child_that(mode, monkeypatch)
    supervise(job_id, get_settings(), threading.Event())
    job = row(job_id)
    assert (job.state, job.attempt, job.message) == (JobState.QUEUED, 1, told)
    assert job.attempt < job.max_attempts


def test_a_process_that_dies_at_every_attempt_fails_its_job(job_id: uuid.UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    child_that("crashes", monkeypatch)
    for _ in range(5):
        supervise(job_id, get_settings(), threading.Event())
    job = row(job_id)
    assert (job.state, job.attempt) == (JobState.FAILED, 3)
    assert "exit code 3" in job.error


def test_what_the_process_recorded_itself_stands(job_id: uuid.UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    child_that("does its work", monkeypatch)
    supervise(job_id, get_settings(), threading.Event())
    assert (row(job_id).state, row(job_id).attempt) == (JobState.DONE, 1)


def test_a_second_message_for_a_running_job_starts_nothing(
    job_id: uuid.UUID, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child_that("does its work", monkeypatch)
    assert claim(job_id, worker="another") is not None
    supervise(job_id, get_settings(), threading.Event())
    assert not (home / "child").exists()
    assert row(job_id).worker == "another"


def test_a_worker_that_is_stopped_ends_the_process_and_gives_the_job_back(
    job_id: uuid.UUID, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child_that("waits", monkeypatch)
    with supervising(job_id, home) as (child, stopping, ending):
        assert row(job_id).worker == worker_name()
        stopping.set()
        ending.result()
    assert not alive(child)
    job = row(job_id)
    assert (job.state, job.max_attempts - job.attempt) == (JobState.QUEUED, 3)
    assert "goes on when one starts again" in job.message


def test_the_heartbeat_moves_while_the_process_works(
    job_id: uuid.UUID, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child_that("waits", monkeypatch)
    with supervising(job_id, home):
        first = row(job_id).heartbeat_at
        wait_for(lambda: row(job_id).heartbeat_at != first, "a heartbeat")


def test_a_worker_that_lost_its_job_ends_the_process_and_leaves_the_row_alone(
    job_id: uuid.UUID, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child_that("waits", monkeypatch)
    with supervising(job_id, home) as (child, _stopping, ending):
        with session_scope() as session:
            requeue(session, session.get_one(Job, job_id), reason="silence", now=NOW)
        assert claim(job_id, worker="another") is not None
        ending.result()
        assert not alive(child)
    job = row(job_id)
    assert (job.state, job.worker, job.attempt, job.message) == (JobState.RUNNING, "another", 2, "Starting")


def test_a_database_that_is_away_for_a_moment_does_not_end_the_work(
    job_id: uuid.UUID, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child_that("waits", monkeypatch)
    away = threading.Event()
    failed = threading.Event()

    @contextmanager
    def sometimes_away() -> Iterator[object]:
        if away.is_set():
            failed.set()
            raise UnavailableError("The database cannot be used right now.")
        with session_scope() as session:
            yield session

    monkeypatch.setattr(module, "session_scope", sometimes_away)
    with supervising(job_id, home) as (child, _stopping, ending):
        away.set()
        wait_for(failed.is_set, "a heartbeat that fails")
        away.clear()
        before = row(job_id).heartbeat_at
        wait_for(lambda: row(job_id).heartbeat_at != before, "the next heartbeat")
        assert alive(child)
        assert not ending.done()


def test_a_process_that_does_not_stop_is_killed(job_id: uuid.UUID, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child_that("waits", monkeypatch)
    monkeypatch.setattr(module, "STOP_SECONDS", 0.2)
    with supervising(job_id, home) as (child, stopping, ending):
        os.kill(child, signal.SIGSTOP)  # it cannot hear anything now
        stopping.set()
        ending.result()
    assert not alive(child)
    assert row(job_id).state is JobState.QUEUED
