from datetime import UTC, datetime, timedelta

from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import func, select, update

from app.models import SignIn
from app.services import accounts
from app.web.deps import COOKIE, get_now
from tests.factories import visitor


def make_link(app: FastAPI, *, age: timedelta = timedelta(0)) -> str:
    now = datetime.now(UTC) - age
    with app.state.database.session_scope() as session:
        return accounts.make_entry_link(session, accounts.the_admin(session, now=now), now=now)


def test_opening_the_link_shows_a_button_and_uses_nothing_up(app: FastAPI) -> None:
    link, browser = make_link(app), visitor(app)
    for _ in range(3):  # browsers and chat programs fetch links ahead
        page = browser.get(f"/enter/{link}")
        assert (page.status_code, COOKIE in browser.cookies) == (200, False)
        assert f'action="/enter/{link}"' in page.text
    entered = browser.post(f"/enter/{link}")
    assert (entered.status_code, entered.headers["Location"]) == (303, "/")
    assert browser.get("/").status_code == 200


def test_a_link_signs_in_one_browser(app: FastAPI) -> None:
    link = make_link(app)
    first, second = visitor(app), visitor(app)
    assert first.post(f"/enter/{link}").status_code == 303
    refused = second.post(f"/enter/{link}")
    assert refused.status_code == 403
    assert "./arena admin link" in refused.text
    assert "Set-Cookie" not in refused.headers
    assert (first.get("/").status_code, second.get("/").status_code) == (200, 401)


def test_an_old_link_and_an_unknown_one_sign_nobody_in(app: FastAPI) -> None:
    old = make_link(app, age=accounts.LINK_LIFETIME)
    for link in (old, "unknown", "%00", "x" * 4000):
        assert visitor(app).post(f"/enter/{link}").status_code == 403
    with app.state.database.session_scope(write=False) as session:
        assert session.scalar(select(func.count(SignIn.id))) == 0


def test_signing_out_ends_this_browser_alone(app: FastAPI) -> None:
    here, there = visitor(app), visitor(app)
    for browser in (here, there):
        browser.post(f"/enter/{make_link(app)}")
    token = here.cookies[COOKIE]
    left = here.post("/leave")
    assert (left.status_code, left.headers["Location"], COOKIE in here.cookies) == (303, "/enter", False)
    assert here.get("/", headers={"Cookie": f"{COOKIE}={token}"}).status_code == 401, "the token itself is worthless"
    assert there.get("/").status_code == 200


def test_a_session_ends_by_itself(app: FastAPI, admin: TestClient) -> None:
    assert admin.get("/").status_code == 200
    with app.state.database.session_scope() as session:
        session.execute(update(SignIn).values(expires_at=datetime.now(UTC)))
    assert admin.get("/").status_code == 401


def test_a_new_session_lasts_as_long_as_the_setting_says(app: FastAPI) -> None:
    browser = visitor(app)
    browser.post(f"/enter/{make_link(app)}")
    end = datetime.now(UTC) + timedelta(days=app.state.settings.session_days)
    for moment, status in ((end - timedelta(minutes=1), 200), (end + timedelta(minutes=1), 401)):
        app.dependency_overrides[get_now] = lambda moment=moment: moment
        assert browser.get("/").status_code == status


def test_who_is_not_signed_in_learns_how(app: FastAPI) -> None:
    page = visitor(app).get("/batches")
    assert (page.status_code, "./arena admin link" in page.text) == (401, True)
    told = visitor(app).get("/batches", headers={"Accept": "application/json"})
    assert (told.status_code, told.json().keys()) == (401, {"error"})
