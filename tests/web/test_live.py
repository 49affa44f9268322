"""The stream of hints, read from a real server: a test client cannot read a stream that stays open."""

import asyncio
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from sqlalchemy import delete, func, select
from sqlalchemy.pool import QueuePool

from app.models import Event
from app.services.eval_batches import LaunchPlan, launch
from app.services.events import announce
from app.web.deps import COOKIE
from app.web.live import LiveHub
from app.web.security import HEADERS
from tests.factories import NOW, RULES, Study, client_for, make_study, plain_text, web_app, write_responses
from tests.fixtures import on_sqlite
from tests.web.ballots import choose, look

DEADLINE = 60


@dataclass(frozen=True)
class Heard:
    """One event of the stream."""

    event: str
    data: str
    id: int


@pytest.fixture
def app(database_url: str, tmp_path: Path) -> Iterator[FastAPI]:
    """An application that looks for changes often."""
    with web_app(tmp_path, database_url, live_poll_seconds=0.02) as made:
        yield made


@pytest.fixture
def address(app: FastAPI) -> Iterator[str]:
    """The application on a free port; the socket listens before the server runs, so nobody has to wait for it."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(DEADLINE)
        assert not thread.is_alive()
    # The poller was cancelled, but its last question may still be under way in a thread.
    if isinstance(pool := app.state.database.engine.pool, QueuePool):
        until(lambda: pool.checkedout() == 0, "a connection was never given back")


def until(condition: Callable[[], bool], otherwise: str) -> None:
    """Look until it is so."""
    give_up = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < give_up, otherwise
        time.sleep(0)  # lets the server's thread run


@contextmanager
def listening(app: FastAPI, address: str, *, after: int | None = None) -> Iterator[Iterator[Heard]]:
    """An open stream of somebody who is signed in; leaves once the server knows the listener."""
    cookies = {COOKIE: client_for(app).cookies[COOKIE]}
    headers = {} if after is None else {"Last-Event-ID": str(after)}
    before = app.state.live.open_streams
    with httpx.stream("GET", f"{address}/live", cookies=cookies, headers=headers, timeout=DEADLINE) as answer:
        assert (answer.status_code, answer.headers["Content-Type"].partition(";")[0]) == (200, "text/event-stream")
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS
        until(lambda: app.state.live.open_streams > before, "the stream never began")
        yield heard(answer)


def heard(answer: httpx.Response) -> Iterator[Heard]:
    """The events as they come. Every line must be one that the protocol of the stream allows."""
    fields: dict[str, str] = {}
    for line in answer.iter_lines():
        name, _, value = line.partition(":")
        assert name in {"", "event", "data", "id", "retry"}, line
        if line:
            fields[name] = value.strip()
        elif "event" in fields:
            yield Heard(fields["event"], fields["data"], int(fields["id"]))
            fields = {}


@pytest.fixture
def study(app: FastAPI, tmp_path: Path) -> Study:
    with app.state.database.session_scope() as session:
        return make_study(session, tmp_path)


def newest(app: FastAPI) -> int:
    with app.state.database.session_scope(write=False) as session:
        return session.scalar(select(func.max(Event.id))) or 0


def say(app: FastAPI, *subjects: uuid.UUID) -> None:
    with app.state.database.session_scope() as session:
        for subject in subjects:
            announce(session, "verdicts", subject, now=NOW)


def next_about(stream: Iterator[Heard], event: str) -> Heard:
    return next(one for one in stream if one.event == event)


def test_a_vote_is_heard_on_every_open_page(app: FastAPI, address: str, study: Study) -> None:
    client = client_for(app)
    with listening(app, address) as first, listening(app, address) as second:
        choose(client, study.batch.id, look(client, study.batch.id).ballot_id, "a")
        told = [next_about(stream, "verdicts-changed") for stream in (first, second)]
    assert [one.data for one in told] == [str(study.batch.id)] * 2
    assert told[0].id == told[1].id == newest(app)


def test_new_pairs_are_heard(app: FastAPI, address: str, study: Study) -> None:
    with listening(app, address) as stream:
        with app.state.database.session_scope() as session:
            batch = launch(
                session,
                LaunchPlan(suite="suite", challengers=("brie-v1/epoch-2",), seed=9),
                secret=RULES.secret,
                now=NOW,
            )
            write_responses(session, batch, plain_text)
        assert next_about(stream, "pairs-changed").data == str(batch.id)


def test_a_stream_goes_on_where_it_broke_off(app: FastAPI, address: str) -> None:
    subjects = [uuid.uuid4() for _ in range(5)]
    say(app, *subjects[:3])
    last_heard = newest(app) - 2
    with listening(app, address, after=last_heard) as stream:
        say(app, *subjects[3:])
        told = [next(stream) for _ in range(4)]
    assert [one.data for one in told] == [str(subject) for subject in subjects[1:]]
    assert [one.id for one in told] == sorted({one.id for one in told}), "each once, in the order it happened"


def test_what_happened_before_is_not_told_to_a_new_page(app: FastAPI, address: str) -> None:
    earlier, later = uuid.uuid4(), uuid.uuid4()
    say(app, earlier)
    with listening(app, address) as witness:  # once a page hears something later, the earlier has been passed over
        say(app, uuid.uuid4())
        next(witness)
        with listening(app, address) as stream:
            say(app, later)
            assert next(stream).data == str(later)


def test_the_stream_of_a_vote_carries_a_topic_and_the_batch_alone(app: FastAPI, address: str, study: Study) -> None:
    client, before = client_for(app), newest(app)
    votes = 0
    while (ballot := look(client, study.batch.id)).ballot_id is not None:
        choose(client, study.batch.id, ballot.ballot_id, ("a", "b", "tie", "both_bad")[votes])
        votes += 1
    with listening(app, address, after=before) as stream:
        told = [next(stream) for _ in range(votes)]
    assert {(one.event, one.data) for one in told} == {("verdicts-changed", str(study.batch.id))}
    assert votes == 4


@on_sqlite
def test_strangers_hear_nothing(address: str) -> None:
    answer = httpx.get(f"{address}/live", timeout=DEADLINE)
    assert (answer.status_code, "event:" in answer.text) == (401, False)


@on_sqlite
def test_a_page_that_closes_is_forgotten(app: FastAPI, address: str) -> None:
    with listening(app, address):
        assert app.state.live.open_streams == 1
    until(lambda: app.state.live.open_streams == 0, "the stream of a closed page is still kept")


def test_a_stream_ends_when_hints_vanish_so_that_pages_fetch_anew(app: FastAPI, address: str) -> None:
    """As the removal of simulated votes does: no hint tells of it, but a page that connects again fetches all."""
    subject = uuid.uuid4()
    with listening(app, address) as stream:
        say(app, subject)
        assert next(stream).data == str(subject)
        with app.state.database.session_scope() as session:
            session.execute(delete(Event).where(Event.subject_id == subject))
        assert list(stream) == []
    later = uuid.uuid4()
    with listening(app, address) as stream:  # and hints go on, also where their numbers are used again
        say(app, later)
        assert next(stream).data == str(later)


@on_sqlite
def test_a_hint_that_vanishes_before_the_poller_saw_it_ends_streams_too(app: FastAPI) -> None:
    """A new stream reads what it missed by itself, and may be quicker than the poller."""
    hub = LiveHub(app.state.database, poll_seconds=60)
    asyncio.run(hub._turn())
    say(app, uuid.uuid4())
    with hub.subscribe(page=True) as hints:
        hub.tell(hub.since(None))
        with app.state.database.session_scope() as session:
            session.execute(delete(Event))
        asyncio.run(hub._turn())
        assert hints.get_nowait() is None
