"""The process of a job, run in this one: however the work ends, the row says it in words for people."""

import logging
import os
import signal
import uuid
from collections.abc import Callable, Iterator

import pytest

from app import jobs
from app.db import Database
from app.domain.errors import ConflictError
from app.domain.terms import JobKind, JobState
from app.models import Job
from tests.factories import NOW
from tests.fixtures import on_sqlite
from training.errors import AdapterError, Cancelled
from worker import child
from worker.claim import Claim, claim, requeue

pytestmark = on_sqlite

Work = Callable[[Claim, child.Stop], None]


@pytest.fixture(autouse=True)
def _leave_this_process_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No watch on the parent, and logging and signals as before."""
    monkeypatch.setattr(child, "_die_with", lambda _worker: None)
    root, term = logging.getLogger(), signal.getsignal(signal.SIGTERM)
    handlers, level = root.handlers, root.level
    yield
    signal.signal(signal.SIGTERM, term)
    root.handlers, root.level = handlers, level


@pytest.fixture
def job_id(database: Database) -> uuid.UUID:
    with database.session_scope() as session:
        found = jobs.enqueue(session, JobKind.GENERATE, uuid.uuid4(), title="Generate", now=NOW).id
    assert claim(found, worker="here") is not None
    return found


def do(work: Work, job_id: uuid.UUID, monkeypatch: pytest.MonkeyPatch, *, attempt: int = 1) -> int:
    monkeypatch.setitem(child.WORK, JobKind.GENERATE, work)
    return child.main(job_id, attempt, os.getppid())


def raising(error: BaseException) -> Work:
    def work(_claim: Claim, _should_stop: child.Stop) -> None:
        raise error

    return work


def row(database: Database, job_id: uuid.UUID) -> Job:
    with database.session_scope(write=False) as session:
        return session.get_one(Job, job_id)


def test_work_that_returns_is_done(database: Database, job_id: uuid.UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    assert do(lambda _claim, _stop: None, job_id, monkeypatch) == 0
    assert (row(database, job_id).state, row(database, job_id).error) == (JobState.DONE, "")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ConflictError("The folder holds other weights."), "The folder holds other weights."),
        (AdapterError("the weights changed"), "the weights changed"),
        (MemoryError(), "The machine ran out of memory. Use a smaller batch or base model."),
        (KeyError("layer"), "Unexpected KeyError: 'layer'"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_an_error_becomes_the_sentence_of_the_job(
    database: Database, job_id: uuid.UUID, error: Exception, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert do(raising(error), job_id, monkeypatch) == 0
    assert (row(database, job_id).state, row(database, job_id).error) == (JobState.FAILED, told)


def test_a_cancelled_job_is_cancelled(database: Database, job_id: uuid.UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    def work(_claim: Claim, should_stop: child.Stop) -> None:
        assert not should_stop()
        with database.session_scope() as session:
            jobs.request_cancel(session, job_id, now=NOW)
        while not should_stop():
            pass
        raise Cancelled("cancelled after step 3")

    assert do(work, job_id, monkeypatch) == 0
    assert (row(database, job_id).state, row(database, job_id).error) == (JobState.CANCELLED, "")


def test_a_process_that_is_told_to_stop_leaves_the_end_to_its_worker(
    database: Database, job_id: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(_claim: Claim, should_stop: child.Stop) -> None:
        assert not should_stop()
        os.kill(os.getpid(), signal.SIGTERM)
        assert should_stop()
        raise Cancelled("saved")

    assert do(work, job_id, monkeypatch) == 0
    assert row(database, job_id).state is JobState.RUNNING


@pytest.mark.parametrize("work", [lambda _claim, _stop: None, raising(ConflictError("too late"))])
def test_a_lost_attempt_writes_nothing(
    database: Database, job_id: uuid.UUID, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.session_scope() as session:
        requeue(session, session.get_one(Job, job_id), reason="silence", now=NOW)
    assert claim(job_id, worker="another") is not None
    assert do(work, job_id, monkeypatch) == 0
    job = row(database, job_id)
    assert (job.state, job.worker, job.attempt, job.error) == (JobState.RUNNING, "another", 2, "")
