"""The pages of judges, through the application: on both databases where rows are counted."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select

from app.demo_judges.script import Script
from app.demo_judges.server import DemoJudges, demo_judges
from app.domain.terms import JudgingState, Role, Trouble, UnparsedReason
from app.models import EvalBatch, Judge, Judging, Voter
from app.providers.errors import LostReplyError, OverloadedError
from app.services import judging
from tests.factories import NOW, Study, client_for, make_account
from tests.fixtures import on_sqlite
from tests.judged import OPUS, a_judge, reply, work

KEY = "sk-ant-nobody-may-read-this"


def plain(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page)).replace("\N{NARROW NO-BREAK SPACE}", "")


def give_key(app: FastAPI, key: str = KEY, url: str = "") -> None:
    more = {"anthropic_api_key": key, "openai_api_key": key, "anthropic_base_url": url}
    app.state.settings = app.state.settings.model_copy(update=more)


@pytest.fixture(scope="module")
def server() -> Iterator[DemoJudges]:
    with demo_judges(Script(key=KEY)) as running:
        yield running


def judges(app: FastAPI) -> list[tuple[str, Judge]]:
    with app.state.database.session_scope(write=False) as session:
        found = session.execute(select(Voter.name, Judge).join(Judge, Judge.voter_id == Voter.id).order_by(Voter.name))
        return [(name, judge) for name, judge in found]


def add(admin: TestClient, **form: Any) -> Any:
    return admin.post("/judges", data={"provider": "anthropic", "rubric": "general@1"} | form)


@on_sqlite
def test_a_judge_is_added_retired_and_brought_back(app: FastAPI, admin: TestClient) -> None:
    assert "No judge yet" in admin.get("/judges").text
    form = admin.get("/judges/add").text
    assert [f'value="{model}"' in form for model in (OPUS, "claude-sonnet-5-5", "claude-haiku-5-5")] == [True] * 3
    made = add(admin, model=OPUS, max_tokens="700", effort="low")
    assert made.status_code == 303
    ((name, judge),) = judges(app)
    assert (name, judge.model, judge.rubric_name) == (f"{OPUS} general", OPUS, "general")
    assert judge.parameters == {"max_tokens": 700, "effort": "low", "thinking": None, "temperature": None}
    here = f"/judges/{judge.id}"
    page = plain(admin.get(here).text)
    assert judge.fingerprint in page
    assert "at most 700 tokens, low effort" in page
    assert "Does it do what was asked?" in page, "the rubric that it reads"
    assert "not asked yet" in plain(admin.get("/judges").text)
    assert admin.post(f"{here}/retire").status_code == 303
    assert "retired" in plain(admin.get("/judges/list").text)
    assert admin.post(f"{here}/restore").status_code == 303
    assert "retired" not in plain(admin.get("/judges/list").text)


@on_sqlite
@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"model": ""}, 422),
        ({"model": OPUS, "max_tokens": "1"}, 422),
        ({"model": OPUS, "max_tokens": "many"}, 422),
        ({"model": OPUS, "effort": "heroic"}, 422),
        ({"model": OPUS, "rubric": "none@3"}, 404),
        ({"model": OPUS, "provider": "nobody"}, 422),
        ({"model": "llama3", "provider": "openai_compatible"}, 422),
        ({"model": "llama3", "provider": "openai_compatible", "base_url": "ollama"}, 422),
        ({"model": OPUS, "name": "x" * 121}, 422),
    ],
    ids=str,
)
def test_a_judge_that_makes_no_sense_is_not_added(
    app: FastAPI, admin: TestClient, form: dict[str, str], status: int
) -> None:
    answer = add(admin, **form)
    assert (answer.status_code, 'id="error"' in answer.text) == (status, True)
    assert judges(app) == []


@on_sqlite
def test_the_same_judge_is_not_there_twice(admin: TestClient) -> None:
    assert add(admin, typed_model=f" {OPUS} ", name="one").status_code == 303
    assert add(admin, model=OPUS, name="two").status_code == 409
    assert add(admin, model=OPUS, name="ONE", max_tokens="900").status_code == 409


@on_sqlite
def test_another_server_takes_a_temperature_and_its_address(app: FastAPI, admin: TestClient) -> None:
    assert 'name="base_url"' in admin.get("/judges/add?provider=openai_compatible").text
    form = {"base_url": "http://127.0.0.1:9/v1", "typed_model": "llama3", "temperature": "0", "effort": "low"}
    add(admin, provider="openai_compatible", simulated="true", **form)
    ((_, judge),) = judges(app)
    assert (judge.base_url, judge.parameters["temperature"], judge.parameters["effort"]) == (form["base_url"], 0, None)
    assert "simulated" in plain(admin.get("/judges").text)
    assert "a server only plays this judge" in plain(admin.get(f"/judges/{judge.id}").text)


@on_sqlite
def test_the_list_of_models_comes_with_its_dates(app: FastAPI, admin: TestClient, server: DemoJudges) -> None:
    give_key(app, url=server.url)
    page = admin.post("/judges/models", data={"provider": "anthropic", "name": "kept", "rubric": "coding-maths@1"}).text
    said = plain(page)
    assert "6 models" in said
    assert "deprecated, retires on 30 November 2026" in said
    assert "retired on 15 June 2026" in said
    assert re.search(r'value="claude-opus-4-20250514" disabled', page)
    assert 'value="kept"' in page, "what was filled in stays"
    assert re.search(r'value="coding-maths@1" checked', page)
    local = admin.post("/judges/models", data={"provider": "openai_compatible", "base_url": server.completions_url})
    assert "models, as the server lists them now" in plain(local.text)


@on_sqlite
@pytest.mark.parametrize(
    ("key", "form", "sentence"),
    [
        ("", {}, "There is no key for Anthropic"),
        ("wrong", {}, "does not accept the key"),
        ("k\u00e9y", {}, "does not accept the key"),
        (KEY, {"provider": "openai_compatible", "base_url": "http://127.0.0.1:1/v1"}, "cannot be reached"),
        (KEY, {"provider": "openai_compatible", "base_url": "nowhere"}, "no address of a server"),
    ],
    ids=["no key", "wrong key", "odd key", "no network", "no address"],
)
def test_why_there_is_no_list_is_said_in_place(
    app: FastAPI, admin: TestClient, server: DemoJudges, key: str, form: dict[str, str], sentence: str
) -> None:
    give_key(app, key, server.url)
    answer = admin.post("/judges/models", data={"provider": "anthropic", "typed_model": "kept"} | form)
    assert answer.status_code == 200
    assert sentence in plain(answer.text)
    assert 'value="kept"' in answer.text


@on_sqlite
def test_pages_ask_no_provider_by_themselves(app: FastAPI, admin: TestClient, study: Study, server: DemoJudges) -> None:
    give_key(app, url=server.url)
    judged(app, study, most=2)
    before = server.ledger.charged, len(server.ledger.entries)
    for path in ("/judges", "/judges/add", f"/judges/{judges(app)[0][1].id}", f"/batches/{study.batch.id}"):
        assert admin.get(path).status_code == 200
    assert (server.ledger.charged, len(server.ledger.entries)) == before


@on_sqlite
def test_no_page_shows_a_key(app: FastAPI, admin: TestClient, study: Study) -> None:
    asked = judged(app, study)
    assert "needed only for judges" in plain(admin.get("/settings").text)
    give_key(app)
    for path in ("/judges", "/judges/add", f"/judges/{asked.judge_id}", f"/judges/{asked.judge_id}/calls",
                 f"/batches/{study.batch.id}", "/settings"):  # fmt: skip
        page = admin.get(path).text
        assert KEY not in page, path
    assert "ANTHROPIC_API_KEY (set)" in plain(page)
    assert "Key for judges at Anthropic there" in plain(page)


@on_sqlite
def test_rubrics_are_shown_in_full(admin: TestClient) -> None:
    page = plain(admin.get("/judges/rubrics/philosophy-creative").text)
    assert "philosophy-creative v1" in page
    assert admin.get("/judges/rubrics/none").status_code == 404


def judged(app: FastAPI, study: Study, answers: Any = None, name: str = "haiku", **how: Any) -> Judging:
    """A judge that was asked about the study, and has worked."""
    most = how.pop("most", 10_000)
    with app.state.database.session_scope() as session:
        judge = a_judge(session, name, **how.pop("judge", {}))
        batch = session.get_one(EvalBatch, study.batch.id)
        asked = judging.ask(session, batch, judge, now=NOW, **{"cap": 2_000_000, "projected": 900_000} | how)
        work(session, asked, most=most, **{"answers": answers} if answers else {})
        return asked


def end(app: FastAPI, asked: Judging, state: JudgingState, **why: Any) -> None:
    """What the worker does at the end."""
    from app import jobs  # noqa: PLC0415
    from app.domain.terms import JobState  # noqa: PLC0415
    from app.models import Job  # noqa: PLC0415

    with app.state.database.session_scope() as session:
        row = session.get_one(Judging, asked.id)
        job = session.get_one(Job, row.job_id)
        judging.end(session, row, state, now=NOW, **why)
        jobs.finish(session, job, JobState.DONE if state is JudgingState.DONE else JobState.FAILED, now=NOW)


def odd(number: int, _: Any) -> Any:
    """Every kind of trouble that one call can have."""
    return {
        1: reply(text="no choice at all"),
        3: OverloadedError("Anthropic"),
        5: LostReplyError("Anthropic"),
    }.get(number, reply("A"))


def test_what_a_judge_did_is_counted(app: FastAPI, admin: TestClient, study: Study) -> None:
    asked = judged(app, study, odd)
    end(app, asked, JudgingState.DONE)
    page = plain(admin.get(f"/judges/{asked.judge_id}").text)
    assert "8 verdicts" in page
    assert "1 of 9 replies (11%) held no choice: 1 not in the form that was asked for" in page
    assert "2 of 11 calls brought no reply:" in page
    assert "1 overloaded" in page
    assert "1 lost reply" in page
    assert re.search(r"\$0\.\d{4} spent, up to \$0\.\d{4} unknown, of at most \$2\.00", page)
    row = plain(admin.get("/judges").text)
    assert "1 eval batch" in row
    assert "unknown" in row
    panel = plain(admin.get(f"/batches/{study.batch.id}/judges").text)
    assert "The judge has said everything that was asked" in panel
    assert "Resume" not in panel


def test_all_raw_calls_come_as_a_file(app: FastAPI, admin: TestClient, study: Study) -> None:
    asked = judged(app, study, odd)
    answer = admin.get(f"/judges/{asked.judge_id}/calls")
    assert "attachment" in answer.headers["content-disposition"]
    rows = [json.loads(line) for line in answer.text.splitlines()]
    assert len(rows) == len({row["call_id"] for row in rows}) == 11
    assert [row["unparsed"] for row in rows if row["unparsed"]] == [UnparsedReason.SCHEMA]
    assert {row["trouble"] for row in rows if row["trouble"]} == {Trouble.OVERLOADED, Trouble.LOST_REPLY}
    assert all("response_a" in row["request"]["user"] for row in rows)
    assert all(row["cost_micro_dollars"] and row["raw"] for row in rows if row["state"] == "verdict")
    names = [checkpoint.name for checkpoint in study.adapters] + [study.base.name]
    assert not [name for name in names if name in answer.text], "a request is as blind as a page"


def test_more_calls_than_one_chunk_come_once_each(
    app: FastAPI, admin: TestClient, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.queries.judges._CHUNK", 3)
    asked = judged(app, study, odd)
    rows = [json.loads(line) for line in admin.get(f"/judges/{asked.judge_id}/calls").text.splitlines()]
    assert len(rows) == len({row["call_id"] for row in rows}) == 11


@on_sqlite
def test_a_rater_sees_nothing_of_judges(app: FastAPI, study: Study) -> None:
    asked = judged(app, study)
    with app.state.database.session_scope() as session:
        account_id = make_account(session, "Anna", Role.RATER, seat_in=study.batch).id
    anna = client_for(app, account_id)
    for path in ("/judges", f"/judges/{asked.judge_id}", f"/judges/{asked.judge_id}/calls",
                 f"/batches/{study.batch.id}/judges", f"/batches/{study.batch.id}/projection"):  # fmt: skip
        assert anna.get(path).status_code == 403, path
    for path in ("/", f"/vote/{study.batch.id}", f"/vote/{study.batch.id}/ballot"):
        page = anna.get(path).text
        assert not [word for word in ("haiku", "/judges", "Judge", str(asked.id), str(asked.judge_id)) if word in page]
