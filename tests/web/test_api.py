import json
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from limits import parse_many
from sqlalchemy import func, select

from app.domain.terms import BallotState, Choice, Role, TokenScope
from app.models import Account, Ballot, EvalBatch, Job, Recognition, Seat, Tally, Verdict
from app.queries.report import report
from app.services import eval_batches, seats
from app.web.deps import COOKIE, get_now
from tests.factories import NOW, TITLE, Study, client_for, make_account, make_study, visitor
from tests.fixtures import on_sqlite
from tests.web.programs import program, seated, token_for


@pytest.fixture
def client(app: FastAPI, study: Study) -> TestClient:
    """The program of a rater with a seat in the only eval batch."""
    return seated(app, "rater", study.batch)


def ballot_of(client: TestClient) -> str:
    return client.get("/api/ballots/next").json()["ballot"]["ballot_id"]


def vote(client: TestClient, ballot_id: object, choice: str = "a", **more: object) -> tuple[int, dict[str, object]]:
    answer = client.post(f"/api/ballots/{ballot_id}/verdict", json={"choice": choice, **more})
    return answer.status_code, answer.json()


def test_a_ballot_is_a_prompt_and_two_texts(client: TestClient, study: Study) -> None:
    answer = client.get("/api/ballots/next")
    assert answer.status_code == 200
    told = answer.json()
    assert told.keys() == {"state", "batch_id", "ballot", "voted", "total", "undo_ballot_id", "ask_recognised"}
    assert told["ballot"].keys() == {"ballot_id", "prompt", "text_a", "text_b", "choices"}
    assert (told["state"], told["voted"], told["total"], told["undo_ballot_id"]) == ("voting", 0, 4, None)
    assert told["ballot"]["choices"] == ["a", "b", "tie", "both_bad"]
    assert told["ballot"]["prompt"][0]["role"] == "user"
    assert told["ballot"]["text_a"] != told["ballot"]["text_b"]
    assert client.get("/api/ballots/next").json() == told
    assert client.get("/api/ballots/next", params={"batch": str(study.batch.id)}).json() == told


def test_first_replay_other(app: FastAPI, client: TestClient) -> None:
    ballot_id = ballot_of(client)
    stored = {"ballot_id": ballot_id, "choice": "a", "late": False}
    assert vote(client, ballot_id, "a", reason="clear", tags=["clear", "deep"]) == (201, stored)
    assert vote(client, ballot_id, "a") == (200, stored)
    status, told = vote(client, ballot_id, "b")
    assert (status, told.keys()) == (409, {"error"})
    with app.state.database.session_scope(write=False) as session:
        (verdict,) = session.scalars(select(Verdict))
        assert (verdict.choice, verdict.reason, verdict.tags) == (Choice.A, "clear", ["clear", "deep"])


def test_undo_brings_the_same_texts_back(client: TestClient) -> None:
    first = client.get("/api/ballots/next").json()["ballot"]
    vote(client, first["ballot_id"])
    assert client.get("/api/ballots/next").json()["undo_ballot_id"] == first["ballot_id"]
    undone = client.post(f"/api/ballots/{first['ballot_id']}/undo")
    assert (undone.status_code, undone.json()["undone_ballot_id"]) == (200, first["ballot_id"])
    again = client.get("/api/ballots/next").json()["ballot"]
    assert again == first | {"ballot_id": undone.json()["ballot_id"]}
    assert vote(client, first["ballot_id"])[0] == 409
    assert client.post(f"/api/ballots/{first['ballot_id']}/undo").status_code == 409
    assert vote(client, again["ballot_id"])[0] == 201


def test_skip_and_recognised(app: FastAPI, client: TestClient) -> None:
    ballot_id = ballot_of(client)
    assert client.post(f"/api/ballots/{ballot_id}/recognised", json={"recognised": True}).status_code == 409
    for body in ({"reason": "both off"}, {}, None):
        answer = client.post(f"/api/ballots/{ballot_id}/skip", json=body)
        assert (answer.status_code, answer.json()) == (200, {"ballot_id": ballot_id, "skipped": True})
    assert client.post(f"/api/ballots/{ballot_id}/skip").status_code == 200
    assert vote(client, ballot_id)[0] == 409
    voted = ballot_of(client)
    vote(client, voted)
    for _ in range(2):
        answer = client.post(f"/api/ballots/{voted}/recognised", json={"recognised": True})
        assert (answer.status_code, answer.json()) == (200, {"ballot_id": voted, "recognised": True})
    assert client.post(f"/api/ballots/{voted}/recognised", json={"recognised": False}).status_code == 409
    with app.state.database.session_scope(write=False) as session:
        assert session.scalar(select(Ballot.skip_reason).where(Ballot.id == uuid.UUID(ballot_id))) == "both off"
        assert session.scalar(select(func.count()).select_from(Recognition)) == 1


