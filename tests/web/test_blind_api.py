"""The API tells no more than the page: the same marks on everything, looked for in every answer and log line."""

import uuid
from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx2 import Response as Answer
from sqlalchemy import select

from app.domain.blinding import opposite
from app.domain.terms import JobState
from app.models import ApiToken, Ballot, EvalBatch, Job, Voter
from app.services import eval_batches, voting
from tests.factories import NOW, Study, visitor
from tests.web.programs import program, seated
from tests.web.test_blind import MARKS, lines, marked, secrets, whole

__all__ = ["lines", "marked", "secrets"]

NEXT = "/api/ballots/next"


def walk(app: FastAPI, client: TestClient, study: Study) -> Iterator[Answer]:
    """Everything that a voting client can ask, and everything that can go wrong with it."""
    yield visitor(app).get(NEXT)
    yield program(app, "arena_nonsense").get(NEXT)
    yield client.get("/api/batches")
    yield client.get(f"/api/batches/{study.batch.id}/report")
    yield client.get(NEXT, params={"batch": str(uuid.uuid4())})
    yield client.get(NEXT, params={"batch": "nonsense"})
    yield client.delete(NEXT)
    for choice in ("a", "b", "both_bad", None):
        shown = client.get(NEXT)
        yield shown
        address = f"/api/ballots/{shown.json()['ballot']['ballot_id']}"
        yield client.post(f"{address}/verdict", json={"choice": "first"})
        if choice is None:
            yield client.post(f"{address}/skip", json={"reason": "skipped words"})
            continue
        yield client.post(f"{address}/verdict", json={"choice": choice, "reason": "typed words"})
        yield client.post(f"{address}/verdict", json={"choice": choice})
        yield client.post(f"{address}/verdict", json={"choice": "tie"})
        yield client.post(f"{address}/skip")
        yield client.post(f"{address}/recognised", json={"recognised": True})
        yield client.post(f"{address}/recognised", json={"recognised": False})
        undone = client.post(f"{address}/undo")
        yield undone
        yield client.post(f"{address}/undo")
        yield client.post(f"/api/ballots/{undone.json()['ballot_id']}/verdict", json={"choice": choice})
    yield client.get(NEXT)  # nothing is left
    with app.state.database.session_scope() as session:
        session.get_one(Job, session.get_one(EvalBatch, study.batch.id).job_id).state = JobState.RUNNING
    yield client.get(NEXT)  # the next responses are still being written
    with app.state.database.session_scope() as session:
        eval_batches.close(session, session.get_one(EvalBatch, study.batch.id), now=NOW)
    yield client.get(NEXT)  # closed
    yield client.get("/api/batches")
    yield client.get("/api/openapi.json")
    yield client.get("/api/docs")


def test_no_byte_of_the_api_names_a_competitor(
    app: FastAPI, marked: Study, lines: list[str], secrets: set[str]
) -> None:
    client, other = seated(app, "somebody", marked.batch), seated(app, MARKS["rater"], marked.batch)
    taken = other.get(NEXT).json()["ballot"]["ballot_id"]
    other.post(f"/api/ballots/{taken}/verdict", json={"choice": "a", "reason": MARKS["rater"]})
    with app.state.database.session_scope(write=False) as session:
        secrets |= {form for id_ in session.scalars(select(Voter.id)) for form in (str(id_), id_.hex)}
        secrets |= set(session.scalars(select(ApiToken.secret_sha256)))
    statuses = set()
    for answer in walk(app, client, marked):
        statuses.add(answer.status_code)
        told = whole(answer).lower()
        assert {secret for secret in secrets if secret.lower() in told} == set(), answer.request.url
        assert "set-cookie" not in answer.headers
    assert statuses == {200, 201, 401, 403, 404, 405, 409, 422}
    logged = "\n".join(lines).lower()
    assert {secret for secret in secrets if secret.lower() in logged} == set()
    assert not [
        word for word in ("amber", "cobalt", "question number", "typed words", "skipped words") if word in logged
    ]
    sent = {client.headers["Authorization"], other.headers["Authorization"]}
    assert not [header for header in sent if header.split("_", 2)[2].lower() in logged]


def test_the_two_orders_of_a_pair_differ_by_the_two_texts_alone(app: FastAPI, marked: Study) -> None:
    client = seated(app, "somebody", marked.batch)
    seen = client.get(NEXT).json()
    with app.state.database.session_scope() as session:
        ballot = session.get_one(Ballot, uuid.UUID(seen["ballot"]["ballot_id"]))
        ballot.order = opposite(ballot.order)
    swapped = client.get(NEXT).json()
    texts = {"text_a": seen["ballot"]["text_b"], "text_b": seen["ballot"]["text_a"]}
    assert swapped == seen | {"ballot": seen["ballot"] | texts}


def test_a_failure_says_nothing_either(
    app: FastAPI, marked: Study, lines: list[str], secrets: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = seated(app, "somebody", marked.batch)
    ballot_id = client.get(NEXT).json()["ballot"]["ballot_id"]
    monkeypatch.setattr(voting, "own_ballot", lambda *_: 1 / 0)
    answer = client.post(f"/api/ballots/{ballot_id}/verdict", json={"choice": "a"})
    assert (answer.status_code, list(answer.json())) == (500, ["error"])
    told = (whole(answer) + "\n".join(lines)).lower()
    assert {secret for secret in secrets if secret.lower() in told} == set()
