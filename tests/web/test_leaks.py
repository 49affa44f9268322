"""Texts that name their author: told to admins beside the result and, after the reveal, on the pairs; not to voters."""

import html
import random
import re
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx2 import Response as Answer
from sqlalchemy import select

from app.domain.terms import Choice, Reveal
from app.models import EvalBatch, Pair
from app.services import assignment, eval_batches, voting
from app.services.responses import Planned
from tests.factories import NOW, RULES, Study, make_rater, make_study, pairs_of, plain_text, question
from tests.fixtures import on_sqlite
from tests.web.ballots import choose, look
from tests.web.ballots import seated as at_the_page
from tests.web.programs import seated as at_the_api

TO = "\N{EN DASH}"
NAMED = "Qwen"
TELLS = f"As {NAMED}, I would not know."
ANY = {"leak", "flag", "identif", "names its author", "who wrote it", "unblind"}
"""What could tell a voter that a text was found out; the texts themselves are theirs to read."""


def some_tell(member: int, planned: Planned) -> str:
    """The challenger names itself on the first two prompts."""
    tells = member == 1 and question(planned) in ("Question number 0?", "Question number 1?")
    return TELLS + f" {question(planned)}" if tells else plain_text(member, planned)


def deep(member: int, planned: Planned) -> str:
    """The same with a name that no suite and no page of ours holds."""
    return some_tell(member, planned).replace(NAMED, "DeepSeek")


@pytest.fixture
def telling(app: FastAPI, tmp_path: Path) -> Study:
    with app.state.database.session_scope() as session:
        return make_study(session, tmp_path, text=some_tell, ask_recognised=True)


def vote(app: FastAPI, study: Study, recognised: bool | None = None) -> None:
    """One rater prefers A everywhere and says each time whether they recognised one."""
    with app.state.database.session_scope() as session:
        voter, rng = make_rater(session, "ines"), random.Random(5)  # noqa: S311
        while (ballot := assignment.issue(session, study.batch.id, voter, rules=RULES, now=NOW, rng=rng)) is not None:
            voting.cast(session, ballot.id, voter, Choice.A, rules=RULES, now=NOW)
            if recognised is not None:
                voting.recognise(session, ballot.id, voter, recognised, rules=RULES, now=NOW)


def close(app: FastAPI, study: Study) -> None:
    with app.state.database.session_scope() as session:
        eval_batches.close(session, session.get_one(EvalBatch, study.batch.id), now=NOW)


