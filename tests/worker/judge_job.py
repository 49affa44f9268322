"""The judging job done in this process: asking, doing, going on, and looking at what is stored."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from app.db import Database
from app.demo_judges.script import Script
from app.demo_judges.server import DemoJudges, demo_judges
from app.demo_judges.tastes import Longer
from app.domain.terms import JobState
from app.models import EvalBatch, Judge, Judging
from app.services import judging
from tests.factories import NOW, RULES, make_study
from tests.judging import make_judge
from worker import judge as work
from worker.claim import claim

__all__ = ["batch", "server"]

PAIRS = 6
KEY = "simulated"


def never() -> bool:
    return False


def long_second(position: int, planned: Any) -> str:
    """The challenger always writes more."""
    return f"Member {position} says {'much ' * 10 * position}about {planned.messages[-1]['content']}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[DemoJudges]:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    monkeypatch.setenv("ARENA_SECRET", RULES.secret.decode())
    monkeypatch.setenv("ARENA_JUDGE_RETRY_SECONDS", "0.01")
    monkeypatch.setenv("ARENA_JUDGE_POLL_SECONDS", "0.01")
    work.get_settings.cache_clear()  # it may have been read before
    with demo_judges(Script(taste=Longer(), tastes={})) as running:
        yield running


@pytest.fixture
def batch(server: DemoJudges, database: Database, home: Path) -> EvalBatch:
    with database.session_scope() as session:
        return make_study(session, home, prompts=PAIRS, text=long_second).batch


def ask(database: Database, server: DemoJudges, batch: EvalBatch, name: str = "haiku", **how: Any) -> Judging:
    with database.session_scope() as session:
        judge = make_judge(session, server, name)
        return judging.ask(session, session.get_one(EvalBatch, batch.id), judge, now=NOW, **how)


def again(database: Database, asked: Judging, **how: Any) -> Judging:
    with database.session_scope() as session:
        row = session.get_one(Judging, asked.id)
        return judging.ask(
            session, session.get_one(EvalBatch, row.eval_batch_id), session.get_one(Judge, row.judge_id), now=NOW, **how
        )


def do(database: Database, asked: Judging, stop: Any = never) -> None:
    taken = claim(asked.job_id, worker="here")
    assert taken is not None
    try:
        work.run(taken, stop)
    except Exception:
        with database.session_scope() as session:
            taken.end(session, JobState.FAILED, error="told by the test")
        raise
    with database.session_scope() as session:
        taken.end(session, JobState.DONE)


def rows(database: Database, table: Any) -> list[Any]:
    with database.session_scope(write=False) as session:
        return list(session.scalars(select(table)))


def state(database: Database, asked: Judging) -> Judging:
    with database.session_scope(write=False) as session:
        return session.get_one(Judging, asked.id)
