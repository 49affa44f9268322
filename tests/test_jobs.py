"""Jobs: a message leaves exactly when the row is committed, and the row survives every broker."""

import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select
from structlog.testing import CapturingLogger

from app import jobs
from app.config import get_settings
from app.db import Database, get_database
from app.domain.errors import BadInputError, ConflictError, NotFoundError
from app.domain.terms import JobKind, JobState, Queue
from app.models import Event, Job
from app.setup.programs import find_redis
from tests.conftest import unavailable
from tests.factories import NOW
from tests.fixtures import on_postgres, on_sqlite
from tests.processes import process_settings, wait_for
from tests.servers import redis as redis_server
from worker.claim import claim

BROKEN_BROKERS = {
    "nobody listens": "redis://127.0.0.1:1/0",
    "no such host": "redis://broker.invalid/0",
}


@pytest.fixture
def database(database_url: str, tmp_path: Path) -> Iterator[Database]:
    with process_settings(tmp_path / "home", database_url=database_url):
        yield get_database()


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> CapturingLogger:
    """What is logged, whoever set up logging for this process before."""
    logger = CapturingLogger()
    monkeypatch.setattr(jobs, "log", logger)
    return logger


def add(title: str = "Train brie", *, after: uuid.UUID | None = None, subject: uuid.UUID | None = None) -> uuid.UUID:
    """Queue a training in a transaction of its own."""
    with get_database().session_scope() as session:
        first = session.get_one(Job, after) if after else None
        return jobs.enqueue(session, JobKind.TRAIN, subject or uuid.uuid4(), title=title, now=NOW, after=first).id


def end(job_id: uuid.UUID, state: JobState, error: str = "") -> None:
    with get_database().session_scope() as session:
        jobs.finish(session, session.get_one(Job, job_id), state, now=NOW, error=error)


def row(job_id: uuid.UUID) -> Job:
    with get_database().session_scope(write=False) as session:
        return session.get_one(Job, job_id)


def messages(queue: Queue = Queue.GPU) -> list[uuid.UUID]:
    """Take what waits in the queue of the real broker: the job ids, in order."""
    taken = []
    with jobs.make_celery(get_settings()).connection_for_read() as connection:
        waiting = connection.SimpleQueue(queue.value)
        try:
            while True:
                message = waiting.get(block=False)
                message.ack()
                (job_id,) = message.payload[0]
                taken.append(uuid.UUID(job_id))
        except waiting.Empty:
            return taken
        finally:
            waiting.close()


def test_a_message_leaves_after_the_commit_and_carries_the_id_alone(database: Database) -> None:
    with database.session_scope() as session:
        job = jobs.enqueue(session, JobKind.GENERATE, uuid.uuid4(), title="Generate", now=NOW)
        assert messages() == []
    assert messages() == [job.id]
    assert messages(Queue.IO) == []


def test_each_kind_of_job_goes_to_its_queue(database: Database) -> None:
    with database.session_scope() as session:
        fetch = jobs.enqueue(session, JobKind.FETCH_BASE_MODEL, uuid.uuid4(), title="Get tiny", now=NOW)
    assert (fetch.queue, messages(Queue.IO), messages(Queue.GPU)) == (Queue.IO, [fetch.id], [])


def test_a_rollback_takes_row_and_message_back(database: Database) -> None:
    def fail_after_enqueueing() -> None:
        with database.session_scope() as session:
            jobs.enqueue(session, JobKind.TRAIN, uuid.uuid4(), title="Train", now=NOW)
            raise ConflictError("no")

    with pytest.raises(ConflictError):
        fail_after_enqueueing()
    kept = add()
    assert messages() == [kept]
    with database.session_scope(write=False) as session:
        assert list(session.scalars(select(Job.id))) == [kept]


def test_an_unfinished_job_for_the_same_subject_is_returned_instead_of_a_second(database: Database) -> None:
    subject = uuid.uuid4()
    first = add(subject=subject)
    assert add(subject=subject) == first
    claim(first, worker="w")
    assert add(subject=subject) == first
    assert messages() == [first]
    end(first, JobState.FAILED)
    assert add(subject=subject) != first


def test_a_job_that_waits_is_sent_when_the_other_is_done(database: Database) -> None:
    first = add("Get the base model")
    second = add(after=first)
    assert messages() == [first]
    assert row(second).message == "Waiting for: Get the base model"
    assert claim(second, worker="w") is None
    end(first, JobState.DONE)
    assert messages() == [second]
    assert (row(second).waits_for_id, row(second).message) == (None, "")
    assert claim(second, worker="w") is not None


