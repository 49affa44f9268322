"""What a rater is told of their own votes, and when."""

import random
import re
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select

from app.domain.blinding import choice_for
from app.domain.terms import Choice, Outcome, PairKind, Reveal
from app.models import Ballot, EvalBatch, Pair, Voter
from app.services import assignment, eval_batches, voting
from app.services.eval_batches import LaunchPlan
from tests.factories import NOW, RULES, Study, make_study, write_responses
from tests.fixtures import on_sqlite
from tests.web.ballots import seated


def dice() -> random.Random:
    return random.Random(3)  # noqa: S311 - the same pairs every time


def vote(app: FastAPI, batch: EvalBatch, outcomes: list[Outcome], *, name: str = "somebody") -> None:
    """One vote for each outcome, on whatever comes next."""
    with app.state.database.session_scope() as session:
        voter = session.scalars(select(Voter).where(Voter.name == name)).one()
        rng = dice()
        for outcome in outcomes:
            ballot = assignment.issue(session, batch.id, voter, rules=RULES, now=NOW, rng=rng)
            assert ballot is not None
            voting.cast(
                session, ballot.id, voter, choice_for(outcome, ballot.order), rules=RULES, now=NOW, reason="because so"
            )


def close(app: FastAPI, batch: EvalBatch) -> None:
    with app.state.database.session_scope() as session:
        eval_batches.close(session, session.get_one(EvalBatch, batch.id), now=NOW)


def voted(app: FastAPI, folder: Path, outcomes: list[Outcome], **plan: Any) -> tuple[TestClient, Study]:
    with app.state.database.session_scope() as session:
        study = make_study(session, folder, **plan)
    client = seated(app, "somebody", study.batch)
    vote(app, study.batch, outcomes)
    return client, study


