"""Portions that a process beside this one stores: the same as stored here, or whole ones up to what went wrong."""

import multiprocessing
from pathlib import Path

import pytest
from sqlalchemy import func, select

from app.db import Database
from app.domain.errors import UnavailableError
from app.models import Pair, Verdict
from app.services import import_plan, import_write, imports
from app.services.import_gather import Gathered
from app.services.import_store import store_beside
from app.services.import_write import Writer
from tests.factories import NOW, RULES, write_rows
from tests.imported import exported, gathered, mismatches, store


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gathered:
    """Verdicts on ten pairs, two of which fit into a portion."""
    monkeypatch.setattr(import_write, "PORTION", 2)
    rows = [
        {"prompt": f"Question {number}?", "checkpoint_a": "x", "checkpoint_b": "y", "response_a": f"x{number}",
         "response_b": f"y{number}", "winner": winner, **voter}
        for number in range(10)
        for winner, voter in (("a", {"rater": "ann"}), ("tie", {"rater": "bob"}), ("b", {"judge": "mt"}))
    ]  # fmt: skip
    return gathered("plain", write_rows(tmp_path / "rows.jsonl", rows))


def run(database: Database, found: Gathered, name: str, told: list[int]) -> imports.Stored:
    """Import all of it as the command does."""
    planned = import_plan.plan(found, name)
    return imports.run(database, found, planned, secret=RULES.secret, clock=lambda: NOW, told=told.append)


def stored(database: Database) -> tuple[int, int]:
    """Pairs and verdicts."""
    with database.session_scope(write=False) as session:
        return session.scalar(select(func.count(Pair.id))) or 0, session.scalar(select(func.count(Verdict.id))) or 0


def test_it_stores_what_this_process_would_store(database: Database, found: Gathered) -> None:
    here = store(database, found, "here")
    told: list[int] = []
    assert run(database, found, "beside", told) == imports.Stored(complete=False, before=0)
    assert told == [0, 6, 6, 6, 6, 6]
    beside = import_plan.plan(found, "beside").ids.uuid("batch", 0)
    assert mismatches(database, beside) == []
    assert exported(database, beside) == exported(database, here)
    assert run(database, found, "beside", told) == imports.Stored(complete=True, before=30)
    assert multiprocessing.active_children() == []


def test_what_the_database_refuses_is_told_and_the_portions_before_it_stay(database: Database, found: Gathered) -> None:
    store(database, found, "refused", portions=0)
    planned = import_plan.plan(found, "refused")
    with database.session_scope() as session:
        begun = imports.begin(session, found, planned, secret=RULES.secret, now=NOW)
    rows = Writer(found, planned, begun, secret=RULES.secret).rows(range(2))

    def twice() -> None:
        with store_beside(database) as put:
            put(rows)
            put(rows)

    with pytest.raises(UnavailableError, match=r"could not be stored: .*(UNIQUE|unique).* give the same import again"):
        twice()
    assert stored(database) == (2, 6)
    told: list[int] = []
    assert run(database, found, "refused", told) == imports.Stored(complete=False, before=6)
    assert (told, stored(database)) == ([6, 6, 6, 6, 6], (10, 30))
    assert mismatches(database, begun.batch_id) == []


def test_a_process_that_is_killed_leaves_whole_portions(database: Database, found: Gathered) -> None:
    told: list[int] = []

    def kill(verdicts: int) -> None:
        told.append(verdicts)
        if len(told) == 3:
            [other] = multiprocessing.active_children()
            other.kill()
            other.join()

    planned = import_plan.plan(found, "killed")
    with pytest.raises(UnavailableError, match="the process that stores it has ended"):
        imports.run(database, found, planned, secret=RULES.secret, clock=lambda: NOW, told=kill)
    pairs, verdicts = stored(database)
    assert 2 <= pairs <= 4
    assert verdicts == 3 * pairs
    assert not run(database, found, "killed", told).complete
    assert mismatches(database, planned.ids.uuid("batch", 0)) == []
