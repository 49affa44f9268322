"""Every edit behind the back of the arena is found and named."""

import random
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import pytest
from sqlalchemy import Column, Connection, Engine, delete, event, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.db import Database
from app.domain.terms import BallotState, Choice, Outcome
from app.models import (
    Ballot,
    BatchCheckpoint,
    EvalBatch,
    Pair,
    Prompt,
    Recognition,
    Response,
    Table,
    Tally,
    Verdict,
    Voter,
)
from app.models.types import TextEnum, UtcDateTime
from app.queries.verification import Verification, verify
from tests.factories import NOW, RULES
from tests.queries.tampering import CHANGES, drop_slots, put, retracted, rows, voted
from tests.servers import postgres
from tests.story import Story, tell


@dataclass(frozen=True)
class Told:
    """A story in a database, to be changed in transactions that are rolled back."""

    engine: Engine
    story: Story


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    folder = tmp_path_factory.mktemp("told")
    if request.param == "sqlite":
        shutil.copyfile(request.getfixturevalue("sqlite_template"), folder / "arena.db")
        server, name, url = "", "", f"sqlite:///{folder / 'arena.db'}"
    else:
        server, template = request.getfixturevalue("postgres_template")
        name = f"arena_test_{uuid.uuid4().hex}"
        url = postgres.create_database(server, name, template)
    database = Database.at(url)
    with database.session_scope() as session:
        story = tell(session, folder)
    yield Told(database.engine, story)
    database.engine.dispose()
    if server:
        postgres.drop_database(server, name)


@contextmanager
def behind_the_back(told: Told) -> Iterator[Connection]:
    with told.engine.connect() as connection, connection.begin() as transaction:
        yield connection
        transaction.rollback()


def check(connection: Connection, secret: bytes = RULES.secret) -> Verification:
    with Session(connection, join_transaction_mode="create_savepoint") as session:
        session.connection()
        return verify(session, secret)


def test_a_study_in_which_everything_happened_verifies(told: Told) -> None:
    with told.engine.connect() as connection, connection.begin():
        found = check(connection)
        counted = {
            table: connection.scalar(select(func.count()).select_from(table)) for table in (Pair, Ballot, Verdict)
        }
    assert found.mismatches == ()
    assert (found.holds, found.checked.older) == (True, 0)
    assert counted == {Pair: found.checked.pairs, Ballot: found.checked.ballots, Verdict: found.checked.verdicts}
    assert found.checked.seals > sum(counted.values())
    assert found.checked.numbers > 100
    assert min(map(len, (told.story.undone, told.story.late, told.story.skipped))) >= 1


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_behind_the_back_is_found_and_named(told: Told, name: str) -> None:
    edit, finds = CHANGES[name]
    with behind_the_back(told) as connection:
        ids = edit(connection) or {}
        found = check(connection)
    assert not found.holds
    sentences = [one.sentence for one in found.mismatches]
    assert any(finds.format(**ids) in sentence for sentence in sentences), sentences
    assert found.total == len(sentences)


def test_another_key_is_told_from_tampering(told: Told) -> None:
    with behind_the_back(told) as connection:
        [only] = check(connection, b"another").mismatches
        assert only.sentence.startswith("Seals of study: expected some of ")
        assert "ARENA_SECRET, or the secret.key" in only.sentence
        put(connection, Verdict, voted(connection, Choice.A)[1], outcome=Outcome.TIE)
        both = [one.sentence for one in check(connection, b"another").mismatches]
    assert both[0].startswith("Seals of study")
    assert any("the outcome of its choice and order," in sentence for sentence in both)


def test_rows_older_than_the_seals_are_counted_and_checked_otherwise(told: Told) -> None:
    """What an upgrade leaves: no numbers, no seals of plan and pairs, ballots and verdicts sealed the old way."""
    from app.queries import seals  # noqa: PLC0415

    with behind_the_back(told) as connection:
        connection.execute(update(EvalBatch.__table__).values(seal=None, server_told=None, server_seal=None))
        connection.execute(update(Pair.__table__).values(seal=None))
        connection.execute(delete(Recognition.__table__))
        connection.execute(update(Verdict.__table__).values(retraction_seal=None))
        connection.execute(update(Ballot.__table__).values(number=None))
        with Session(connection, join_transaction_mode="create_savepoint") as session:
            for ballot in session.query(Ballot):
                ballot.seal = seals.ballot_seal(session, ballot, RULES.secret)
                for verdict in session.query(Verdict).where(Verdict.ballot_id == ballot.id):
                    verdict.seal = seals.verdict_seal(ballot, verdict, RULES.secret)
            session.commit()
        found = check(connection)
        assert [one.sentence for one in found.mismatches] == []
        assert found.checked.older == 1 + found.checked.pairs + found.checked.ballots
        drop_slots(connection)
        put(connection, Ballot, retracted(connection)[0], state=BallotState.VOTED)
        assert not check(connection).holds


