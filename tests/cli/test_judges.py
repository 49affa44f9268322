"""Judges from the terminal: adding, asking within a cap, going on, and attacks, with a simulated server at the end."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.cli import demo, judging
from app.cli.follow import JobEndedError
from app.config import get_settings
from app.db import Database
from app.demo_judges.script import Script
from app.demo_judges.server import DemoJudges, demo_judges
from app.demo_judges.tastes import Gullible, Longer
from app.domain.errors import ArenaError
from app.domain.terms import JobState
from app.models import Job, Judge, Verdict, Voter
from app.services.responses import Planned
from tests.command_line import Command
from tests.factories import make_study
from worker import judge as work
from worker.claim import claim

MODEL = "claude-haiku-5-5"
PAIRS = 4


def longer_second(position: int, planned: Planned) -> str:
    """The challenger always writes more."""
    return "much " * 10 * (position + 1) + planned.messages[-1].get("content", "")


@pytest.fixture
def server(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[DemoJudges]:
    """In Anthropic's place, for commands that bring no address."""
    with demo_judges(Script(taste=Longer(), tastes={})) as running:
        monkeypatch.setenv("ANTHROPIC_API_KEY", "simulated")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", running.url)
        monkeypatch.setenv("ARENA_JUDGE_RETRY_SECONDS", "0.01")
        get_settings.cache_clear()
        yield running


@pytest.fixture
def batch(database: Database, tmp_path: Path) -> str:
    with database.session_scope() as session:
        return make_study(session, tmp_path, prompts=PAIRS, text=longer_second).batch.name


