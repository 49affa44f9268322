"""How SQLite looks for things: it has no statistics, so where it begins to read is the query's to say."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.orm import Session

from app.domain.terms import Choice
from app.queries.blindness import answers_of
from app.services import assignment, voting
from tests.factories import NOW, RULES, make_rater, make_study
from tests.fixtures import on_sqlite

pytestmark = on_sqlite


def plans(session: Session, read: Callable[[], object]) -> list[str]:
    """The steps of every statement that ``read`` sends."""
    sent: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        sent.append((statement, parameters))

    engine = session.get_bind()
    event.listen(engine, "before_cursor_execute", note)
    try:
        read()
    finally:
        event.remove(engine, "before_cursor_execute", note)
    connection: Connection = session.connection()
    return [row[3] for one in sent for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {one[0]}", one[1])]


def test_votes_are_looked_up_for_the_answers_and_not_answers_for_all_votes(session: Session, tmp_path: Path) -> None:
    batch = make_study(session, tmp_path, prompts=3).batch
    voter, rng = make_rater(session), random.Random(1)  # noqa: S311
    ballot = assignment.issue(session, batch.id, voter, rules=RULES, now=NOW, rng=rng)
    voting.cast(session, ballot.id, voter, Choice.A, rules=RULES, now=NOW)
    voting.recognise(session, ballot.id, voter, True, rules=RULES, now=NOW)
    steps = plans(session, lambda: answers_of(session, batch.id))
    assert steps.count("SCAN recognition") == 1
    assert not [step for step in steps if step.startswith(("SCAN ballot", "SCAN verdict"))]
    assert [step for step in steps if step.startswith("SEARCH ballot USING INDEX") and "(id=?)" in step]