def test_without_a_ballot_the_state_says_why(app: FastAPI, client: TestClient, study: Study) -> None:
    for _ in range(4):
        vote(client, ballot_of(client), "tie")

    def state() -> tuple[object, object]:
        told = client.get("/api/ballots/next").json()
        return told["state"], told["ballot"]

    assert state() == ("finished", None)
    with app.state.database.session_scope() as session:
        session.get_one(Job, study.batch.job_id).state = "running"
    assert state() == ("waiting", None)
    with app.state.database.session_scope() as session:
        eval_batches.close(session, session.get_one(EvalBatch, study.batch.id), now=NOW)
    assert state() == ("closed", None)


def test_a_late_vote_is_kept_and_does_not_count(app: FastAPI, client: TestClient) -> None:
    ballot_id = ballot_of(client)
    with app.state.database.session_scope() as session:
        session.get_one(Ballot, uuid.UUID(ballot_id)).state = BallotState.EXPIRED
    status, told = vote(client, ballot_id)
    assert (status, told["late"]) == (201, True)


# ------------------------------------------------------------------------------------------------- whose ballots


def test_a_ballot_of_somebody_else_is_one_that_does_not_exist(app: FastAPI, client: TestClient, study: Study) -> None:
    other = seated(app, "other", study.batch)
    ballot_id = ballot_of(client)
    absent = uuid.uuid4()
    bodies = {"verdict": {"choice": "a"}, "skip": None, "undo": None, "recognised": {"recognised": True}}
    for action, body in bodies.items():
        theirs = other.post(f"/api/ballots/{ballot_id}/{action}", json=body)
        nobodys = other.post(f"/api/ballots/{absent}/{action}", json=body)
        assert (theirs.status_code, theirs.json()) == (nobodys.status_code, nobodys.json()), action
        assert theirs.status_code == 404
    assert vote(client, ballot_id)[0] == 201


def test_without_a_seat_an_eval_batch_does_not_exist(app: FastAPI, study: Study) -> None:
    stranger = seated(app, "stranger")
    told = stranger.get("/api/ballots/next", params={"batch": str(study.batch.id)})
    unknown = stranger.get("/api/ballots/next", params={"batch": str(uuid.uuid4())})
    assert (told.status_code, told.json()) == (404, unknown.json())
    assert stranger.get("/api/ballots/next").status_code == 404
    assert stranger.get("/api/batches").json() == {"batches": []}


def test_a_seat_that_was_taken_back_ends_voting(app: FastAPI, client: TestClient, study: Study) -> None:
    ballot_id = ballot_of(client)
    with app.state.database.session_scope() as session:
        seats.revoke_seat(session, study.batch.id, session.scalars(select(Seat.voter_id)).one(), now=NOW)
    assert client.get("/api/ballots/next", params={"batch": str(study.batch.id)}).status_code == 404
    assert vote(client, ballot_id)[0] == 404
    assert client.get("/api/batches").json() == {"batches": []}


def test_where_more_than_one_is_open_it_has_to_be_said(app: FastAPI, study: Study, tmp_path: Path) -> None:
    admin = program(app, token_for(app))
    assert admin.get("/api/ballots/next").json()["batch_id"] == str(study.batch.id)
    with app.state.database.session_scope() as session:
        plan = eval_batches.LaunchPlan(suite="suite", challengers=("brie-v1/epoch-2",), name="another")
        other = eval_batches.launch(session, plan, secret=b"k", now=NOW).id
    assert admin.get("/api/ballots/next").status_code == 422
    assert admin.get("/api/ballots/next", params={"batch": str(other)}).json()["state"] in {"waiting", "finished"}


def test_the_list_has_the_title_of_the_seat_and_no_name(app: FastAPI, client: TestClient, study: Study) -> None:
    vote(client, ballot_of(client))
    (row,) = client.get("/api/batches").json()["batches"]
    assert row == {"id": str(study.batch.id), "title": TITLE, "state": "open", "voted": 1, "total": 4}
    (row,) = program(app, token_for(app)).get("/api/batches").json()["batches"]
    assert row == {
        "id": str(study.batch.id),
        "title": None,
        "state": "open",
        "voted": 0,
        "total": 3,
    }  # one slot is taken


# ------------------------------------------------------------------------------------------------------- tokens


def test_every_route_wants_a_token_and_says_how(app: FastAPI, study: Study) -> None:
    stranger = visitor(app)
    for path, methods in app.openapi()["paths"].items():
        for method in methods:
            address = path.replace("{ballot_id}", str(uuid.uuid4())).replace("{batch_id}", str(study.batch.id))
            for headers in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Basic YTpi"}):
                body = {"choice": "a"} if "verdict" in path else {"recognised": True} if "recog" in path else None
                answer = stranger.request(method.upper(), address, headers=headers, json=body)
                assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer"), (method, path)
                assert list(answer.json()) == ["error"]


