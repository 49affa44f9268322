"""The bench on both databases: not how fast, but that no vote is lost, not even when the server is killed."""

import json
import random
import uuid
from pathlib import Path

import pytest
from sqlalchemy import delete, select, text, update
from sqlalchemy.exc import OperationalError

from app.bench import postgres as bench_postgres
from app.bench.arena import BenchArena, make_arena, settings_for
from app.bench.audit import audit
from app.bench.postgres import database_on
from app.db import Database, make_engine
from app.domain.errors import BadInputError
from app.domain.terms import Choice
from app.models import Account, Tally, Verdict, Voter
from app.services import assignment, voting
from app.setup.programs import find_postgres
from tests.command_line import Command
from tests.factories import NOW


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_no_vote_is_lost_or_doubled_though_the_server_is_killed(
    command: Command, request: pytest.FixtureRequest, database: str
) -> None:
    server = ["--database-url", request.getfixturevalue("postgres_server")] if database == "postgres" else []
    said = command("bench", "vote", "--raters", 4, "--votes", 40, "--database", database, *server, "--json")
    assert (said.code, said.err) == (0, "")
    [run] = json.loads(said.out)["runs"]
    audited = run["audit"]
    assert run["database"].startswith(database)
    assert (run["raters"], run["votes"], audited["stored"], run["holds"]) == (4, 40, 40, True)
    assert 32 < run["acknowledged_before_crash"] < 40
    assert (run["lost_in_crash"], audited["lost"], audited["doubled"], audited["uneven"]) == (0, 0, 0, 0)
    assert audited["mismatches"] == []


def test_figures_are_printed_with_a_sentence_about_the_votes(command: Command) -> None:
    said = command("bench", "vote", "--raters", 2, "--votes", 6)
    assert said.code == 0
    assert "vote : bare insert" in said.out
    assert "sqlite: all 6 acknowledged votes are there once (" in said.out


@pytest.fixture
def voted(tmp_path: Path) -> tuple[BenchArena, dict[uuid.UUID, str]]:
    """An arena of the bench with three votes, and what their raters were told."""
    arena = make_arena(settings_for(tmp_path, ""), raters=2, votes=4)
    database, acknowledged = Database.at(arena.settings.database), {}
    rules = assignment.Rules.of(arena.settings)
    with database.session_scope() as session:
        voter = session.scalars(select(Voter).join(Account, Account.voter_id == Voter.id)).first()
        assert voter is not None
        for choice in (Choice.A, Choice.B, Choice.TIE):
            rng = random.Random(1)  # noqa: S311
            ballot = assignment.issue(session, arena.batch_id, voter, rules=rules, now=NOW, rng=rng)
            assert ballot is not None
            voting.cast(session, ballot.id, voter, choice, rules=rules, now=NOW)
            acknowledged[ballot.id] = choice.value
    database.engine.dispose()
    return arena, acknowledged


def test_votes_that_are_all_there_pass_the_audit(voted: tuple[BenchArena, dict[uuid.UUID, str]]) -> None:
    found = audit(*voted)
    assert (found.holds, found.stored, found.lost, found.doubled, found.mismatches) == (True, 3, 0, 0, ())


def test_the_audit_sees_what_is_lost_changed_stored_unasked_or_miscounted(
    voted: tuple[BenchArena, dict[uuid.UUID, str]],
) -> None:
    arena, acknowledged = voted
    first, second, _ = acknowledged
    assert audit(arena, {**acknowledged, uuid.uuid4(): "a"}).lost == 1
    assert audit(arena, {**acknowledged, first: "b"}).lost == 1
    assert audit(arena, {first: "a", second: "b"}).doubled == 1
    database = Database.at(arena.settings.database)
    with database.session_scope() as session:
        session.execute(update(Tally).values(held=Tally.held + 1))
    assert not audit(arena, acknowledged).holds
    with database.session_scope() as session:
        session.execute(delete(Verdict).where(Verdict.ballot_id == first))
    database.engine.dispose()
    assert audit(arena, acknowledged).lost == 1


def test_a_postgres_is_started_where_none_is_named_and_gone_afterwards() -> None:
    if find_postgres() is None:
        pytest.skip("no Postgres programs on this machine")
    with database_on("") as url:
        engine = make_engine(url)
        with engine.connect() as connection:
            assert connection.execute(text("SHOW fsync")).scalar() == "on"
        engine.dispose()
    with pytest.raises(OperationalError), make_engine(url).connect():
        pass


def test_a_machine_without_postgres_is_told_what_to_give(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_postgres, "find_postgres", lambda: None)
    with pytest.raises(BadInputError, match="no Postgres to start"), database_on(""):
        pass


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--raters", 3, "--votes", 2], "2 votes do not go round 3 raters"),
        (["--database", "postgres", "--database-url", "sqlite:///x.db"], "must name a Postgres server"),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[object], reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    said = command("bench", "vote", *arguments)
    assert (said.code, said.out) == (1, "")
    assert reason in said.err
