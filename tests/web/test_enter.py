import uuid
from datetime import UTC, datetime, timedelta

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx2 import Response
from sqlalchemy import func, select, update

from app.domain.terms import Role
from app.models import Account, SignIn
from app.services import accounts, passwords
from app.web.deps import COOKIE, get_now
from tests.factories import NOW, make_account, visitor
from tests.fixtures import on_sqlite


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


PASSWORD = "under the old walnut tree"


def with_password(app: FastAPI, name: str = "Anna", role: Role = Role.RATER) -> uuid.UUID:
    with app.state.database.session_scope() as session:
        account = make_account(session, name, role)
        account.password_hash = passwords.hashed(PASSWORD)
        return account.id


def sign_in(browser: TestClient, name: str = "Anna", password: str = PASSWORD, **more: str) -> Response:
    return browser.post("/enter", data={"name": name, "password": password, **more})


def test_name_and_password_sign_in_and_lead_back(app: FastAPI) -> None:
    with_password(app, role=Role.ADMIN)
    browser = visitor(app)
    refused = browser.get("/batches?q=a%20b")
    assert (refused.status_code, 'name="next" value="/batches?q=a%20b"' in refused.text) == (401, True)
    entered = sign_in(browser, next="/batches?q=a%20b")
    assert (entered.status_code, entered.headers["Location"]) == (303, "/batches?q=a%20b")
    assert browser.get("/batches").status_code == 200


def test_every_refusal_reads_the_same_and_nobody_is_signed_in(app: FastAPI) -> None:
    with_password(app)
    gone = with_password(app, "Gone")
    with app.state.database.session_scope() as session:
        make_account(session, "By link", Role.RATER)
        session.get_one(Account, gone).disabled_at = NOW
    said = set()
    for name, password in (
        ("Anna", "under the old walnut"),
        ("Anna", ""),
        ("Anna", "x" * 3000),
        ("Nobody", PASSWORD),
        ("Gone", PASSWORD),
        ("By link", PASSWORD),
        ("By link", ""),
        ("", ""),
    ):
        browser = visitor(app)
        answer = sign_in(browser, name, password)
        assert (answer.status_code, "Set-Cookie" in answer.headers) == (403, False), name
        said.add(answer.text.replace(f'value="{name}"', 'value=""'))
    assert len(said) == 1
    assert passwords.REFUSED in said.pop()


@on_sqlite
@pytest.mark.parametrize(
    ("wanted", "path"),
    [
        ("/vote/1?a=b#c", "/vote/1?a=b#c"),
        ("/", "/"),
        ("", "/"),
        ("batches", "/"),
        ("//elsewhere.example", "/"),
        ("///elsewhere.example", "/"),
        ("/\\elsewhere.example", "/"),
        ("\\\\elsewhere.example", "/"),
        ("/\t/elsewhere.example", "/"),
        ("/\n/elsewhere.example", "/"),
        (" //elsewhere.example", "/"),
        ("https://elsewhere.example/", "/"),
        ("https:/batches", "/"),
        ("javascript:alert(1)", "/"),
        ("/a\\..\\b", "/"),
        ("/batches\r\nSet-Cookie: a=b", "/"),
        ("/" + "x" * 2100, "/"),
        ("/enter", "/"),
        ("/leave", "/"),
        ("/leave/everywhere", "/"),
        ("/entertaining", "/entertaining"),
    ],
)
def test_signing_in_never_leads_to_another_site(app: FastAPI, wanted: str, path: str) -> None:
    with_password(app)
    assert sign_in(visitor(app), next=wanted).headers["Location"] == path
    shown = visitor(app).get("/enter", params={"next": wanted}).text
    assert f'name="next" value="{path}"' in shown


def test_a_session_never_has_a_token_that_somebody_knew_before(app: FastAPI) -> None:
    """Session fixation: whatever cookie the browser brings, it leaves with a new one, and the old one is worthless."""
    with_password(app)
    planted = {"Cookie": f"{COOKIE}=chosen by somebody else"}
    for form in ({"name": "Anna", "password": PASSWORD}, None):

        def enter(browser: TestClient, form: dict[str, str] | None = form, **more: object) -> str:
            answer = browser.post("/enter" if form else f"/enter/{make_link(app)}", data=form, **more)
            assert answer.status_code == 303
            return browser.cookies[COOKIE]

        browser = visitor(app)
        first = enter(browser, headers=planted)
        assert first != "chosen by somebody else"
        assert visitor(app).get("/", headers=planted).status_code == 401
        assert enter(browser) != first
        assert visitor(app).get("/", headers={"Cookie": f"{COOKIE}={first}"}).status_code == 401


def test_signing_out_everywhere_ends_every_browser_of_the_account(app: FastAPI, admin: TestClient) -> None:
    with_password(app)
    browsers = [visitor(app) for _ in range(3)]
    for browser in browsers:
        sign_in(browser)
    assert browsers[0].post("/leave/everywhere").headers["Location"] == "/enter"
    assert [browser.get("/account").status_code for browser in browsers] == [401] * 3
    assert admin.get("/account").status_code == 200


def test_a_disabled_account_is_out_at_once_and_may_come_back(app: FastAPI, admin: TestClient) -> None:
    account_id = with_password(app)
    browser = visitor(app)
    sign_in(browser)
    assert browser.get("/account").status_code == 200
    assert admin.post(f"/raters/accounts/{account_id}/disable").status_code == 303
    assert browser.get("/account").status_code == 401
    assert sign_in(visitor(app)).status_code == 403
    assert admin.post(f"/raters/accounts/{account_id}/enable").status_code == 303
    assert browser.get("/account").status_code == 401, "the session of before is gone"
    assert sign_in(browser).status_code == 303


def test_a_link_of_a_disabled_account_opens_nothing(app: FastAPI) -> None:
    account_id = with_password(app)
    now = datetime.now(UTC)
    with app.state.database.session_scope() as session:
        account = session.get_one(Account, account_id)
        link = accounts.make_entry_link(session, account, now=now)
        account.disabled_at = now
    assert visitor(app).post(f"/enter/{link}").status_code == 403