@on_sqlite
def test_a_cookie_opens_no_api_and_a_token_no_page(app: FastAPI, study: Study) -> None:
    browser = client_for(app)
    assert browser.get("/api/batches").status_code == 401
    assert browser.post(f"/api/ballots/{uuid.uuid4()}/skip").status_code == 401
    robot = program(app, token_for(app))
    for path in ("/", "/batches", f"/vote/{study.batch.id}", "/account/tokens", "/live"):
        assert robot.get(path).status_code == 401, path
    robot.cookies.set(COOKIE, token_for(app))
    assert robot.get("/batches").status_code == 401


@on_sqlite
def test_a_token_does_what_its_scopes_say(app: FastAPI, study: Study) -> None:
    reach = {
        TokenScope.VOTE: {"/api/batches", "/api/ballots/next"},
        TokenScope.RESULTS: {f"/api/batches/{study.batch.id}/report"},
        TokenScope.METRICS: {"/metrics"},
    }
    everything = {path for paths in reach.values() for path in paths}
    for scope, paths in reach.items():
        robot = program(app, token_for(app, None, scope))
        assert {path: robot.get(path).status_code for path in everything} == {
            path: 200 if path in paths else 403 for path in everything
        }


@on_sqlite
def test_an_ended_token_and_a_disabled_account_are_refused(app: FastAPI, study: Study) -> None:
    text = token_for(app, days=1)
    robot = program(app, text)
    assert robot.get("/api/batches").status_code == 200
    app.dependency_overrides[get_now] = lambda: datetime.now(UTC) + timedelta(days=1)
    assert robot.get("/api/batches").status_code == 401
    app.dependency_overrides.clear()
    with app.state.database.session_scope() as session:
        session.scalars(select(Account)).one().disabled_at = NOW
    assert robot.get("/api/batches").status_code == 401


@on_sqlite
def test_a_token_that_asks_too_often_is_told_when_to_come_back(
    database_url: str, tmp_path: Path, study: Study, app: FastAPI
) -> None:
    app.state.limits.rules["api"] = parse_many("5 per day")  # a minute may turn between the first and the last
    robot = program(app, token_for(app))
    statuses = Counter(robot.get("/api/batches").status_code for _ in range(6))
    assert statuses == {200: 5, 429: 1}
    answer = robot.get("/api/batches")
    assert (answer.status_code, int(answer.headers["Retry-After"]) > 0, list(answer.json())) == (429, True, ["error"])
    assert program(app, token_for(app)).get("/api/batches").status_code == 200


# ------------------------------------------------------------------------------------------------------ results


def test_the_report_is_the_one_of_the_command_line(app: FastAPI, client: TestClient, study: Study) -> None:
    vote(client, ballot_of(client))
    answer = program(app, token_for(app, None, TokenScope.RESULTS)).get(f"/api/batches/{study.batch.id}/report")
    with app.state.database.session_scope(write=False) as session:
        assert answer.json() == json.loads(json.dumps(report(session, study.batch.id)))
    assert answer.json()["matchups"][0]["raters"]["all"]["n"] == 1
    assert client.get(f"/api/batches/{study.batch.id}/report").status_code == 403


# ----------------------------------------------------------------------------------------------------- at once

TOGETHER = 6


def test_votes_at_the_same_moment_are_one(app: FastAPI, client: TestClient) -> None:
    ballot_id = ballot_of(client)
    with ThreadPoolExecutor(TOGETHER) as pool:
        statuses = Counter(pool.map(lambda _: vote(client, ballot_id)[0], range(TOGETHER)))
    assert statuses == {201: 1, 200: TOGETHER - 1}
    with app.state.database.session_scope(write=False) as session:
        assert session.scalar(select(func.count(Verdict.id))) == 1


def test_different_votes_at_the_same_moment_leave_the_first(app: FastAPI, client: TestClient) -> None:
    ballot_id = ballot_of(client)
    choices = ["a", "b", "tie", "both_bad", "a", "b"]
    with ThreadPoolExecutor(TOGETHER) as pool:
        answers = list(pool.map(lambda choice: (choice, *vote(client, ballot_id, choice)), choices))
    (standing,) = {told["choice"] for _, status, told in answers if status == 201}
    for choice, status, _ in answers:
        assert status in ((200, 201) if choice == standing else (409,))
    assert Counter(status for _, status, _ in answers)[201] == 1
    with app.state.database.session_scope(write=False) as session:
        assert sum(session.scalars(select(Tally.first + Tally.second + Tally.tie))) == 1


