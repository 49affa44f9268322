from datetime import UTC, datetime
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import delete

from app.domain.terms import Queue, Role
from app.models import Worker
from app.web.ready import Readiness
from tests.factories import client_for, make_account, visitor, web_app

PARTS = {"database", "migrations", "workers", "broker"}


def fresh(app: FastAPI) -> None:
    """Forget what was found a moment ago."""
    app.state.readiness = Readiness(app.state.database, app.state.settings)


def start_workers(app: FastAPI, *queues: Queue) -> None:
    now = datetime.now(UTC)
    with app.state.database.session_scope() as session:
        session.execute(delete(Worker))
        session.add_all(Worker(name=f"m:{queue}", queue=queue, started_at=now, heartbeat_at=now) for queue in queues)
    fresh(app)


def missing(client: TestClient) -> set[str]:
    answer = client.get("/readyz")
    parts = answer.json()["parts"]
    assert parts.keys() == PARTS
    assert (answer.status_code, answer.json()["ready"]) == ((200, True) if all(parts.values()) else (503, False))
    return {name for name, ok in parts.items() if not ok}


def test_it_is_ready_when_everything_is_there(app: FastAPI) -> None:
    stranger = visitor(app)
    assert missing(stranger) == {"workers"}
    start_workers(app, Queue.GPU)
    assert missing(stranger) == {"workers"}
    start_workers(app, *Queue)
    assert missing(stranger) == set()
    assert stranger.get("/readyz").json().keys() == {"ready", "parts"}


def test_only_admins_are_told_what_is_wrong(app: FastAPI, admin: TestClient) -> None:
    with app.state.database.session_scope() as session:
        rater = make_account(session, "rater", Role.RATER).id
    assert "gpu, io" in admin.get("/readyz").json()["details"]["workers"]
    for other in (visitor(app), client_for(app, rater)):
        assert other.get("/readyz").json().keys() == {"ready", "parts"}


def test_tables_of_another_version_are_noticed(app: FastAPI) -> None:
    start_workers(app, *Queue)
    with app.state.database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = 'earlier'")
    fresh(app)
    assert "migrations" in missing(visitor(app))


def test_it_looks_once_a_second_at_most(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    moment = [100.0]
    monkeypatch.setattr("app.web.ready.time.monotonic", lambda: moment[0])
    stranger = visitor(app)
    assert missing(stranger) == {"workers"}
    kept = app.state.readiness
    start_workers(app, *Queue)
    app.state.readiness = kept
    moment[0] += 0.9
    assert missing(stranger) == {"workers"}
    moment[0] += 0.2
    assert missing(stranger) == set()


def test_a_database_that_is_away_is_the_part_that_is_missing(tmp_path: Path) -> None:
    with web_app(tmp_path, "postgresql://nobody@127.0.0.1:1/none") as app:
        assert missing(visitor(app)) == {"database", "migrations", "workers"}
        assert visitor(app).get("/healthz").status_code == 200


def test_a_redis_that_is_away_is_the_part_that_is_missing(database_url: str, tmp_path: Path) -> None:
    with web_app(tmp_path, database_url, broker_url="redis://127.0.0.1:1/0") as app:
        assert "broker" in missing(visitor(app))


def test_a_redis_that_answers_is_there(database_url: str, tmp_path: Path, redis_url: str) -> None:
    with web_app(tmp_path, database_url, broker_url=redis_url) as app:
        assert "broker" not in missing(visitor(app))
