import re
import uuid
from datetime import UTC, datetime

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx2 import Response
from sqlalchemy import func, select

from app.domain.terms import Role
from app.models import Verdict
from app.services import accounts
from app.web.deps import COOKIE
from app.web.render import asset
from app.web.security import HEADERS, HTTPS_ONLY
from tests.factories import Study, client_for, make_account, visitor
from tests.fixtures import on_sqlite
from tests.web.addresses import addresses, filled

pytestmark = on_sqlite

OPEN_TO_ALL = {
    ("GET", "/healthz"): 200,
    ("GET", "/enter"): 200,
    ("POST", "/enter"): 403,
    ("GET", "/enter/{token}"): 200,  # a button; the link itself is checked by the POST
    ("POST", "/enter/{token}"): 403,
    ("GET", "/join/{token}"): 403,
    ("POST", "/join/{token}"): 403,
    ("POST", "/leave"): 303,
}
FOR_EVERY_ACCOUNT = {
    ("GET", "/"): 200,
    ("GET", "/account"): 200,
    ("POST", "/account/password"): 422,
    ("GET", "/account/tokens"): 200,
    ("POST", "/account/tokens"): 422,
    ("POST", "/account/tokens/{token_id}/revoke"): 404,
    ("GET", "/live"): None,  # a stream; read in test_live
    ("POST", "/leave/everywhere"): 303,
}
FOR_RATERS_WITH_A_SEAT = {
    ("GET", "/vote/{batch_id}"),
    ("GET", "/vote/{batch_id}/ballot"),
    ("POST", "/vote/{batch_id}"),
    ("POST", "/vote/{batch_id}/undo"),
    ("POST", "/vote/{batch_id}/recognised"),
    ("GET", "/vote/{batch_id}/yours"),
}
FORM = {
    "choice": "a", "answer": "yes", "ballot_id": str(uuid.uuid4()), "wanted": "smollm2-135m", "recipe": "brie-v1",
    "suite": "s",
}  # fmt: skip


class Anything(dict):
    def __missing__(self, name: str) -> str:
        return str(uuid.uuid4())


def asked(client: TestClient, method: str, path: str, batch_id: object = None) -> Response:
    values = Anything(batch_id=batch_id) if batch_id else Anything()
    form = FORM | {"baseline": "base"} if method == "POST" else None
    return client.request(method, filled(path, values), data=form)


def said(answer: Response) -> str:
    """The body without the address that leads back to what was asked for."""
    return re.sub(r'name="next" value="[^"]*"', "", answer.text)


def test_nothing_is_open_without_a_session_but_what_is_listed(app: FastAPI, study: Study) -> None:
    stranger, refusals = visitor(app), {"GET": set(), "POST": set()}
    for method, path in addresses(app):
        for batch_id in (None, study.batch.id):
            answer = asked(stranger, method, path, batch_id)
            expected = OPEN_TO_ALL.get((method, path), 401)
            assert answer.status_code == expected, (method, path)
            assert str(study.batch.id) not in said(answer)
            if expected == 401:
                refusals[method].add(said(answer))
    assert {method: len(bodies) for method, bodies in refusals.items()} == {"GET": 1, "POST": 1}, (
        "whatever is asked for, a visitor reads the same"
    )
    for (body,) in refusals.values():
        assert not [word for word in ("brie", "tiny", "suite", "Eval batches", "/raters") if word in body]


def test_every_listed_route_exists(app: FastAPI) -> None:
    listed = {*OPEN_TO_ALL, *FOR_EVERY_ACCOUNT, *FOR_RATERS_WITH_A_SEAT}
    assert listed <= set(addresses(app))


def a_rater(app: FastAPI, name: str = "somebody", study: Study | None = None) -> TestClient:
    with app.state.database.session_scope() as session:
        account_id = make_account(session, name, Role.RATER, seat_in=study.batch if study else None).id
    return client_for(app, account_id)


def test_a_rater_may_vote_and_nothing_else(app: FastAPI, study: Study) -> None:
    rater, refusals = a_rater(app, study=study), set()
    listed = OPEN_TO_ALL.keys() | FOR_EVERY_ACCOUNT.keys() | FOR_RATERS_WITH_A_SEAT
    tried = [route for route in addresses(app) if route not in listed]
    assert len(tried) > 40
    for method, path in tried:
        answer = asked(rater, method, path, study.batch.id)
        assert answer.status_code == 403, (method, path)
        refusals.add(answer.text)
    (body,) = refusals
    assert "for admins" in body
    assert not [word for word in ("brie", "tiny", "Eval batches", "/raters", "/datasets") if word in body]
    for (method, path), status in FOR_EVERY_ACCOUNT.items():
        if status is not None:
            assert asked(rater, method, path).status_code == status, (method, path)


def test_a_seat_opens_the_voting_routes_and_only_those_of_its_batch(app: FastAPI, study: Study) -> None:
    seated, other = a_rater(app, study=study), a_rater(app, "without a seat")
    told = set()
    for method, path in FOR_RATERS_WITH_A_SEAT:
        for batch_id in (None, study.batch.id):
            answer = asked(other, method, path, batch_id)
            assert answer.status_code == 404, (method, path)
            told.add(answer.text.replace("without a seat", "somebody"))
        told.add(asked(seated, method, path).text)
    assert len(told) == 1, "no seat, and no such eval batch, read the same"
    assert seated.get(f"/vote/{study.batch.id}").status_code == 200
    assert seated.get(f"/vote/{study.batch.id}/ballot").status_code == 200


@pytest.mark.parametrize("token", ["", "made up", "x" * 5000])
def test_a_cookie_that_means_nothing_signs_nobody_in(app: FastAPI, token: str) -> None:
    stranger = visitor(app)
    assert stranger.get("/", headers={"Cookie": f"{COOKIE}={token}"}).status_code == 401


