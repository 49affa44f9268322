import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx2 import Response
from sqlalchemy import func, select

from app.domain.terms import Role
from app.models import Account, EvalBatch, Invite, Seat, SignIn
from app.services import accounts, eval_batches, invites
from app.web.deps import COOKIE, get_now
from tests.factories import NOW, Study, client_for, make_account, make_study, visitor
from tests.fixtures import on_sqlite
from tests.web.ballots import choose, look


def invited(app: FastAPI, study: Study, **terms: object) -> str:
    now = datetime.now(UTC)
    with app.state.database.session_scope() as session:
        batch, by = session.get_one(EvalBatch, study.batch.id), accounts.the_admin(session, now=now)
        return invites.make_invite(session, batch, by=by, now=now, **terms)[1]


def rows(app: FastAPI, table: type, *conditions: object) -> int:
    with app.state.database.session_scope(write=False) as session:
        return session.scalar(select(func.count()).select_from(table).where(*conditions)) or 0


def test_one_name_and_one_click_lead_to_the_first_pair(app: FastAPI, study: Study) -> None:
    token, browser = invited(app, study, title="Two texts on cheese"), visitor(app)
    for _ in range(3):  # chat programs fetch links ahead
        page = browser.get(f"/join/{token}")
        assert (page.status_code, "Set-Cookie" in page.headers) == (200, False)
        assert "Two texts on cheese" in page.text
        assert page.text.count('name="name"') == page.text.count("<button") == 1
    joined = browser.post(f"/join/{token}", data={"name": "Anna"})
    assert (joined.status_code, joined.headers["Location"]) == (303, f"/vote/{study.batch.id}")
    ballot = look(browser, study.batch.id)
    assert choose(browser, study.batch.id, ballot.ballot_id, "a").status_code == 303
    desk = browser.get("/").text
    assert "Two texts on cheese" in desk
    assert "1 vote of yours" in desk
    assert rows(app, Account, Account.name == "Anna", Account.role == Role.RATER) == 1


def test_two_clicks_are_one_rater_with_one_place(app: FastAPI, study: Study) -> None:
    token = invited(app, study)
    form = re.findall(r'name="form" value="([^"]+)"', visitor(app).get(f"/join/{token}").text)[0]
    together = Barrier(4)

    def click() -> Response:
        browser = visitor(app)  # neither click has the cookie that the other one gets
        together.wait(timeout=30)
        return browser.post(f"/join/{token}", data={"name": "Anna", "form": form})

    with ThreadPoolExecutor(4) as pool:
        answers = [click.result(timeout=60) for click in [pool.submit(click) for _ in range(4)]]
    assert {answer.headers["Location"] for answer in answers} == {f"/vote/{study.batch.id}"}
    assert len({answer.cookies[COOKIE] for answer in answers}) == 1
    assert visitor(app).get("/", headers={"Cookie": f"{COOKIE}={answers[0].cookies[COOKIE]}"}).status_code == 200
    assert (rows(app, Account, Account.role == Role.RATER), rows(app, Seat), rows(app, SignIn)) == (1, 1, 1)
    assert rows(app, Invite, Invite.uses == 1) == 1


def test_another_person_at_another_form_is_another_rater(app: FastAPI, study: Study) -> None:
    token = invited(app, study)
    for _ in range(2):
        form = re.findall(r'name="form" value="([^"]+)"', visitor(app).get(f"/join/{token}").text)[0]
        assert visitor(app).post(f"/join/{token}", data={"name": "Anna", "form": form}).status_code == 303
    assert rows(app, Account, Account.name.in_(("Anna", "Anna 2"))) == 2


def test_the_page_names_nothing_that_is_compared(app: FastAPI, study: Study) -> None:
    page = visitor(app).get(f"/join/{invited(app, study)}").text
    assert not [word for word in ("brie-v1", "tiny", "suite", study.batch.name, str(study.batch.id)) if word in page]
    assert "up to 4 such pairs" in re.sub(r"\s+", " ", page)


def test_a_cookie_of_joining_is_as_guarded_as_one_of_signing_in(app: FastAPI, study: Study) -> None:
    for base, secure in (("http://testserver", False), ("https://testserver", True)):
        answer = visitor(app).post(f"{base}/join/{invited(app, study)}", data={"name": "Anna"})
        parts = {part.strip().lower() for part in answer.headers["Set-Cookie"].split(";")[1:]}
        assert {"httponly", "samesite=lax", "path=/"} <= parts
        assert ("secure" in parts) is secure


