import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx2 import Response
from starlette.requests import Request

from app.config import Settings
from app.domain.errors import TooManyError
from app.domain.terms import Role
from app.services import passwords
from app.web.limits import Limits, address_of, in_words, limited
from tests.factories import client_for, make_account, make_study, visitor, web_app
from tests.fixtures import on_sqlite
from tests.web.ballots import choose, look


def limits(**figures: str) -> Limits:
    return Limits.of(Settings(_env_file=None, **figures))


@pytest.fixture
def strict(database_url: str, tmp_path: Path) -> Iterator[FastAPI]:
    """An application whose limits are reached soon."""
    figures = {"sign_in": "2/hour", "sign_in_address": "4/hour", "join": "3/hour", "vote": "2/hour", "api": "1/hour"}
    with web_app(tmp_path, database_url, **{f"limit_{what}": text for what, text in figures.items()}) as made:
        yield made


def check_refused(answer: Response) -> None:
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["Retry-After"]) <= 3600
    assert "asked too often" in answer.text


@on_sqlite
def test_passwords_are_tried_a_few_times_for_one_name_and_from_one_address(strict: FastAPI) -> None:
    browser = visitor(strict)

    def enter(name: str) -> Response:
        return browser.post("/enter", data={"name": name, "password": "x"})

    assert [enter(" Anna ").status_code, enter("Anna").status_code] == [403, 403]
    check_refused(enter("Anna"))
    assert enter("Ben").status_code == 403
    check_refused(enter("Cleo"))  # the fifth from this address
    check_refused(browser.post("/enter/some-link"))
    assert browser.get("/enter").status_code == 200


@on_sqlite
def test_wrong_passwords_from_elsewhere_keep_nobody_out(database_url: str, tmp_path: Path) -> None:
    figures = {"limit_sign_in": "2/hour", "limit_sign_in_name": "5/hour"}
    with web_app(tmp_path, database_url, **figures) as app:
        with app.state.database.session_scope() as session:
            make_account(session, "Anna", Role.RATER).password_hash = passwords.hashed("the right one")

        def enter(password: str, address: str) -> Response:
            browser = TestClient(app, follow_redirects=False, client=(address, 1))
            return browser.post("/enter", data={"name": "Anna", "password": password})

        assert [enter("a wrong one", "192.0.2.1").status_code for _ in range(2)] == [403, 403]
        check_refused(enter("a wrong one", "192.0.2.1"))
        assert enter("the right one", "192.0.2.2").status_code == 303
        assert [enter("a wrong one", f"192.0.2.{number}").status_code for number in (3, 4)] == [403, 403]
        check_refused(enter("a wrong one", "192.0.2.5"))  # a name has so many tries, however many addresses ask


@on_sqlite
def test_the_right_password_is_not_heard_after_too_many_wrong_ones(strict: FastAPI) -> None:
    with strict.state.database.session_scope() as session:
        make_account(session, "Anna", Role.RATER).password_hash = passwords.hashed("the right one")
    browser = visitor(strict)
    for _ in range(2):
        browser.post("/enter", data={"name": "Anna", "password": "a wrong one"})
    check_refused(browser.post("/enter", data={"name": "Anna", "password": "the right one"}))


@on_sqlite
def test_invites_are_not_guessed_for_long(strict: FastAPI) -> None:
    browser = visitor(strict)
    assert [browser.get("/join/guess").status_code for _ in range(3)] == [403] * 3
    check_refused(browser.get("/join/guess"))
    check_refused(browser.post("/join/guess", data={"name": "Anna"}))


@on_sqlite
def test_votes_are_counted_by_account(strict: FastAPI, tmp_path: Path) -> None:
    with strict.state.database.session_scope() as session:
        batch = make_study(session, tmp_path).batch
        ids = [make_account(session, name, Role.RATER, seat_in=batch).id for name in ("Anna", "Ben")]
    anna, ben = (client_for(strict, id_) for id_ in ids)
    for _ in range(2):
        assert choose(anna, batch.id, look(anna, batch.id).ballot_id, "a").status_code == 303
    ballot_id = look(anna, batch.id).ballot_id
    check_refused(choose(anna, batch.id, ballot_id, "a"))
    check_refused(anna.post(f"/vote/{batch.id}/undo", data={"ballot_id": ballot_id}))
    assert look(anna, batch.id).ballot_id == ballot_id, "reading goes on, and the pair is kept"
    assert choose(ben, batch.id, look(ben, batch.id).ballot_id, "a").status_code == 303