def test_a_plan_without_a_seal_after_plans_with_one_is_found(told: Told) -> None:
    with behind_the_back(told) as connection:
        [batch] = rows(connection, EvalBatch)
        nothing = {"job_id": None, "planned_pairs": 0, "gold_pairs": 0, "seal": None, "server_told": None}
        nothing["server_seal"] = None
        younger = nothing | {"id": uuid.uuid4(), "name": "younger", "created_at": NOW + timedelta(days=1)}
        connection.execute(insert(EvalBatch.__table__).values(**batch._asdict() | younger))
        for member in rows(connection, BatchCheckpoint):
            copied = member._asdict() | {"id": uuid.uuid4(), "eval_batch_id": younger["id"]}
            connection.execute(insert(BatchCheckpoint.__table__).values(**copied))
        sentences = [one.sentence for one in check(connection).mismatches]
    assert sentences == [
        "Eval batch younger: expected a seal over its plan, members and the slices of its suite, found none."
    ]


def test_the_number_of_queries_does_not_grow_with_the_votes(told: Told) -> None:
    seen: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    with behind_the_back(told) as connection:
        event.listen(connection, "before_cursor_execute", note)
        found = check(connection)
    assert found.checked.ballots > 20
    assert len(seen) <= 110


CARRIES_NOTHING_PUBLISHED: dict[type[Table], set[str]] = {
    EvalBatch: {"name", "job_id"},  # a label; where its responses came from
    BatchCheckpoint: {"id"},
    Prompt: set(),
    # How a text was made is provenance: who wrote it and what it says is sealed.
    Response: {"checkpoint_id", "base_hash", "template_hash", "system_sha256", "sampling_sha256", "seed", "twin",
               "sampling", "token_count", "finish_reason", "engine", "created_at"},
    Pair: {"created_at"},
    Tally: set(),
    Voter: {"name", "created_at"},
    Ballot: {"expires_at", "closed_at", "skip_reason"},
    Verdict: {"id"},  # known by its ballot
    Recognition: set(),
}  # fmt: skip

FIELDS = [
    (table, column.name)
    for table, nothing in CARRIES_NOTHING_PUBLISHED.items()
    for column in table.__table__.columns
    if column.name not in nothing
]


def another(column: Column[Any], value: Any, rng: random.Random) -> Any:  # noqa: PLR0911
    """Some other value that this column can hold."""
    if isinstance(column.type, TextEnum):
        kinds: list[StrEnum] = [kind for kind in column.type.impl_instance.enum_class if kind is not value]
        return rng.choice(kinds)
    match value:
        case None:
            if isinstance(column.type, UtcDateTime):
                return NOW
            return {bool: True, int: 3}.get(column.type.python_type, "0" * 64)
        case bool():
            return not value
        case int() | float():
            return value + 1
        case datetime():
            return value + timedelta(seconds=1)
        case uuid.UUID():
            return uuid.uuid4()
        case dict():
            return {**value, "added": 1}
        case list():
            return [*value, "added"]
    return ("0" if value[:1] != "0" else "1") + value[1:]


WITHOUT_A_VOTE = [(BallotState.SKIPPED, BallotState.EXPIRED), (BallotState.EXPIRED, BallotState.SKIPPED)]
"""Changes of a state that no seal and no number sees: which of the two ways a ballot ended is published nowhere."""


@pytest.mark.parametrize(("table", "name"), FIELDS, ids=[f"{table.__tablename__}.{name}" for table, name in FIELDS])
def test_any_field_of_any_row_that_is_changed_alone_is_found(told: Told, table: type[Table], name: str) -> None:
    rng = random.Random(f"{table.__tablename__}.{name}")  # noqa: S311
    for _ in range(3):
        with behind_the_back(told) as connection:
            used = select(Ballot.voter_id) if table is Voter else None
            row = rng.choice(rows(connection, table, *([Voter.id.in_(used)] if used is not None else [])))
            value = another(table.__table__.c[name], getattr(row, name), rng)
            if (getattr(row, name), value) in WITHOUT_A_VOTE:
                continue
            try:
                with connection.begin_nested():
                    put(connection, table, row, **{name: value})
            except IntegrityError:
                continue  # the database refuses it
            found = check(connection)
        assert not found.holds, (row, value)