def test_joining_opens_a_session_of_its_own(app: FastAPI, study: Study) -> None:
    planted = {"Cookie": f"{COOKIE}=chosen by somebody else"}
    browser = visitor(app)
    assert browser.post(f"/join/{invited(app, study)}", data={"name": "Anna"}, headers=planted).status_code == 303
    assert browser.cookies[COOKIE] != "chosen by somebody else"
    assert visitor(app).get("/", headers=planted).status_code == 401


def test_who_is_signed_in_joins_with_the_own_account(app: FastAPI, study: Study) -> None:
    token = invited(app, study)
    with app.state.database.session_scope() as session:
        account_id = make_account(session, "Ben", Role.RATER).id
    ben = client_for(app, account_id)
    page = ben.get(f"/join/{token}").text
    assert "Join as Ben" in page
    assert 'name="name"' not in page
    joined = ben.post(f"/join/{token}", data={"name": "Somebody else"})
    assert (joined.status_code, joined.headers["Location"]) == (303, f"/vote/{study.batch.id}")
    assert "Set-Cookie" not in joined.headers
    assert ben.get(f"/vote/{study.batch.id}").status_code == 200
    assert "You have joined already, as Ben" in ben.get(f"/join/{token}").text
    assert ben.post(f"/join/{token}").status_code == 303
    assert (rows(app, Account, Account.name == "Somebody else"), rows(app, Invite, Invite.uses == 1)) == (0, 1)


def test_a_link_that_lets_nobody_in_says_one_thing(app: FastAPI, study: Study) -> None:
    used, over = invited(app, study, uses=1), invited(app, study, days=1)
    visitor(app).post(f"/join/{used}", data={"name": "Anna"})
    said = set()
    for token, days in ((used, 0), (over, 2), ("unknown", 0), ("x" * 4000, 0), ("%00", 0)):
        moment = datetime.now(UTC) + timedelta(days=days)
        app.dependency_overrides[get_now] = lambda moment=moment: moment
        browser = visitor(app)
        for answer in (browser.get(f"/join/{token}"), browser.post(f"/join/{token}", data={"name": "Ben"})):
            assert (answer.status_code, "Set-Cookie" in answer.headers) == (403, False)
            said.add(answer.text)
    assert len(said) == 1
    assert invites.REFUSED in said.pop()
    assert rows(app, Seat) == 1


@pytest.mark.parametrize("name", ["", "   ", "x" * 81, "x" * 500, "a\x00b"])
@on_sqlite
def test_what_is_no_name_is_refused_in_words(app: FastAPI, study: Study, name: str) -> None:
    answer = visitor(app).post(f"/join/{invited(app, study)}", data={"name": name})
    assert (answer.status_code, 'id="error"' in answer.text) == (422, True)
    assert (rows(app, Seat), rows(app, SignIn), rows(app, Invite, Invite.uses > 0)) == (0, 0, 0)


@on_sqlite
def test_a_comparison_that_is_over_says_so_calmly(app: FastAPI, study: Study) -> None:
    token = invited(app, study)
    with app.state.database.session_scope() as session:
        eval_batches.close(session, session.get_one(EvalBatch, study.batch.id), now=NOW)
    page = visitor(app).get(f"/join/{token}")
    assert (page.status_code, "is over and takes no more votes" in page.text) == (200, True)
    assert "<form" not in page.text
    assert visitor(app).post(f"/join/{token}", data={"name": "Anna"}).status_code == 409
    assert rows(app, Seat) == 0


@on_sqlite
def test_names_and_titles_are_text_and_never_markup(app: FastAPI, study: Study, admin: TestClient) -> None:
    evil = '<script>alert("x")</script>'
    token, browser = invited(app, study, title=evil), visitor(app)
    browser.post(f"/join/{token}", data={"name": evil})
    for client, path in (
        (visitor(app), f"/join/{token}"),
        (browser, f"/join/{token}"),
        (browser, "/"),
        (browser, "/account"),
        (admin, "/raters"),
        (admin, f"/raters/{study.batch.id}"),
    ):
        answer = client.get(path)
        assert answer.status_code == 200, path
        assert "<script>alert" not in answer.text, path
        assert "&lt;script&gt;alert" in answer.text, path


@on_sqlite
def test_a_rater_limit_shortens_what_is_promised(app: FastAPI, tmp_path: Path) -> None:
    with app.state.database.session_scope() as session:
        study = make_study(session, tmp_path, prompts=9, rater_limit=3)
    page = re.sub(r"\s+", " ", visitor(app).get(f"/join/{invited(app, study)}").text)
    assert "up to 3 such pairs: all of them take about 3 minutes" in page
