import re
import uuid

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.domain.terms import Queue, Role, TokenScope
from app.models import Worker
from tests.factories import NOW, Study, client_for, make_account, visitor
from tests.fixtures import on_sqlite
from tests.web.programs import program, seated, token_for

pytestmark = on_sqlite


def value(client: TestClient, name: str) -> float:
    """One sample by its whole name, 0 when it is not there."""
    text = client.get("/metrics").text
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


@pytest.fixture
def meter(app: FastAPI) -> TestClient:
    return program(app, token_for(app, None, TokenScope.METRICS))


def test_votes_are_counted_when_they_are_stored(app: FastAPI, study: Study, meter: TestClient) -> None:
    client = seated(app, "rater", study.batch)
    whats = ("cast", "replayed", "undone", "skipped", "late")
    names = [f'arena_votes_total{{what="{what}"}}' for what in whats] + ['arena_ballots_total{what="issued"}']
    before = [value(meter, name) for name in names]
    ballot_id = client.get("/api/ballots/next").json()["ballot"]["ballot_id"]
    assert value(meter, "arena_open_ballots") == 1
    for choice in ("a", "a", "b"):  # the last one is refused
        client.post(f"/api/ballots/{ballot_id}/verdict", json={"choice": choice})
    assert value(meter, "arena_open_ballots") == 0
    again = client.post(f"/api/ballots/{ballot_id}/undo").json()["ballot_id"]
    client.post(f"/api/ballots/{again}/skip")
    assert [value(meter, name) - was for name, was in zip(names, before, strict=True)] == [1, 1, 1, 1, 0, 2]


def test_requests_are_counted_by_the_pattern_of_their_route(app: FastAPI, study: Study, meter: TestClient) -> None:
    name = 'arena_http_requests_total{method="POST",route="/api/ballots/{ballot_id}/skip",status="404"}'
    before = value(meter, name)
    ballot_id = str(uuid.uuid4())
    program(app, token_for(app)).post(f"/api/ballots/{ballot_id}/skip")
    assert value(meter, name) == before + 1
    visitor(app).get("/enter/a-secret-token")
    visitor(app).get("/no/such/page-here")
    text = meter.get("/metrics").text
    assert not [
        word for word in (ballot_id, "a-secret-token", "page-here", "brie-v1", study.batch.name) if word in text
    ]
    assert 'route="none"' in text


def test_jobs_and_heartbeats_are_levels(app: FastAPI, study: Study, meter: TestClient) -> None:
    with app.state.database.session_scope() as session:
        session.add(Worker(name="m:1", queue=Queue.GPU, started_at=NOW, heartbeat_at=NOW))
    assert value(meter, 'arena_jobs{kind="generate",state="done"}') == 1
    assert value(meter, 'arena_jobs{kind="train",state="failed"}') == 0
    assert value(meter, 'arena_worker_heartbeat_age_seconds{queue="gpu"}') > 0
    assert value(meter, "arena_database_up") == 1
    assert value(meter, "arena_live_streams") == 0


def test_who_may_read_metrics(app: FastAPI, admin: TestClient, study: Study) -> None:
    with app.state.database.session_scope() as session:
        rater = make_account(session, "rater", Role.RATER).id
    assert admin.get("/metrics").status_code == 200
    assert client_for(app, rater).get("/metrics").status_code == 403
    assert program(app, token_for(app, rater)).get("/metrics").status_code == 403
    assert visitor(app).get("/metrics").status_code == 401
    assert program(app, "nonsense").get("/metrics").status_code == 401


def test_levels_that_cannot_be_read_are_said_to_be_away(app: FastAPI, admin: TestClient) -> None:
    with app.state.database.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE worker RENAME TO gone")
    answer = admin.get("/metrics")
    assert (answer.status_code, "arena_database_up 0.0" in answer.text) == (200, True)