@on_sqlite
def test_programs_read_the_refusal_as_json(strict: FastAPI) -> None:
    def token(request: Request) -> str:
        return request.headers.get("authorization", "")

    @strict.get("/counted", dependencies=[limited("api", token)])
    def counted() -> str:
        return "fine"

    asks = {"Accept": "application/json"}
    browser = visitor(strict)
    assert browser.get("/counted", headers=asks | {"Authorization": "one"}).status_code == 200
    refused = browser.get("/counted", headers=asks | {"Authorization": "one"})
    assert (refused.status_code, list(refused.json())) == (429, ["error"])
    assert browser.get("/counted", headers=asks | {"Authorization": "two"}).status_code == 200


@on_sqlite
def test_a_header_does_not_change_the_address(strict: FastAPI) -> None:
    statuses = [
        visitor(strict).get("/join/guess", headers={"X-Forwarded-For": f"10.0.0.{n}", "Forwarded": f"for=10.0.0.{n}"})
        for n in range(4)
    ]
    assert [answer.status_code for answer in statuses] == [403, 403, 403, 429]


@pytest.mark.parametrize(
    ("host", "counted_as"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("testclient", "testclient"),
    ],
)
def test_a_household_is_one_address(host: str, counted_as: str) -> None:
    scope = {"type": "http", "client": (host, 1), "headers": []}
    assert address_of(Request(scope)) == counted_as
    assert address_of(Request({"type": "http", "client": None, "headers": []})) == ""


def test_a_fast_person_and_a_school_never_notice() -> None:
    usual = limits()
    for _ in range(500):  # votes within a minute
        usual.hit("vote", "anna")
    for _ in range(100):  # pupils behind one address
        usual.hit("join", "192.0.2.7")
    for _ in range(9):
        usual.hit("sign_in", "anna")


def test_an_empty_figure_is_no_limit() -> None:
    none = limits(limit_sign_in="")
    for _ in range(1000):
        none.hit("sign_in", "anna")


@pytest.mark.parametrize("text", ["many", "10", "10/fortnight", "-1/minute", "10/minute;"])
def test_a_figure_that_cannot_be_read_is_refused_at_the_start(text: str) -> None:
    with pytest.raises(ValueError, match="limit_vote"):
        limits(limit_vote=text)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(1, "1 second"), (2, "2 seconds"), (119, "119 seconds"), (120, "2 minutes"), (121, "3 minutes")],
)
def test_the_wait_is_told_in_words(seconds: int, words: str) -> None:
    assert in_words(seconds) == words


def count_until_refused(*processes: Limits) -> int:
    for done in range(50):
        try:
            processes[done % len(processes)].hit("join", "192.0.2.7")
        except TooManyError:
            return done
    raise AssertionError("never refused")


def test_processes_count_together_in_redis(redis_url: str) -> None:
    assert count_until_refused(*(limits(broker_url=redis_url, limit_join="10/hour") for _ in range(2))) == 10
    assert count_until_refused(*(limits(limit_join="10/hour") for _ in range(2))) == 20


def test_without_redis_each_process_counts_by_itself(unused_port: int) -> None:
    away = limits(broker_url=f"redis://127.0.0.1:{unused_port}/0", limit_join="10/hour")
    assert count_until_refused(away) == 10


@on_sqlite
def test_the_page_works_while_redis_is_away(database_url: str, tmp_path: Path, unused_port: int) -> None:
    with web_app(tmp_path, database_url, broker_url=f"redis://127.0.0.1:{unused_port}/0") as app:
        assert visitor(app).get("/join/guess").status_code == 403


@pytest.fixture
def unused_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
