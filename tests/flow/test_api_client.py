"""A program votes a whole eval batch over HTTP, as the page “API” tells it to, and the results move."""

from datetime import UTC, datetime
from pathlib import Path

import httpx

from app.config import Settings
from app.db import Database
from app.domain.terms import TokenScope
from app.services import accounts, tokens
from app.services.responses import Planned
from tests.browser.server import serve
from tests.factories import NOW, make_study

PROMPTS = 12


def longer(position: int, planned: Planned) -> str:
    """The challenger says more, so that a client that likes length has an opinion."""
    return f"Short, {planned.replicate}." + " And more." * (5 * position)


def vote_on_everything(arena: httpx.Client) -> int:
    """The client of the page, with its taste; returns the number of votes."""
    votes = 0
    while (shown := arena.get("/api/ballots/next").raise_for_status().json())["ballot"] is not None:
        ballot = shown["ballot"]
        choice = "a" if len(ballot["text_a"]) > len(ballot["text_b"]) else "b"
        address = f"/api/ballots/{ballot['ballot_id']}/verdict"
        assert arena.post(address, json={"choice": choice}).status_code == 201
        assert arena.post(address, json={"choice": choice}).status_code == 200  # as after an answer that was lost
        votes += 1
    assert shown["state"] == "finished"
    return votes


def test_a_program_votes_a_whole_eval_batch(database_url: str, tmp_path: Path) -> None:
    database = Database.at(database_url)
    with database.session_scope() as session:
        batch_id = make_study(session, tmp_path, prompts=PROMPTS, text=longer).batch.id
        admin = accounts.the_admin(session, now=NOW)
        scopes = (TokenScope.VOTE, TokenScope.RESULTS, TokenScope.METRICS)
        _, token = tokens.make(session, admin, "a program", scopes, now=datetime.now(UTC))
    database.engine.dispose()
    settings = Settings(_env_file=None, home=tmp_path, database_url=database_url, secret="a key for tests")
    headers = {"Authorization": f"Bearer {token}"}
    with serve(settings) as address, httpx.Client(base_url=address, headers=headers, trust_env=False) as arena:
        report = f"/api/batches/{batch_id}/report"
        (before,) = arena.get(report).raise_for_status().json()["matchups"]
        assert before["raters"]["all"]["n"] == 0
        assert vote_on_everything(arena) == PROMPTS
        (after,) = arena.get(report).raise_for_status().json()["matchups"]
        assert (after["raters"]["all"]["n"], after["raters"]["all"]["wins"]) == (PROMPTS, PROMPTS)
        assert after["sentence"] != before["sentence"]
        assert 'route="/api/ballots/{ballot_id}/verdict",status="201"' in arena.get("/metrics").text