def text_of(client: TestClient, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200, address
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", answer.text)))


# ------------------------------------------------------------------------------------------------ the results


def test_the_results_say_how_many_pairs_and_what_is_left_without_them(
    app: FastAPI, admin: TestClient, telling: Study
) -> None:
    before = text_of(admin, f"/results/{telling.batch.id}")
    assert "Could anybody tell?" in before
    assert "In 2 of 4 pairs a text says who wrote it." in before
    assert "nobody has answered yet." in before
    vote(app, telling, recognised=True)
    after = text_of(admin, f"/results/{telling.batch.id}/more")
    assert "In 4 of 4 answers (100%) a rater thought that they recognised who wrote one of the texts." in after
    assert "Without these votes: No votes yet on brie-v1/epoch-2 against tiny." in after
    assert re.search(rf"without pairs that name an author (2{TO}0{TO}0|0{TO}2{TO}0|1{TO}1{TO}0) {TO} too early", after)
    assert f"without votes that recognised one 0{TO}0{TO}0 {TO} too early" in after


@on_sqlite
def test_where_nothing_is_flagged_and_nobody_asked_two_sentences_are_enough(
    app: FastAPI, admin: TestClient, study: Study
) -> None:
    told = text_of(admin, f"/results/{study.batch.id}")
    assert "In none of the 4 pairs does a text say who wrote it." in told
    assert "Raters are not asked whether they recognised who wrote one of the texts." in told
    assert "The numbers with and without them" not in told
    assert "Without" not in told


@on_sqlite
@pytest.mark.parametrize("reveal", Reveal)
def test_no_page_says_before_the_reveal_what_a_text_was_flagged_for(
    app: FastAPI, admin: TestClient, tmp_path: Path, reveal: Reveal
) -> None:
    with app.state.database.session_scope() as session:
        study = make_study(
            session, tmp_path, text=lambda m, p: some_tell(m, p).replace(NAMED, "DeepSeek"), reveal=reveal
        )
        pair_id = pairs_of(session, study.batch)[0].id
    vote(app, study)
    batch = f"/batches/{study.batch.id}"
    pages = (
        f"/results/{study.batch.id}",
        batch,
        f"{batch}/pairs",
        f"{batch}/pairs?flagged=true",
        f"{batch}/pairs/{pair_id}",
    )
    for page in pages:
        assert "DeepSeek" not in text_of(admin, page), page
    close(app, study)
    assert ("DeepSeek" in text_of(admin, f"{batch}/pairs?flagged=true")) is (reveal is Reveal.AT_CLOSE)


@on_sqlite
def test_the_page_of_the_batch_says_it_in_one_line(app: FastAPI, admin: TestClient, telling: Study) -> None:
    line = "In 2 of the pairs a text says who wrote it; the results are told with and without them."
    for address in (f"/batches/{telling.batch.id}", f"/batches/{telling.batch.id}/progress"):
        assert line in text_of(admin, address)


@on_sqlite
def test_the_page_of_a_batch_without_such_a_text_says_nothing(admin: TestClient, study: Study) -> None:
    assert "who wrote it" not in text_of(admin, f"/batches/{study.batch.id}")


# ------------------------------------------------------------------------------------------------ the pairs


def test_flagged_pairs_can_be_asked_for_and_show_the_words(app: FastAPI, admin: TestClient, telling: Study) -> None:
    close(app, telling)
    pairs = f"/batches/{telling.batch.id}/pairs"
    everything, asked = text_of(admin, pairs), admin.get(f"{pairs}?flagged=true")
    assert everything.count("a text names its author") == 2
    assert f"1{TO}4 of 4" in everything
    told = re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", asked.text)))
    assert f"1{TO}2 of 2 pairs that fit" in told
    assert 'value="true" selected' in asked.text
    link = re.search(rf'href="({pairs}/[0-9a-f-]{{36}}\?flagged=true)"', asked.text)
    assert link is not None
    one = text_of(admin, link[1])
    assert "A text names its author. The results are told with this pair and without it." in one
    assert f"says “{NAMED}”" in one
    assert "1 of 2 that fit" in one
    with app.state.database.session_scope(write=False) as session:
        other = session.scalars(select(Pair.id).where(Pair.self_identifies.is_(False)).limit(1)).one()
    assert "names its author" not in text_of(admin, f"{pairs}/{other}")


@on_sqlite
def test_an_old_pair_is_not_said_to_be_counted_as_flagged(app: FastAPI, admin: TestClient, telling: Study) -> None:
    with app.state.database.session_scope() as session:
        for pair in session.scalars(select(Pair)):
            pair.self_identifies = None
    close(app, telling)
    pairs = f"/batches/{telling.batch.id}/pairs"
    listed = admin.get(pairs).text
    assert "names its author" not in listed
    assert 'name="flagged"' not in listed
    assert "None of the 4 pairs fits." in text_of(admin, f"{pairs}?flagged=true")
    pages = [
        text_of(admin, f"{pairs}/{found}") for found in set(re.findall(rf'href="{pairs}/([0-9a-f-]{{36}})', listed))
    ]
    assert sum("from before texts were looked at" in page for page in pages) == 2


# ------------------------------------------------------------------------------------------------ the voting path


def walk_the_page(client: TestClient, batch_id: uuid.UUID) -> Iterator[Answer]:
    address = f"/vote/{batch_id}"
    while (ballot := look(client, batch_id)).ballot_id is not None:
        yield client.get(address)
        yield client.get(f"{address}/ballot")
        yield choose(client, batch_id, ballot.ballot_id, "a", reason="so")
        yield client.get(address)
        yield client.post(f"{address}/recognised", data={"ballot_id": ballot.ballot_id, "answer": "yes"})
    yield client.get(address)


def walk_the_api(client: TestClient) -> Iterator[Answer]:
    while True:
        shown = client.get("/api/ballots/next")
        yield shown
        if shown.json()["ballot"] is None:
            return
        address = f"/api/ballots/{shown.json()['ballot']['ballot_id']}"
        yield client.post(f"{address}/verdict", json={"choice": "a"})
        yield client.post(f"{address}/recognised", json={"recognised": True})


def test_no_byte_of_the_voting_path_tells_of_a_flag(app: FastAPI, tmp_path: Path) -> None:
    """All but the texts is looked at: bodies, headers, cookies, of the page and of the API."""
    with app.state.database.session_scope() as session:
        telling = make_study(session, tmp_path, text=some_tell, ask_recognised=True, votes_per_pair=2)
    page, program = at_the_page(app, "one", telling.batch), at_the_api(app, "two", telling.batch)
    answers = [*walk_the_page(page, telling.batch.id), *walk_the_api(program)]
    assert len(answers) > 12
    shown = 0
    for answer in answers:
        told = f"{answer.headers} {html.unescape(answer.text)}"
        shown += TELLS in told
        rest = told.replace(TELLS, "").lower()
        assert NAMED.lower() not in rest, answer.request.url
        assert {word for word in ANY if word in rest} == set(), answer.request.url
    assert shown >= 4
