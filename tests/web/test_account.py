from datetime import UTC, datetime, timedelta

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.domain.terms import Role
from app.models import Account
from app.services import accounts
from app.web.deps import COOKIE, get_now
from tests.factories import client_for, make_account, visitor
from tests.fixtures import on_sqlite

pytestmark = on_sqlite
NEW, OTHER = "a cheese that ripens", "a cheese that does not"


@pytest.fixture
def anna(app: FastAPI) -> TestClient:
    with app.state.database.session_scope() as session:
        account_id = make_account(session, "Anna", Role.RATER).id
    return client_for(app, account_id)


def set_password(client: TestClient, password: str, again: str | None = None, current: str = "") -> int:
    form = {"password": password, "again": password if again is None else again, "current": current}
    return client.post("/account/password", data=form).status_code


def enters(app: FastAPI, password: str) -> TestClient | None:
    browser = visitor(app)
    answer = browser.post("/enter", data={"name": "Anna", "password": password})
    return browser if answer.status_code == 303 else None


def test_who_came_by_a_link_sets_a_password_and_signs_in_with_it(app: FastAPI, anna: TestClient) -> None:
    assert "You sign in by a link" in anna.get("/account").text
    assert set_password(anna, NEW) == 303
    assert "You sign in with your name and password" in anna.get("/account?changed=true").text
    assert enters(app, NEW) is not None
    with app.state.database.session_scope(write=False) as session:
        stored = session.query(Account.password_hash).filter_by(name="Anna").scalar()
    assert stored.startswith("$argon2id$")
    assert NEW not in stored


@pytest.mark.parametrize(
    ("password", "again"), [("too short", None), ("", None), ("x" * 201, None), (NEW, OTHER), (NEW, "")]
)
def test_what_is_no_password_changes_nothing(app: FastAPI, anna: TestClient, password: str, again: str | None) -> None:
    assert set_password(anna, password, again) == 422
    assert enters(app, password) is None


def test_a_change_needs_the_present_password_and_signs_out_the_other_browsers(app: FastAPI, anna: TestClient) -> None:
    set_password(anna, NEW)
    here, there = enters(app, NEW), enters(app, NEW)
    assert here is not None
    assert there is not None
    assert 'name="current"' in here.get("/account").text
    for wrong in ("", OTHER, NEW + "x"):
        assert set_password(here, OTHER, current=wrong) == 403
    assert there.get("/account").status_code == 200
    assert set_password(here, OTHER, current=NEW) == 303
    assert [browser.get("/account").status_code for browser in (here, there, anna)] == [200, 401, 401]
    assert (enters(app, NEW), enters(app, OTHER) is None) == (None, False)


def test_a_lost_password_is_replaced_within_an_hour_after_a_link(app: FastAPI, anna: TestClient) -> None:
    set_password(anna, NEW)
    assert 'name="current"' not in anna.get("/account").text
    assert set_password(anna, OTHER) == 303
    later = datetime.now(UTC) + accounts.LINK_TRUST + timedelta(minutes=1)
    app.dependency_overrides[get_now] = lambda: later
    assert 'name="current"' in anna.get("/account").text
    assert set_password(anna, NEW) == 403


def test_nobody_guesses_the_present_password_of_an_open_browser_for_long(app: FastAPI, anna: TestClient) -> None:
    set_password(anna, NEW)
    here = enters(app, NEW)
    assert here is not None
    statuses = {set_password(here, OTHER, current=f"guess number {number}") for number in range(12)}
    assert statuses == {403, 429}


def test_a_new_password_keeps_this_browser_and_its_token(app: FastAPI, anna: TestClient) -> None:
    token = anna.cookies[COOKIE]
    assert set_password(anna, NEW) == 303
    assert visitor(app).get("/account", headers={"Cookie": f"{COOKIE}={token}"}).status_code == 200