@pytest.fixture
def worked(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Following a job does it, in this process; what a worker process does is tested in tests/flow."""

    def do(job_id: Any, **_: Any) -> None:
        taken = claim(job_id, worker="here")
        assert taken is not None
        error = ""
        try:
            work.run(taken, lambda: False)
        except ArenaError as stopped:
            error = stopped.message
        with database.session_scope() as session:
            taken.end(session, JobState.FAILED if error else JobState.DONE, error=error)
        if error:
            raise JobEndedError(error)

    monkeypatch.setattr(judging, "follow", do)


def add(arena: Command, name: str = "haiku", *more: Any) -> Any:
    said = arena("judges", "add", name, "--model", MODEL, "--json", *more)
    assert said.code == 0, said.err
    return json.loads(said.out)


def test_a_judge_is_added_listed_and_retired(server: DemoJudges, arena: Command) -> None:
    assert "No judge yet" in arena("judges", "list").out
    added = add(arena, "haiku", "--max-tokens", 500, "--effort", "low")
    assert (added["model"], added["rubric"].partition("@")[0], added["note"]) == (MODEL, "general", "")
    assert (added["parameters"]["max_tokens"], added["parameters"]["effort"]) == (500, "low")
    assert arena("judges", "retire", "Haiku").code == 0
    (row,) = json.loads(arena("judges", "list", "--json").out)
    assert row["retired_at"] is not None
    assert "max_tokens 500" in arena("judges", "list").out


def test_models_are_listed_with_the_day_on_which_they_retire(server: DemoJudges, arena: Command) -> None:
    rows = {row["model"]: row for row in json.loads(arena("judges", "models", "--json").out)}
    assert rows["claude-sonnet-4-5-20250929"]["retires"] == "2026-11-30"
    assert rows["claude-opus-4-20250514"]["state"] == "retired"
    local = arena("judges", "models", "--provider", "openai_compatible", "--base-url", server.completions_url)
    assert MODEL in local.out


def test_a_retired_or_unknown_model_is_refused_with_those_that_are_offered(server: DemoJudges, arena: Command) -> None:
    for model, reason in (("claude-opus-4-20250514", "is retired since 2026-06-15"), ("claude-9", "offers no model")):
        said = arena("judges", "add", "old", "--model", model)
        assert (said.code, said.out) == (1, "")
        assert reason in said.err
        assert MODEL in said.err
    assert json.loads(arena("judges", "list", "--json").out) == []


def test_without_a_key_a_judge_is_added_unasked_and_models_are_not_listed(
    server: DemoJudges, arena: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "")
    get_settings.cache_clear()
    assert "There is no key for Anthropic" in add(arena)["note"]
    said = arena("judges", "models")
    assert (said.code, said.out) == (1, "")
    assert "ANTHROPIC_API_KEY" in said.err


def test_money_is_not_spent_unasked(server: DemoJudges, batch: str, arena: Command, database: Database) -> None:
    add(arena)
    said = arena("judge", batch, "--judge", "haiku")
    assert said.code == 2
    assert "give --yes" in " ".join(said.err.replace("│", " ").split())
    assert "genai-prices" in said.out
    with database.session_scope(write=False) as session:
        assert session.query(Job).filter(Job.title.contains("haiku")).all() == []
    assert server.ledger.entries == ()


@pytest.mark.usefixtures("worked")
def test_a_judge_is_asked_and_only_for_what_is_missing(server: DemoJudges, batch: str, arena: Command) -> None:
    add(arena)
    server.simulation.script = replace(server.simulation.script, balance=3)
    stopped = arena("judge", batch, "--judge", "haiku", "--yes", "--json")
    assert stopped.code == 1
    assert "The balance at Anthropic is empty" in stopped.err
    (row,) = json.loads(stopped.out)["judges"]
    assert (row["state"], row["trouble"], row["verdicts"]) == ("stopped", "empty_balance", 3)
    server.simulation.script = replace(server.simulation.script, balance=None)
    again = arena("judge", batch, "--judge", "haiku", "--yes", "--json")
    assert (again.code, again.err) == (0, "")
    (row,) = json.loads(again.out)["judges"]
    assert (row["state"], row["verdicts"], row["unparsed"], row["unknown_calls"]) == ("done", 2 * PAIRS, 0, 0)
    assert 0 < row["spent_micro_dollars"] <= row["cap_micro_dollars"]
    assert server.ledger.charged == 2 * PAIRS
    third = arena("judge", batch, "--judge", "haiku")  # nothing is missing, so nothing has to be agreed to
    assert third.code == 0
    assert "0 pairs" in third.out
    assert server.ledger.charged == 2 * PAIRS


@pytest.mark.usefixtures("worked")
def test_a_cap_stops_it_with_a_sentence(server: DemoJudges, batch: str, arena: Command) -> None:
    add(arena)
    for wrong in ("0", "-1", "much", "nan"):
        assert arena("judge", batch, "--judge", "haiku", f"--cap={wrong}", "--yes").code == 2
    said = arena("judge", batch, "--judge", "haiku", "--cap", "0.0014", "--yes")
    assert said.code == 1
    assert "The cap of $0.0014 is reached" in said.err


@pytest.mark.usefixtures("worked")
def test_a_wrong_key_is_said_and_a_right_one_goes_on(
    server: DemoJudges, batch: str, arena: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(arena)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-mistyped")
    get_settings.cache_clear()
    said = arena("judge", batch, "--judge", "haiku", "--yes")
    assert said.code == 1
    assert "does not accept the key" in said.err
    assert "resume the judge" in said.err
    assert "sk-ant-mistyped" not in said.out + said.err
    assert server.ledger.charged == 0
    monkeypatch.setenv("ANTHROPIC_API_KEY", "simulated")
    get_settings.cache_clear()
    assert arena("judge", batch, "--judge", "haiku", "--yes").code == 0
    assert server.ledger.charged == 2 * PAIRS


@pytest.mark.usefixtures("worked")
def test_a_strong_judge_sees_what_a_cheap_one_was_torn_on(server: DemoJudges, batch: str, arena: Command) -> None:
    add(arena)
    added = arena("judges", "add", "opus", "--model", "claude-opus-5-5")
    assert added.code == 0
    alone = arena("judge", batch, "--judge", "opus", "--torn-after", "haiku", "--yes")
    assert alone.code == 1
    assert "haiku was not asked" in alone.err
    said = arena(
        "judge", batch, "--judge", "opus", "--judge", "haiku", "--torn-after", "haiku", "--cheap", "--yes", "--json"
    )
    assert said.code == 0
    first, second = json.loads(said.out)["judges"]
    assert (first["judge"], second["judge"], second["verdicts"]) == ("haiku", "opus", 0)


@pytest.mark.usefixtures("worked")
def test_a_local_server_needs_neither_key_nor_price(server: DemoJudges, batch: str, arena: Command) -> None:
    add(arena, "local", "--provider", "openai_compatible", "--base-url", server.completions_url)
    capped = arena("judge", batch, "--judge", "local", "--cap", "1")
    assert capped.code == 1
    assert "no cap can hold" in capped.err
    said = arena("judge", batch, "--judge", "local")
    assert said.code == 0
    assert "no price" in said.out
    assert server.ledger.charged == 2 * PAIRS


def test_attacks_take_in_a_gullible_judge_and_no_other(server: DemoJudges, arena: Command) -> None:
    add(arena)
    assert arena("judges", "attack", "haiku").code == 2  # it has a price, and nobody agreed
    server.simulation.script = replace(server.simulation.script, taste=Gullible())
    said = arena("judges", "attack", "haiku", "--yes", "--json")
    found = json.loads(said.out)
    assert (said.code, found["taken_in"] > 0) == (1, True)
    assert {gain["attack"] for gain in found["gains"] if gain["taken_in"]} >= {"ignore-previous"}


def test_the_judges_of_the_demonstration_are_labelled_and_ask_nobody_else(
    database: Database, arena: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "of somebody")
    get_settings.cache_clear()
    for _ in range(2):
        demo.offer(get_settings())
    with database.session_scope(write=False) as session:
        found = {voter.name: judge for judge, voter in session.query(Judge, Voter).join(Voter)}
        assert all(session.get_one(Voter, judge.voter_id).simulated for judge in found.values())
        assert session.query(Verdict).all() == []
    assert set(found) == set(demo.JUDGES)
    assert {judge.base_url for judge in found.values()} == {demo.URL}