def test_programs_that_ask_at_the_same_moment_get_one_ballot(client: TestClient) -> None:
    with ThreadPoolExecutor(TOGETHER) as pool:
        assert len(set(pool.map(lambda _: ballot_of(client), range(TOGETHER)))) == 1


# ------------------------------------------------------------------------------------------------- odd requests

JSON = {"Content-Type": "application/json"}
ODD: dict[str, tuple[bytes, dict[str, str], int]] = {
    "nothing": (b"", JSON, 422),
    "no JSON": (b"{", JSON, 422),
    "a list": (b"[]", JSON, 422),
    "null": (b"null", JSON, 422),
    "a form": (b"choice=a", {"Content-Type": "application/x-www-form-urlencoded"}, 422),
    "text": (b'{"choice": "a"}', {"Content-Type": "text/plain"}, 422),
    "no type": (b'{"choice": "a"}', {}, 422),
    "a type that is none": (b'{"choice": "a"}', {"Content-Type": "/;;="}, 422),
    "no UTF-8": (b'{"choice": "\xff\xfe"}', JSON, 400),
    "a NUL": (b'{"choice": "a", "reason": "a\\u0000b"}', JSON, 422),
    "half a character": (b'{"choice": "a", "reason": "\\ud800"}', JSON, 422),
    "a field of half a character": (b'{"choice": "a", "\\ud800": 1}', JSON, 422),
    "a field of a NUL": (b'{"choice": "a", "\\u0000": 1}', JSON, 422),
    "a long field": (b'{"choice": "a", "' + b"x" * 10_000 + b'": 1}', JSON, 422),
    "a huge number": (b'{"choice": ' + b"9" * 5000 + b"}", JSON, 400),
    "a large number": (b'{"choice": 123456789012345678901234567890}', JSON, 422),
    "no number": (b'{"choice": NaN}', JSON, 422),
    "deep": (b'{"choice": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", JSON, 400),
    "a reason too long": (b'{"choice": "a", "reason": "' + b"r" * 4001 + b'"}', JSON, 422),
    "an unknown field": (b'{"choice": "a", "winner": "first"}', JSON, 422),
    "a word of storage": (b'{"choice": "first"}', JSON, 422),
    "an unknown tag": (b'{"choice": "a", "tags": ["nice"]}', JSON, 422),
    "a hundred tags": (b'{"choice": "a", "tags": [' + b", ".join([b'"deep"'] * 100) + b"]}", JSON, 422),
    "more than a megabyte": (b'{"choice": "a", "reason": "' + b"r" * 1_000_001 + b'"}', JSON, 413),
    "a field twice": (b'{"choice": "b", "choice": "a"}', JSON, 201),  # the last one, as JSON readers do
}


@pytest.mark.parametrize(("body", "headers", "status"), ODD.values(), ids=ODD)
def test_odd_bodies_are_refused_in_a_sentence(
    app: FastAPI, client: TestClient, body: bytes, headers: dict[str, str], status: int
) -> None:
    ballot_id = ballot_of(client)
    answer = client.post(f"/api/ballots/{ballot_id}/verdict", content=body, headers=headers)
    assert answer.status_code == status, answer.text
    if status == 201:
        assert answer.json()["choice"] == "a"
        return
    if status != 413:  # answered by the server before our code runs
        assert (list(answer.json()), answer.json()["error"][-1]) == (["error"], ".")
    assert len(answer.text) < 300
    with app.state.database.session_scope(write=False) as session:
        assert session.scalar(select(func.count(Verdict.id))) == 0
    assert vote(client, ballot_id)[0] == 201


@on_sqlite
@pytest.mark.parametrize("address", ["%00", "1", "x" * 3000, "..%2f.."])
def test_what_is_no_id_is_not_found(client: TestClient, address: str) -> None:
    assert client.post(f"/api/ballots/{address}/skip").status_code == 404
    assert client.get("/api/ballots/next", params={"batch": address}).status_code == 422


@on_sqlite
def test_errors_are_json_whatever_is_accepted(client: TestClient) -> None:
    for accept in ("text/html", "*/*", ""):
        for answer, status in (
            (client.get("/api/nowhere", headers={"Accept": accept}), 404),
            (client.delete("/api/batches", headers={"Accept": accept}), 405),
        ):
            assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert client.delete("/api/batches").headers["Allow"] == "GET"
    cross = {"Sec-Fetch-Site": "cross-site"}
    assert client.post(f"/api/ballots/{uuid.uuid4()}/skip", headers=cross).status_code == 404


def test_a_second_rater_has_ballots_of_an_own(app: FastAPI, tmp_path: Path) -> None:
    with app.state.database.session_scope() as session:
        study = make_study(session, tmp_path, votes_per_pair=2)
        make_account(session, "watcher", Role.RATER)
    one, two = (seated(app, name, study.batch) for name in ("one", "two"))
    assert ballot_of(one) != ballot_of(two)
