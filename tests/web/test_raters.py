import re
import uuid
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select

from app.domain.terms import Role, VoterKind
from app.models import Account, Ballot, EvalBatch, Invite, Voter
from app.queries.raters import batch_raters_page
from app.services import eval_batches, seats
from tests.factories import NOW, TITLE, Study, client_for, make_account, make_study, visitor
from tests.fixtures import on_sqlite
from tests.many import seats as many_seats
from tests.web.ballots import choose, look

pytestmark = on_sqlite
LINK = re.compile(r'readonly value="(http://testserver(/(?:join|enter)/([\w-]{43})))"')


def plain(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def test_an_invite_is_made_shown_once_used_and_revoked(app: FastAPI, admin: TestClient, study: Study) -> None:
    here = f"/raters/{study.batch.id}"
    assert "Raters read this" in admin.get(f"{here}/invites").text
    made = admin.post(f"{here}/invites", data={"title": "Two texts", "days": "3", "uses": "2"})
    assert made.status_code == 200
    link = LINK.search(made.text)
    assert link is not None
    assert link[3] not in admin.get(here).text, "shown this once"
    assert "0 of 2 used" in plain(admin.get(here).text)
    for name in ("Anna", "Ben"):
        assert visitor(app).post(link[2], data={"name": name}).status_code == 303
    page = plain(admin.get(here).text)
    assert "2 of 2 used" in page
    assert "used up" in page
    assert "Anna 0 votes" in page
    again = LINK.search(admin.post(f"{here}/invites").text)
    assert again is not None
    with app.state.database.session_scope(write=False) as session:
        invite_id = session.scalars(select(Invite.id).where(Invite.uses == 0)).one()
    assert admin.post(f"/raters/invites/{invite_id}/revoke").headers["Location"] == here
    assert visitor(app).get(again[2]).status_code == 403


@pytest.mark.parametrize(
    "form", [{"days": "0"}, {"days": "91"}, {"uses": "0"}, {"uses": "many"}, {"title": "x" * 121}], ids=str
)
def test_an_invite_that_makes_no_sense_is_refused(admin: TestClient, study: Study, form: dict[str, str]) -> None:
    answer = admin.post(f"/raters/{study.batch.id}/invites", data=form)
    assert (answer.status_code, 'id="error"' in answer.text) == (422, True)


def test_a_closed_eval_batch_takes_no_invite(app: FastAPI, admin: TestClient, study: Study) -> None:
    with app.state.database.session_scope() as session:
        eval_batches.close(session, session.get_one(EvalBatch, study.batch.id), now=NOW)
    assert "takes no more votes" in admin.get(f"/raters/{study.batch.id}/invites").text
    assert admin.post(f"/raters/{study.batch.id}/invites").status_code == 409


def test_a_seat_is_taken_back_and_given_back(app: FastAPI, admin: TestClient, study: Study) -> None:
    with app.state.database.session_scope() as session:
        account = make_account(session, "Anna", Role.RATER, seat_in=study.batch)
    anna, batch_id = client_for(app, account.id), study.batch.id
    choose(anna, batch_id, look(anna, batch_id).ballot_id, "a")
    held = look(anna, batch_id).ballot_id
    seat = f"/raters/{batch_id}/seats/{account.voter_id}"
    assert "one pair open" in admin.get(f"/raters/{batch_id}").text
    assert admin.post(f"{seat}/revoke").status_code == 303
    assert anna.get(f"/vote/{batch_id}").status_code == 404
    assert choose(anna, batch_id, held, "a").status_code == 404
    assert "your votes are kept" in anna.get("/").text
    page = plain(admin.get(f"/raters/{batch_id}").text)
    assert "1 vote" in page
    assert "seat revoked" in page
    assert "one pair open" not in page
    assert admin.post(f"{seat}/restore").status_code == 303
    assert look(anna, batch_id).ballot_id is not None


def test_an_account_is_made_with_a_link_that_is_shown_once(app: FastAPI, admin: TestClient) -> None:
    made = admin.post("/raters/accounts", data={"name": "Cleo", "role": "admin"})
    link = LINK.search(made.text)
    assert link is not None
    assert link[3] not in admin.get("/raters").text
    cleo = visitor(app)
    assert cleo.post(link[2]).status_code == 303
    assert cleo.get("/raters").status_code == 200
    for form, status in (
        ({"name": "cleo"}, 409),
        ({"name": "ADMIN"}, 409),
        ({"name": ""}, 422),
        ({"name": "Dora", "role": "owner"}, 422),
    ):
        assert admin.post("/raters/accounts", data=form).status_code == status, form
    with app.state.database.session_scope(write=False) as session:
        assert set(session.scalars(select(Account.name))) == {"admin", "Cleo"}
        account_id = session.scalars(select(Account.id).where(Account.name == "Cleo")).one()
    again = LINK.search(admin.post(f"/raters/accounts/{account_id}/link").text)
    assert again is not None
    assert visitor(app).post(again[2]).status_code == 303


def test_nobody_disables_the_own_account(app: FastAPI, admin: TestClient) -> None:
    with app.state.database.session_scope(write=False) as session:
        own = session.scalars(select(Account.id)).one()
    assert f"/raters/accounts/{own}/disable" not in admin.get("/raters").text
    assert admin.post(f"/raters/accounts/{own}/disable").status_code == 409
    assert admin.get("/raters").status_code == 200


def test_a_disabled_account_gets_no_link(app: FastAPI, admin: TestClient) -> None:
    with app.state.database.session_scope() as session:
        account_id = make_account(session, "Anna", Role.RATER).id
    admin.post(f"/raters/accounts/{account_id}/disable")
    assert admin.post(f"/raters/accounts/{account_id}/link").status_code == 409
    assert "Anna is disabled" in admin.get(f"/raters/accounts/{account_id}/link").text


def test_simulated_raters_are_marked_and_scripts_not_listed(app: FastAPI, admin: TestClient, study: Study) -> None:
    with app.state.database.session_scope() as session:
        batch = session.get_one(EvalBatch, study.batch.id)
        for kind, name, simulated in ((VoterKind.RATER, "made up", True), (VoterKind.SCRIPT, "canary script", False)):
            voter = Voter(id=uuid.uuid4(), kind=kind, name=name, simulated=simulated, created_at=NOW)
            session.add(voter)
            session.flush()
            seats.give_seat(session, batch, voter, title=TITLE, now=NOW)
    page = plain(admin.get(f"/raters/{study.batch.id}").text)
    assert "made up simulated" in page
    assert "canary script" not in page


def test_the_figures_of_a_thousand_raters_are_those_of_their_ballots(app: FastAPI, study: Study) -> None:
    with app.state.database.session_scope() as session:
        many_seats(session, study, 1000)
    with app.state.database.session_scope(write=False) as session:
        page = batch_raters_page(session, study.batch.id, now=NOW)
        assert (page.window.total, len(page.rows), page.batch.raters) == (1000, 50, 1000)
        for row in page.rows:
            states = list(session.scalars(select(Ballot.state).where(Ballot.voter_id == row.voter_id)))
            assert (row.votes, row.skipped) == (states.count("voted"), states.count("skipped"))
            assert (row.last_at is not None) is bool(states)
        assert page.batch.votes == len(session.scalars(select(Ballot.id).where(Ballot.state == "voted")).all())


def test_a_thousand_are_read_page_by_page_and_found_by_name(app: FastAPI, admin: TestClient, study: Study) -> None:
    with app.state.database.session_scope() as session:
        many_seats(session, study, 1000)
    for here in ("/raters", f"/raters/{study.batch.id}"):
        pages = 21 if here == "/raters" else 20  # the admin has an account, and no seat
        seen = []
        for number in range(1, pages + 1):
            seen += re.findall(r'row-name">(row-\d{4})<', admin.get(f"{here}?page={number}").text)
        assert len(seen) == len(set(seen)) == 1000
        assert f"page 1 of {pages}" in admin.get(here).text
        assert re.findall(r'row-name">(row-\d{4})<', admin.get(f"{here}?q=ROW-0421").text) == ["row-0421"]
        assert "is called like that" in admin.get(f"{here}?q=nothing").text


def test_the_page_of_an_eval_batch_leads_to_its_raters(admin: TestClient, study: Study) -> None:
    page = admin.get(f"/batches/{study.batch.id}").text
    assert f'href="/raters/{study.batch.id}"' in page
    assert f'href="/raters/{study.batch.id}/invites"' in page


def test_a_rater_sees_titles_and_never_the_name_of_an_eval_batch(app: FastAPI, tmp_path: Path) -> None:
    with app.state.database.session_scope() as session:
        study = make_study(session, tmp_path)
        batch = session.get_one(EvalBatch, study.batch.id)
        batch.name = "secret-of-epoch-two"
        account_id = make_account(session, "Anna", Role.RATER, seat_in=batch).id
        eval_batches.close(session, batch, now=NOW)
    desk = client_for(app, account_id).get("/").text
    assert TITLE in desk
    assert "secret-of-epoch-two" not in desk
    assert not [page for page in ("/batches", "/raters", "/datasets", "/settings") if f'href="{page}"' in desk]