ELSEWHERE = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://testserver"},
    {"Origin": "https://elsewhere.example"},
    {"Origin": "http://testserver.elsewhere.example"},
    {"Origin": "http://testserver:81"},
    {"Origin": "null"},
    {"Origin": ""},
]


@pytest.mark.parametrize("headers", ELSEWHERE, ids=lambda value: " ".join(value.values()) or "empty")
def test_no_other_site_can_change_anything(app: FastAPI, admin: TestClient, headers: dict[str, str]) -> None:
    for method, path in addresses(app):
        if method != "GET":
            answer = admin.request(method, filled(path, Anything()), data=FORM, headers=headers)
            assert (answer.status_code, "another site" in answer.text) == (403, True), path
    assert admin.get("/").status_code == 200, "still signed in: the refused /leave did nothing"


def test_a_vote_from_another_site_is_not_stored(app: FastAPI, admin: TestClient, study: Study) -> None:
    page = admin.get(f"/vote/{study.batch.id}").text
    ballot_id = page.partition('name="ballot_id" value="')[2].partition('"')[0]
    form = {"ballot_id": ballot_id, "choice": "a"}
    address = f"/vote/{study.batch.id}"
    assert admin.post(address, data=form, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    with app.state.database.session_scope(write=False) as session:
        assert session.scalar(select(func.count(Verdict.id))) == 0
    assert admin.post(address, data=form, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 303
    with app.state.database.session_scope(write=False) as session:
        assert session.scalar(select(func.count(Verdict.id))) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://testserver"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "null"},
    ],
    ids=str,
)
def test_our_own_forms_are_accepted(admin: TestClient, headers: dict[str, str]) -> None:
    assert admin.post("/leave", headers=headers).status_code == 303


def break_a_page(app: FastAPI) -> None:
    @app.get("/broken")
    def broken() -> None:
        raise RuntimeError("a bug")


def test_every_kind_of_answer_carries_the_security_headers(
    app: FastAPI, admin: TestClient, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_a_page(app)
    answers = {
        200: admin.get("/"),
        303: admin.post("/leave"),
        401: visitor(app).get("/"),
        403: client_for(app).post("/leave", headers={"Origin": "null"}),
        404: client_for(app).get(f"/runs/{uuid.uuid4()}"),
        405: client_for(app).delete("/runs"),
        422: client_for(app).post("/models", data={}),
        500: client_for(app).get("/broken"),
    }
    assert {status: answer.status_code for status, answer in answers.items()} == {s: s for s in answers}
    others = [
        client_for(app).get("/no/such/page"),
        client_for(app).get(f"/vote/{study.batch.id}"),
        client_for(app).get("/", headers={"Accept": "application/json"}),
        visitor(app).get("/healthz"),
        visitor(app).get(asset("css/tokens.css")),
        visitor(app).get("/static/no-such-file"),
        visitor(app).get("/static/css/../../app/config.py"),
    ]
    for answer in (*answers.values(), *others):
        sent = {name: answer.headers.get(name) for name in HEADERS}
        assert sent == HEADERS, answer.request.url


def test_the_policy_lets_nothing_run_that_is_not_ours(app: FastAPI) -> None:
    sent = visitor(app).get("/healthz").headers["Content-Security-Policy"]
    policy = dict(part.strip().split(" ", 1) for part in sent.split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == policy["form-action"] == "'self'"
    assert "unsafe" not in sent
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"


def test_https_is_asked_for_where_it_is_spoken(app: FastAPI) -> None:
    for base, expected in (("http://testserver", None), ("https://testserver", HTTPS_ONLY)):
        for path in ("/healthz", "/enter", "/no/such/page"):
            assert visitor(app).get(base + path).headers.get("Strict-Transport-Security") == expected


def test_nothing_but_files_is_ever_kept(app: FastAPI, admin: TestClient, study: Study) -> None:
    suite = admin.get(f"/suites/{study.suite.id}/download")
    answers = (admin.get("/batches", headers={"Accept": "application/json"}), admin.post("/leave"), suite)
    foreign = admin.post("/leave", headers={"Sec-Fetch-Site": "cross-site"})
    for answer in (*answers, foreign, visitor(app).get("/batches", headers={"Accept": "application/json"})):
        assert answer.headers["Cache-Control"] == "no-store", answer.request.url


def test_pages_are_never_kept_and_versioned_files_for_ever(app: FastAPI, admin: TestClient, study: Study) -> None:
    for path in ("/", f"/vote/{study.batch.id}", f"/vote/{study.batch.id}/ballot", "/no/such/page"):
        assert admin.get(path).headers["Cache-Control"] == "no-store"
    stranger = visitor(app)
    assert "immutable" in stranger.get(asset("css/tokens.css")).headers["Cache-Control"]
    assert "immutable" not in stranger.get("/static/css/tokens.css").headers.get("Cache-Control", "")
    assert "immutable" not in stranger.get("/static/gone.css?v=1").headers.get("Cache-Control", "")


def test_the_session_cookie_is_out_of_reach_of_scripts_and_other_sites(app: FastAPI) -> None:
    for base, secure in (("http://testserver", False), ("https://testserver", True)):
        now = datetime.now(UTC)
        with app.state.database.session_scope() as session:
            link = accounts.make_entry_link(session, accounts.the_admin(session, now=now), now=now)
        cookie = visitor(app).post(f"{base}/enter/{link}").headers["Set-Cookie"]
        parts = {part.strip().lower() for part in cookie.split(";")[1:]}
        assert {"httponly", "samesite=lax", "path=/"} <= parts
        assert ("secure" in parts) is secure
