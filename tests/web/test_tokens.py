import html
import re
import uuid

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select

from app.domain.terms import Role
from app.models import ApiToken
from tests.factories import client_for, make_account, visitor
from tests.fixtures import on_sqlite
from tests.web.programs import program

pytestmark = on_sqlite


def made(client: TestClient, **form: object) -> str:
    answer = client.post("/account/tokens", data={"name": "my script", "scopes": ["vote"], "days": "30"} | form)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    found = re.search(r'id="address"[^>]*value="([^"]+)"', answer.text)
    assert found is not None
    return html.unescape(found[1])


def test_a_token_is_shown_once_and_works(app: FastAPI, admin: TestClient) -> None:
    text = made(admin)
    assert program(app, text).get("/api/batches").status_code == 200
    page = admin.get("/account/tokens").text
    assert "my script" in page
    assert text.rpartition("_")[2] not in page


def test_a_revoked_token_stays_in_the_list(app: FastAPI, admin: TestClient) -> None:
    text = made(admin)
    with app.state.database.session_scope(write=False) as session:
        token_id = session.scalars(select(ApiToken.id)).one()
    assert admin.post(f"/account/tokens/{token_id}/revoke").status_code == 303
    assert program(app, text).get("/api/batches").status_code == 401
    assert "pill-bad" in admin.get("/account/tokens").text


def test_raters_have_the_scope_for_voting_alone(app: FastAPI, admin: TestClient) -> None:
    with app.state.database.session_scope() as session:
        rater = make_account(session, "rater", Role.RATER).id
    client = client_for(app, rater)
    page = client.get("/account/tokens").text
    assert ('value="vote"' in page, 'value="results"' in page) == (True, False)
    assert made(client)
    refused = client.post("/account/tokens", data={"name": "n", "scopes": ["vote", "results"]})
    assert refused.status_code == 403
    made(admin, name="of the admin")
    with app.state.database.session_scope(write=False) as session:
        other = session.scalars(select(ApiToken.id).where(ApiToken.name == "of the admin")).one()
    assert client.post(f"/account/tokens/{other}/revoke").status_code == 404
    assert "of the admin" not in client.get("/account/tokens").text


@pytest.mark.parametrize(
    "form",
    [{"name": ""}, {"name": "n" * 121}, {"scopes": []}, {"scopes": ["everything"]}, {"days": "0"}, {"days": "366"},
     {"days": "soon"}, {"days": "9" * 30}],
    ids=str,
)  # fmt: skip
def test_a_form_that_cannot_be_used_makes_nothing(app: FastAPI, admin: TestClient, form: dict[str, object]) -> None:
    data = {"name": "n", "scopes": ["vote"], "days": "30"} | form
    answer = admin.post("/account/tokens", data=data)
    assert (answer.status_code, 'id="error"' in answer.text) == (422, True)
    with app.state.database.session_scope(write=False) as session:
        assert session.scalars(select(ApiToken)).all() == []


def test_the_description_is_a_page_for_everybody(app: FastAPI) -> None:
    answer = visitor(app).get("/api/docs")
    assert answer.status_code == 200
    for path in app.openapi()["paths"]:
        assert path in html.unescape(answer.text)
    assert "curl -X POST http://testserver/api/ballots/" in answer.text
    assert "http://testserver/api" in answer.text
    client = html.unescape(answer.text.partition("<pre")[2].partition("<code>")[2].partition("</code>")[0])
    compile(client, "the client of the page", "exec")
    told = visitor(app).get("/api/openapi.json").json()
    assert told["info"]["title"] == "Brie Arena"
    assert str(uuid.UUID(int=0)) not in answer.text