def words(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_after_the_end_every_vote_is_told_with_its_authors(app: FastAPI, tmp_path: Path) -> None:
    client, study = voted(app, tmp_path, [Outcome.SECOND, Outcome.SECOND, Outcome.FIRST, Outcome.TIE])
    close(app, study.batch)
    page = client.get(f"/vote/{study.batch.id}/yours")
    told = words(page.text)
    with app.state.database.session_scope(write=False) as session:
        base = session.get_one(type(study.base), study.base.id).name
    assert page.status_code == 200
    assert "Of your 4 votes, 2 preferred brie-v1/epoch-2, 1 preferred " in told
    assert "and 1 was a tie." in told
    assert told.count("because so") == 4
    assert told.count("your choice") == 3
    assert base in told
    for section in re.findall(r'<article class="own-text".*?</article>', page.text, re.DOTALL):
        assert ("brie-v1" in section.split("</h3>")[0]) == ("Member 1 on" in section), "each name over its own text"


def test_the_chosen_side_is_the_one_that_was_chosen(app: FastAPI, tmp_path: Path) -> None:
    client, study = voted(app, tmp_path, [Outcome.SECOND] * 4)
    close(app, study.batch)
    page = client.get(f"/vote/{study.batch.id}/yours").text
    chosen = [
        section
        for section in re.findall(r'<article class="own-text".*?</article>', page, re.DOTALL)
        if "your choice" in section
    ]
    assert len(chosen) == 4
    assert all("Member 1 on" in section for section in chosen)


@pytest.mark.parametrize(
    ("reveal", "closed", "sentence"),
    [
        (Reveal.AT_CLOSE, False, "Voting is still open."),
        (Reveal.NEVER, False, "nobody is told who wrote which text"),
        (Reveal.NEVER, True, "nobody is told who wrote which text"),
    ],
)
@on_sqlite
def test_before_the_reveal_and_without_one_no_name_and_no_text_is_there(
    app: FastAPI, tmp_path: Path, reveal: Reveal, closed: bool, sentence: str
) -> None:
    client, study = voted(app, tmp_path, [Outcome.SECOND] * 4, reveal=reveal)
    if closed:
        close(app, study.batch)
    page = client.get(f"/vote/{study.batch.id}/yours")
    assert (page.status_code, sentence in page.text) == (200, True)
    assert not [name for name in ("brie-v1", "tiny", "Member", "Question", study.batch.name) if name in page.text]
    end = client.get(f"/vote/{study.batch.id}").text
    assert "/yours" not in end
    assert "brie-v1" not in end


@on_sqlite
def test_the_end_leads_to_the_own_votes_where_there_are_some(app: FastAPI, tmp_path: Path) -> None:
    client, study = voted(app, tmp_path, [Outcome.TIE])
    close(app, study.batch)
    link = f'href="/vote/{study.batch.id}/yours"'
    assert link in client.get(f"/vote/{study.batch.id}").text
    other = seated(app, "other", study.batch)
    assert link not in other.get(f"/vote/{study.batch.id}").text
    assert "You have no votes in this comparison" in other.get(f"/vote/{study.batch.id}/yours").text


def test_checks_are_said_to_be_checks_and_are_not_counted(app: FastAPI, tmp_path: Path) -> None:
    client, study = voted(app, tmp_path, [Outcome.SECOND] * 10, prompts=8, repeat_pairs=2)
    with app.state.database.session_scope() as session:
        placebo = session.scalars(
            select(Pair).join(Ballot, Ballot.pair_id == Pair.id).where(Ballot.is_repeat.is_(False)).order_by(Pair.id)
        ).first()
        assert placebo is not None
        again = set(session.scalars(select(Ballot.pair_id).where(Ballot.is_repeat)))
        assert len(again) == 2
        gold = next(pair for pair in session.scalars(select(Pair).order_by(Pair.id)) if pair.id not in again)
        gold.kind = PairKind.GOLD
    close(app, study.batch)
    told = words(client.get(f"/vote/{study.batch.id}/yours").text)
    assert "Of your 7 votes, 7 preferred brie-v1/epoch-2." in told
    assert "3 more were checks" in told
    assert told.count("A check: you were shown this pair twice") == 2
    assert told.count("A check: one of these texts was known to be the better one") == 1


def test_a_vote_taken_back_is_not_told(app: FastAPI, tmp_path: Path) -> None:
    client, study = voted(app, tmp_path, [Outcome.SECOND])
    with app.state.database.session_scope() as session:
        voter = session.scalars(select(Voter).where(Voter.name == "somebody")).one()
        ballot = session.scalars(select(Ballot)).one()
        voting.undo(session, ballot.id, voter, rules=RULES, now=NOW)
    close(app, study.batch)
    assert "You have no votes in this comparison" in client.get(f"/vote/{study.batch.id}/yours").text


def test_authors_of_texts_that_are_still_voted_on_elsewhere_stay_unnamed(app: FastAPI, tmp_path: Path) -> None:
    client, study = voted(app, tmp_path, [Outcome.SECOND] * 4)
    close(app, study.batch)
    with app.state.database.session_scope() as session:
        plan = LaunchPlan(suite=study.suite.name, challengers=(study.adapters[0].name,), name="the same texts again")
        other = eval_batches.launch(session, plan, secret=RULES.secret, now=NOW)
        write_responses(session, other)
    page = client.get(f"/vote/{study.batch.id}/yours")
    told = words(page.text)
    assert "Of your 4 votes, 4 cannot be told yet." in told
    assert "still being voted on in another comparison" in told
    assert not [name for name in ("brie-v1", "tiny", "the same texts again") if name in page.text]
    close(app, other)
    assert "4 preferred brie-v1/epoch-2" in words(client.get(f"/vote/{study.batch.id}/yours").text)


@on_sqlite
def test_many_votes_come_page_by_page(app: FastAPI, tmp_path: Path) -> None:
    client, study = voted(app, tmp_path, [Outcome.FIRST] * 23, prompts=23)
    close(app, study.batch)
    numbers: list[int] = []
    for page in (1, 2, 3):
        told = client.get(f"/vote/{study.batch.id}/yours?page={page}").text
        numbers += [int(number) for number in re.findall(r'<h2 id="vote-(\d+)">', told)]
    assert numbers == list(range(1, 24))
    assert client.get(f"/vote/{study.batch.id}/yours?page=99").status_code == 200
    assert client.get(f"/vote/{study.batch.id}/yours?page=0").status_code == 422


@on_sqlite
def test_both_bad_and_ties_are_told_as_they_were_said(app: FastAPI, tmp_path: Path) -> None:
    client, study = voted(app, tmp_path, [Outcome.TIE])
    with app.state.database.session_scope() as session:
        voter = session.scalars(select(Voter).where(Voter.name == "somebody")).one()
        ballot = assignment.issue(session, study.batch.id, voter, rules=RULES, now=NOW, rng=dice())
        assert ballot is not None
        voting.cast(session, ballot.id, voter, Choice.BOTH_BAD, rules=RULES, now=NOW)
    close(app, study.batch)
    told = words(client.get(f"/vote/{study.batch.id}/yours").text)
    assert "You said: a tie" in told
    assert "You said: both bad" in told
    assert "Of your 2 votes, 2 were ties." in told