@pytest.mark.parametrize(
    ("state", "error", "told"),
    [
        (JobState.FAILED, "The hub did not answer.", "It needed “First”, which failed. The hub did not answer."),
        (JobState.CANCELLED, "", "It needed “First”, which was cancelled."),
    ],
)
def test_a_job_that_waits_fails_with_the_other_and_says_why(
    database: Database, state: JobState, error: str, told: str
) -> None:
    first = add("First")
    second = add("Second", after=first)
    third = add("Third", after=second)
    messages()
    end(first, state, error)
    assert (row(second).state, row(second).error) == (JobState.FAILED, told)
    assert (row(third).state, row(third).error) == (JobState.FAILED, f"It needed “Second”, which failed. {told}")
    assert messages() == []


def test_a_job_after_one_that_has_ended_meanwhile_does_not_wait_for_ever(database: Database) -> None:
    done, failed = add("Done"), add("Failed")
    end(done, JobState.DONE)
    end(failed, JobState.FAILED, "No disk.")
    messages()
    starts, fails = add(after=done), add(after=failed)
    assert messages() == [starts]
    assert row(starts).waits_for_id is None
    assert (row(fails).state, row(fails).error) == (JobState.FAILED, "It needed “Failed”, which failed. No disk.")


@on_postgres
def test_whoever_waits_for_a_job_sees_an_end_that_came_after_it_looked(database: Database) -> None:
    first = add("First")
    with database.session_scope() as session:
        seen = session.get_one(Job, first)
        end(first, JobState.DONE)
        second = jobs.enqueue(session, JobKind.TRAIN, uuid.uuid4(), title="Second", now=NOW, after=seen).id
    assert row(second).waits_for_id is None
    assert second in messages()


def test_a_queued_job_is_cancelled_at_once(database: Database) -> None:
    job_id = add()
    with database.session_scope() as session:
        jobs.request_cancel(session, job_id, now=NOW)
    job = row(job_id)
    assert (job.state, job.finished_at, job.cancel_requested_at) == (JobState.CANCELLED, NOW, NOW)
    assert claim(job_id, worker="w") is None


def test_a_running_job_is_only_asked_to_stop(database: Database) -> None:
    job_id = add()
    taken = claim(job_id, worker="w")
    assert taken is not None
    assert not taken.cancel_requested()
    with database.session_scope() as session:
        jobs.request_cancel(session, job_id, now=NOW)
    assert taken.cancel_requested()
    assert (row(job_id).state, row(job_id).finished_at) == (JobState.RUNNING, None)


@pytest.mark.parametrize("state", [JobState.DONE, JobState.FAILED, JobState.CANCELLED])
def test_what_has_ended_cannot_be_cancelled(database: Database, state: JobState) -> None:
    job_id = add()
    end(job_id, state)
    with database.session_scope() as session, pytest.raises(ConflictError, match="already ended"):
        jobs.request_cancel(session, job_id, now=NOW)
    assert row(job_id).cancel_requested_at is None


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.CANCELLED])
def test_trying_again_queues_the_same_job_with_new_attempts(database: Database, state: JobState) -> None:
    job_id = add()
    taken = claim(job_id, worker="w")
    assert taken is not None
    end(job_id, state, "The disk was full.")
    messages()
    with database.session_scope() as session:
        jobs.retry(session, job_id, now=NOW)
    job = row(job_id)
    assert (job.state, job.error, job.finished_at, job.cancel_requested_at) == (JobState.QUEUED, "", None, None)
    assert job.max_attempts - job.attempt == 3
    assert messages() == [job_id]
    again = claim(job_id, worker="w")
    assert again is not None
    assert again.attempt == 2


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.RUNNING, JobState.DONE])
def test_only_what_failed_or_was_cancelled_can_be_tried_again(database: Database, state: JobState) -> None:
    job_id = add()
    with database.session_scope() as session:
        session.get_one(Job, job_id).state = state
    with database.session_scope() as session, pytest.raises(ConflictError, match=f"this one is {state}"):
        jobs.retry(session, job_id, now=NOW)


def test_trying_again_while_a_newer_job_does_the_same_is_refused(database: Database) -> None:
    subject = uuid.uuid4()
    old = add(subject=subject)
    end(old, JobState.FAILED)
    new = add(subject=subject)
    with database.session_scope() as session, pytest.raises(ConflictError, match="already"):
        jobs.retry(session, old, now=NOW)
    assert (row(old).state, row(new).state) == (JobState.FAILED, JobState.QUEUED)


@pytest.mark.parametrize("ended_meanwhile", [False, True])
def test_a_job_that_was_cancelled_while_it_waited_waits_again(database: Database, ended_meanwhile: bool) -> None:
    first = add("First")
    second = add("Second", after=first)
    with database.session_scope() as session:
        jobs.request_cancel(session, second, now=NOW)
    if ended_meanwhile:
        end(first, JobState.DONE)
    messages()
    with database.session_scope() as session:
        jobs.retry(session, second, now=NOW)
    if not ended_meanwhile:
        assert messages() == []
        end(first, JobState.DONE)
    assert messages() == [second]
    assert claim(second, worker="w") is not None


def test_a_job_that_does_not_exist_is_one_sentence(database: Database) -> None:
    for change in (jobs.request_cancel, jobs.retry):
        with database.session_scope() as session, pytest.raises(NotFoundError, match="no such job"):
            change(session, uuid.uuid4(), now=NOW)


def test_pages_hear_of_every_change(database: Database) -> None:
    first = add("First")
    second = add("Second", after=first)
    end(first, JobState.DONE)
    with database.session_scope() as session:
        jobs.request_cancel(session, second, now=NOW)
        heard = list(session.scalars(select(Event.subject_id).where(Event.topic == "jobs").order_by(Event.id)))
    assert heard == [first, second, first, second]


@on_sqlite
def test_messages_go_through_redis_when_the_settings_say_so(database_url: str, redis_url: str, tmp_path: Path) -> None:
    with process_settings(tmp_path / "home", database_url=database_url, broker_url=redis_url):
        ids = [add(), add()]
        assert messages() == ids
    assert not (tmp_path / "home/broker").exists()


@pytest.mark.parametrize("broker", BROKEN_BROKERS.values(), ids=BROKEN_BROKERS)
def test_a_broker_that_is_down_is_logged_and_the_row_stays(
    database_url: str, broker: str, tmp_path: Path, log: CapturingLogger
) -> None:
    with process_settings(tmp_path / "home", database_url=database_url, broker_url=broker):
        job_id = add()
        assert row(job_id).state is JobState.QUEUED
    assert [call.args for call in log.calls] == [("job_message_not_sent",)]
    assert log.calls[0].kwargs["job_id"] == str(job_id)


@on_sqlite
@pytest.mark.parametrize("earlier", [False, True], ids=["from the start", "since the last message"])
def test_a_broker_folder_that_cannot_be_used_is_logged_and_the_row_stays(
    database_url: str, earlier: bool, tmp_path: Path, log: CapturingLogger
) -> None:
    home = tmp_path / "home"
    with process_settings(home, database_url=database_url):
        if earlier:
            add()
            (home / "broker/messages").rename(tmp_path / "gone")
        else:
            (home / "broker").mkdir(parents=True)
        (home / "broker/messages").touch()
        job_id = add()
        assert row(job_id).state is JobState.QUEUED
    assert [call.args for call in log.calls] == [("job_message_not_sent",)]


@on_sqlite
def test_a_redis_that_went_away_since_the_last_message_is_logged_and_the_row_stays(
    database_url: str, tmp_path: Path, log: CapturingLogger
) -> None:
    program = find_redis()
    if program is None:
        unavailable("No Redis: let ./arena test install one.")
    server = redis_server.start(tmp_path, program.path)
    with process_settings(tmp_path / "home", database_url=database_url, broker_url=server.url):
        try:
            add()
            assert log.calls == []
        finally:
            subprocess.run(server.stop, check=True)
            wait_for(lambda: not Path(f"/proc/{server.stop[-1]}").exists(), "the end of Redis")
        job_id = add()
        assert row(job_id).state is JobState.QUEUED
    assert [call.args for call in log.calls] == [("job_message_not_sent",)]


@on_sqlite
def test_a_connection_that_died_since_the_last_message_is_made_anew(
    database_url: str, redis_url: str, tmp_path: Path, log: CapturingLogger
) -> None:
    import redis  # noqa: PLC0415

    with process_settings(tmp_path / "home", database_url=database_url, broker_url=redis_url):
        first = add()
        with redis.Redis.from_url(redis_url) as client:
            for connection in client.client_list():
                if connection["id"] != str(client.client_id()):
                    client.client_kill(connection["addr"])
        second = add()
        assert messages() == [first, second]
    assert log.calls == []


@pytest.mark.parametrize("url", ["", "redis://localhost", "rediss://:secret@broker:6380/2"])
def test_broker_addresses_that_can_be_used(url: str, tmp_path: Path) -> None:
    with process_settings(tmp_path, broker_url=url) as settings:
        jobs.require_known_broker(settings)


@pytest.mark.parametrize("url", ["nonsense", "amqp://localhost", "redis:///0", "redis://localhost:port/0"])
def test_broker_addresses_that_can_never_work_are_refused(url: str, tmp_path: Path) -> None:
    with process_settings(tmp_path, broker_url=url) as settings, pytest.raises(BadInputError, match="ARENA_BROKER_URL"):
        jobs.require_known_broker(settings)
